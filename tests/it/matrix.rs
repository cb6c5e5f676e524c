//! Every state × every action × every role: what works is listed, everything else changes nothing.

use chrono::TimeDelta;

use crate::support::{Browser, Page, TestApp};

/// Where a request and the key it led to stand. The maker made both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Pending,
    Rejected,
    Withdrawn,
    /// Nobody decided in time; the worker has not come by yet.
    Lapsed,
    Expired,
    Approved,
    Revealed,
    Saved,
    Used,
    KeyRevoked,
    KeyExpired,
}

use Stage::{
    Approved, Expired, KeyExpired, KeyRevoked, Lapsed, Pending, Rejected, Revealed, Saved, Used,
    Withdrawn,
};

const ROLES: [&str; 7] =
    ["maker", "maker2", "checker", "both", "admin", "viewer", "maker@other.example"];
const DECIDERS: &[&str] = &["checker", "both"];
const MAKER: &[&str] = &["maker"];
const REVOKERS: &[&str] = &["maker", "maker2", "checker", "both", "admin"];

struct Action {
    verb: &'static str,
    fields: &'static [(&'static str, &'static str)],
    /// What a success answers.
    status: u16,
    /// Who may do it at all.
    roles: &'static [&'static str],
    /// Where it leads on.
    stages: &'static [Stage],
}

#[rustfmt::skip]
const ACTIONS: [Action; 6] = [
    Action { verb: "approve", fields: &[("version", "1"), ("comment", "")], status: 303, roles: DECIDERS, stages: &[Pending] },
    Action { verb: "reject", fields: &[("version", "1"), ("reason", "No")], status: 303, roles: DECIDERS, stages: &[Pending] },
    Action { verb: "withdraw", fields: &[], status: 303, roles: MAKER, stages: &[Pending] },
    Action { verb: "reveal", fields: &[], status: 200, roles: MAKER, stages: &[Approved, Revealed] },
    Action { verb: "confirm", fields: &[], status: 303, roles: MAKER, stages: &[Revealed, Used] },
    Action {
        verb: "revoke", fields: &[("reason", "Lost"), ("confirm_label", "Thing")], status: 303, roles: REVOKERS,
        stages: &[Approved, Revealed, Saved, Used, KeyExpired],
    },
];

impl Action {
    fn is_about_keys(&self) -> bool {
        matches!(self.verb, "reveal" | "confirm" | "revoke")
    }

    /// The status of the answer to somebody with this role.
    fn expected(&self, stage: Stage, role: &str) -> u16 {
        let no_key = matches!(stage, Pending | Rejected | Withdrawn | Lapsed | Expired);
        if role.contains('@') || (self.is_about_keys() && no_key) {
            404
        } else if !self.roles.contains(&role) {
            403
        } else if self.stages.contains(&stage) {
            self.status
        } else {
            409
        }
    }

    async fn try_as(&self, person: &mut Browser<'_>, thing: &Thing) -> Page {
        let url = if self.is_about_keys() { &thing.key } else { &thing.request };
        person.submit(&format!("{url}/{}", self.verb), self.fields).await
    }
}

struct Thing {
    request: String,
    /// A path that leads nowhere before there is a key.
    key: String,
}

/// A request of the maker that has come to this stage, and its key.
async fn thing(app: &TestApp, stage: Stage) -> Thing {
    let mut maker = app.sign_in("maker").await;
    let days = if stage == KeyExpired { "1" } else { "365" };
    let fields = [("permissions", "read_balance"), ("expires_in_days", days)];
    let request = maker.ask_with("Thing", &fields).await;
    let mut key = request.replace("/requests/", "/settings/api-keys/");
    match stage {
        Pending => (),
        Withdrawn => drop(maker.submit(&format!("{request}/withdraw"), &[]).await.is(303)),
        Rejected => drop(app.sign_in("checker").await.reject(&request, "No").await.is(303)),
        Lapsed | Expired => app.clock.advance(TimeDelta::days(14)),
        Approved | Revealed | Saved | Used | KeyRevoked | KeyExpired => {
            app.sign_in("checker").await.approve(&request).await.is(303);
            key = app.key_of(&request).await;
        }
    }
    if stage == Expired {
        app.work().await;
    }
    bring_key_to(app, stage, &mut maker, &key).await;
    Thing { request, key }
}

async fn bring_key_to(app: &TestApp, stage: Stage, maker: &mut Browser<'_>, key: &str) {
    match stage {
        Revealed => drop(maker.reveal(key).await),
        Saved => {
            maker.reveal(key).await;
            maker.submit(&format!("{key}/confirm"), &[]).await.is(303);
        }
        Used => {
            let secret = maker.reveal(key).await;
            app.api(&secret).balance().await.is(200);
        }
        KeyRevoked => {
            let fields = [("reason", "Lost"), ("confirm_label", "Thing")];
            maker.submit(&format!("{key}/revoke"), &fields).await.is(303);
        }
        KeyExpired => app.clock.advance(TimeDelta::days(1)),
        Pending | Rejected | Withdrawn | Lapsed | Expired | Approved => (),
    }
}

/// Tries what is refused at this stage as each role, then what works with a fresh thing each.
async fn walk(stage: Stage) {
    let app = TestApp::start().await;
    let one = thing(&app, stage).await;
    let mut people = Vec::new();
    for role in ROLES {
        people.push((role, app.sign_in(role).await));
    }
    let before = app.dump();
    let mut works = Vec::new();
    for action in &ACTIONS {
        for (role, person) in &mut people {
            let expected = action.expected(stage, role);
            if expected == action.status {
                works.push((action, *role));
                continue;
            }
            let page = action.try_as(person, &one).await;
            let what = format!("{stage:?}: {} as {role}: {}", action.verb, page.text());
            assert_eq!(page.status.as_u16(), expected, "{what}");
            assert_eq!(page.secret(), None, "{what}");
        }
        before.equals(&app.dump(), &format!("{stage:?}: a refused {}", action.verb));
    }
    for (action, role) in works {
        let fresh = thing(&app, stage).await;
        let before = app.dump();
        let page = action.try_as(&mut app.sign_in(role).await, &fresh).await;
        assert_eq!(page.status.as_u16(), action.status, "{stage:?}: {} as {role}", action.verb);
        assert_ne!(before, app.dump(), "{stage:?}: {} as {role} changed nothing", action.verb);
    }
}

#[actix_web::test]
async fn a_pending_request_can_be_decided_by_others_and_withdrawn_by_its_maker() {
    walk(Pending).await;
}

#[actix_web::test]
async fn a_closed_request_stays_closed() {
    for stage in [Rejected, Withdrawn, Lapsed, Expired] {
        walk(stage).await;
    }
}

#[actix_web::test]
async fn an_approved_key_can_be_revealed_by_its_maker_and_revoked() {
    for stage in [Approved, Revealed] {
        walk(stage).await;
    }
}

#[actix_web::test]
async fn a_saved_or_used_key_is_never_revealed_again() {
    for stage in [Saved, Used] {
        walk(stage).await;
    }
}

#[actix_web::test]
async fn an_ended_key_shows_nothing_any_more() {
    for stage in [KeyRevoked, KeyExpired] {
        walk(stage).await;
    }
}
