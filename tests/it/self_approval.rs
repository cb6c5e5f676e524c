//! Nobody decides their own request, by any path.

use actix_web::http::StatusCode;

use crate::support::{Browser, PASSWORD, TestApp};

/// Tries every decision and fails the test unless each is forbidden and nothing changed.
async fn is_refused(app: &TestApp, me: &mut Browser<'_>, request: &str) {
    let before = app.dump();
    let page = me.get(request).await.is(200);
    for form in ["form[action$='/approve']", "form[action$='/reject']"] {
        assert_eq!(page.attribute(form, "action"), None, "{form}");
    }
    for (verb, field) in [("approve", "comment"), ("reject", "reason")] {
        for version in ["1", "2", "0"] {
            let fields = [("version", version), (field, "Fine with me")];
            let page = me.submit(&format!("{request}/{verb}"), &fields).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{verb} {version}: {}", page.text());
        }
    }
    before.equals(&app.dump(), "a refused decision");
}

/// A pending request of the maker, who then becomes what the SQL says.
async fn changed_maker<'a>(app: &'a TestApp, set: &str) -> (Browser<'a>, String) {
    let mut maker = app.sign_in("maker").await;
    let request = maker.ask_for_key("My own").await;
    app.sql(&format!("UPDATE members SET {set} WHERE email = 'maker@demo.example'"));
    (maker, request)
}

#[actix_web::test]
async fn a_maker_who_is_also_a_checker_may_only_withdraw() {
    let app = TestApp::start().await;
    let mut both = app.sign_in("both").await;
    let request = both.ask_for_key("My own").await;
    is_refused(&app, &mut both, &request).await;
    both.get(&request).await.says("You made this request, so somebody else has to decide it.");
    let mut told: Vec<_> = app.work().await.into_iter().map(|mail| mail.to).collect();
    told.sort();
    assert_eq!(told, ["checker2@demo.example", "checker@demo.example"]);
    both.submit(&format!("{request}/withdraw"), &[]).await.is(303);
}

#[actix_web::test]
async fn roles_gained_later_do_not_help() {
    let app = TestApp::start().await;
    let everything = "is_admin = TRUE, is_maker = TRUE, is_checker = TRUE, is_viewer = TRUE";
    let (mut maker, request) = changed_maker(&app, everything).await;
    is_refused(&app, &mut maker, &request).await;
    app.sql("UPDATE members SET is_maker = FALSE WHERE email = 'maker@demo.example'");
    is_refused(&app, &mut maker, &request).await;
    is_refused(&app, &mut app.sign_in("maker").await, &request).await;
}

#[actix_web::test]
async fn another_name_and_another_address_do_not_help() {
    let app = TestApp::start().await;
    let new = "is_checker = TRUE, name = 'The checker', email = 'renamed@demo.example'";
    let (mut maker, request) = changed_maker(&app, new).await;
    is_refused(&app, &mut maker, &request).await;
    let mut again = app.visitor();
    again.sign_in("Renamed@Demo.Example", PASSWORD).await.is(303);
    is_refused(&app, &mut again, &request).await;
}

#[actix_web::test]
async fn an_administrator_gets_no_exemption() {
    let app = TestApp::start().await;
    app.sql(
        "UPDATE members SET is_maker = TRUE, is_checker = TRUE WHERE email = 'admin@demo.example'",
    );
    let mut admin = app.sign_in("admin").await;
    let request = admin.ask_for_key("My own").await;
    is_refused(&app, &mut admin, &request).await;
}

#[actix_web::test]
async fn the_form_of_another_request_cannot_be_sent_to_ones_own() {
    let app = TestApp::start().await;
    let mut both = app.sign_in("both").await;
    let own = both.ask_for_key("My own").await;
    let others = app.sign_in("maker").await.ask_for_key("Not mine").await;
    let page = both.get(&others).await.is(200);
    let version = page.attribute("form[action$='/approve'] input[name=version]", "value").unwrap();
    both.csrf = page.attribute("form[action$='/approve'] input[name=csrf]", "value").unwrap();
    let before = app.dump();
    both.submit(&format!("{own}/approve"), &[("version", &version), ("comment", "")]).await.is(403);
    before.equals(&app.dump(), "the form of another request");
    both.submit(&format!("{others}/approve"), &[("version", &version)]).await.is(303);
}

#[actix_web::test]
async fn the_proof_of_a_checkers_form_does_not_help_the_maker() {
    let app = TestApp::start().await;
    let mut both = app.sign_in("both").await;
    let own = both.ask_for_key("My own").await;
    let mut checker = app.sign_in("checker").await;
    checker.get(&own).await.is(200);
    let before = app.dump();
    let fields = [("version", "1"), ("comment", "")];
    let path = format!("{own}/approve");
    both.csrf.clone_from(&checker.csrf);
    both.submit(&path, &fields).await.is(403);
    // The other way round, the checker is not tricked into it by a form of the maker's session.
    both.get(&own).await.is(200);
    checker.csrf.clone_from(&both.csrf);
    checker.submit(&path, &fields).await.is(403).says("earlier visit");
    before.equals(&app.dump(), "a borrowed proof");
}

#[actix_web::test]
async fn the_second_vote_of_two_is_not_the_makers_either() {
    let app = TestApp::start().await;
    app.sql("UPDATE organisations SET approvals_needed = 2");
    let mut both = app.sign_in("both").await;
    let request = both.ask_for_key("My own").await;
    app.sign_in("checker").await.approve(&request).await.is(303);
    is_refused(&app, &mut both, &request).await;
    assert_eq!(app.number("SELECT count(*) FROM keys"), 0);
}

#[actix_web::test]
async fn the_database_itself_refuses_it() {
    let app = TestApp::start().await;
    let request = app.sign_in("maker").await.ask_for_key("My own").await;
    let id = request.rsplit('/').next().unwrap();
    let member = |who: &str| format!("(SELECT id FROM members WHERE email = '{who}@demo.example')");
    let decide = |maker: &str, checker: &str| {
        let (maker, checker) = (member(maker), member(checker));
        app.raw().run(&format!(
            "INSERT INTO decisions \
               (id, request_id, version, maker_id, checker_id, verdict, comment, decided_at) \
             SELECT id, id, version, {maker}, {checker}, 'approve', '', created_at \
             FROM requests WHERE id = '{id}'"
        ))
    };
    let own = decide("maker", "maker").unwrap_err().to_string();
    assert!(own.contains("decisions_never_your_own"), "{own}");
    // The maker named in a decision is the request's maker, so that the rule cannot be lied around.
    let lie = decide("maker2", "maker").unwrap_err().to_string();
    assert!(lie.to_lowercase().contains("foreign key"), "{lie}");
    let key =
        format!("UPDATE requests SET state = 'approved', closed_at = created_at WHERE id = '{id}'");
    let votes = app.raw().run(&key).unwrap_err().to_string();
    assert!(votes.contains("requests_approved_by_enough"), "{votes}");
    assert_eq!(app.number("SELECT count(*) FROM decisions"), 0);
    decide("maker", "checker").unwrap();
    let handed_over =
        format!("UPDATE requests SET maker_id = {} WHERE id = '{id}'", member("checker"));
    assert!(app.raw().run(&handed_over).is_err(), "a decided request changed its maker");
}
