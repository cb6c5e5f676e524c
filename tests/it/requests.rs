//! Asking, approving, rejecting, withdrawing.

use crate::support::TestApp;

#[actix_web::test]
async fn a_key_is_asked_for_countersigned_shown_once_used_and_revoked() {
    let app = TestApp::start().await;
    let mut maker = app.sign_in("maker").await;
    let request = maker.ask_for_key("Main store").await;
    let mut checker = app.sign_in("checker").await;
    checker.get("/settings/api-keys/pending").await.is(200).says("Main store");
    checker.get(&request).await.is(200).says("Main store").says("The maker");
    let approved = checker.approve(&request).await;
    assert_eq!(approved.location(), request);
    checker.follow(&approved).await.is(200).says("You approved the request");

    let key = app.key_of(&request).await;
    maker.get(&key).await.is(200).says("Main store");
    let secret = maker.reveal(&key).await;
    assert!(secret.starts_with("uwk_") && secret.len() == 56, "{secret}");
    let api = app.api(&secret);
    assert_eq!(api.balance().await.is(200).body, r#"{"balance":"50000.00"}"#);

    let revoked = maker
        .submit(
            &format!("{key}/revoke"),
            &[("reason", "Not needed"), ("confirm_label", "Main store")],
        )
        .await;
    maker.follow(&revoked).await.is(200).says("Revoked");
    let refused = api.balance().await.is(401);
    assert_eq!(refused.body, r#"{"error":"Unauthorized","message":"Invalid or missing API key"}"#);
    assert_eq!(refused.header("www-authenticate"), "Bearer");
}
