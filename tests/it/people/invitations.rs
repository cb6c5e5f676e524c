//! Invitations: a link that lets one person in, once.

use std::rc::Rc;

use chrono::TimeDelta;

use crate::access::invitation;
use crate::races::at_once;
use crate::support::TestApp;

const GOOD: &str = "abode quiver lantern";

#[actix_web::test]
async fn an_invitation_lets_one_person_in_once() {
    let app = TestApp::start().await;
    let link = invitation(&app).await;
    let mails = app.work().await;
    let [mail] = mails.as_slice() else { panic!("{mails:?}") };
    assert!(mail.text.contains(&link) && mail.html.contains(&link), "{}", mail.text);
    let path = url::Url::parse(&link).unwrap().path().to_owned();
    let mut guest = app.visitor();
    guest.get(&path).await.is(200).says(&mail.to);
    for weak in [
        "",
        "fourteen chars",
        "passwordpassword",
        "Demo Distributor",
        "Somebody New 2026",
        &mail.to,
    ] {
        let page = guest.submit(&path, &[("password", weak)]).await.is(422);
        assert!(!page.all(".error-summary a, [id$=error]").is_empty(), "no reason for {weak:?}");
    }
    assert_eq!(guest.submit(&path, &[("password", GOOD)]).await.is(303).location(), "/login");
    guest.sign_in(&mail.to, GOOD).await.is(303);
    let mut late = app.visitor();
    late.get("/login").await;
    for answer in
        [late.get(&path).await, late.submit(&path, &[("password", "another lantern x")]).await]
    {
        answer.is(422).says("no longer valid");
    }
    assert_eq!(app.audit("member.joined").await.last().unwrap().actor_kind, "visitor");
    app.visitor().sign_in(&mail.to, GOOD).await.is(303);
}

#[actix_web::test]
async fn an_invitation_is_good_for_a_day_and_for_one_of_many_at_once() {
    let app = Rc::new(TestApp::start().await);
    let path = |link: String| url::Url::parse(&link).unwrap().path().to_owned();
    let (old, new) = (path(invitation(&app).await), path(invitation(&app).await));
    let mut guest = app.visitor();
    app.clock.advance(TimeDelta::hours(24) - TimeDelta::microseconds(1));
    guest.get(&old).await.is(200);
    let forms = (0..10).map(|_| guest.form(&new, &[("password", GOOD)])).collect();
    let pages = at_once(&app, forms).await;
    assert_eq!(pages.iter().filter(|page| page.status == 303).count(), 1);
    assert!(pages.iter().all(|page| [303, 422, 503].contains(&page.status.as_u16())));
    app.clock.advance(TimeDelta::microseconds(1));
    guest.get(&old).await.is(422);
    guest.submit(&old, &[("password", GOOD)]).await.is(422);
    guest.get(&format!("/invitation/{}", "0".repeat(64))).await.is(422);
}
