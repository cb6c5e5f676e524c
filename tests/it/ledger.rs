//! Money neither appears nor vanishes: random histories against a model.

mod wallets;

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use countersign::actions::cashouts::{self, Report};
use countersign::actions::operations::{self, Wish};
use countersign::actions::requests;
use countersign::actions::spending::NotSpent;
use countersign::actions::wallets::fund_organisation;
use countersign::domain::cashout::ProcessingDraft;
use countersign::domain::denial::Denial;
use countersign::domain::id::{CashoutId, KeyId, RequestId};
use countersign::domain::member::{Actor, Origin};
use countersign::domain::movement::{Movement, OperationKind, Party};
use countersign::domain::request::Version;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::TestApp;
use crate::support::api::{MERCHANT, OPERATES, POOR, RICH};
use crate::support::dump::Raw;

/// One thing that happens; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    CashIn { key: usize, party: usize, amount: i64 },
    CashOut { key: usize, party: usize, amount: i64 },
    Approve(usize),
    Reject(usize),
    Withdraw(usize),
    AskForCash(i64),
    Report(usize),
    Fund(i64),
    Wait(i64),
    Expire,
}

const PARTIES: [&str; 3] = [RICH, POOR, MERCHANT];
const MAX: [Option<i64>; 2] = [Some(30_000), None];
const DAILY: [Option<i64>; 2] = [Some(100_000), None];
const PATIENCE: TimeDelta = TimeDelta::days(14);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let amount = || prop_oneof![8 => 1_i64..40_000, 2 => 40_000_i64..6_000_000];
    let step = prop_oneof![
        6 => (0..2_usize, 0..3_usize, amount()).prop_map(|(key, party, amount)| Step::CashIn { key, party, amount }),
        4 => (0..2_usize, 0..2_usize, amount()).prop_map(|(key, party, amount)| Step::CashOut { key, party, amount }),
        6 => any::<usize>().prop_map(Step::Approve),
        2 => any::<usize>().prop_map(Step::Reject),
        1 => any::<usize>().prop_map(Step::Withdraw),
        1 => amount().prop_map(Step::AskForCash),
        1 => any::<usize>().prop_map(Step::Report),
        1 => amount().prop_map(Step::Fund),
        2 => (0_i64..30).prop_map(Step::Wait),
        1 => Just(Step::Expire),
    ];
    proptest::collection::vec(step, 40..90)
}

/// An operation that is open as the model knows it.
#[derive(Clone, Debug)]
struct Open {
    id: RequestId,
    key: usize,
    day: NaiveDate,
    kind: OperationKind,
    party: usize,
    amount: i64,
    asked_at: DateTime<Utc>,
}

/// What ought to be there.
struct Model {
    own: i64,
    others: [i64; 3],
    funded: i64,
    used: BTreeMap<(usize, NaiveDate), i64>,
    open: Vec<Open>,
    cashouts: Vec<(CashoutId, i64)>,
    reported: i64,
}

/// One history, on a database of its own.
struct Play {
    app: TestApp,
    raw: Raw,
    keys: [KeyId; 3],
    maker: Actor,
    checker: Actor,
    model: Model,
}

impl Play {
    async fn begin() -> Self {
        let app = TestApp::with_wallets().await;
        let limits = [("max_transaction_amount", "300.00"), ("max_daily_volume", "1000.00")];
        let (limited, _) = app.live_key("Limited", &[OPERATES, limits[0], limits[1]]).await;
        let (free, _) = app.live_key("Free", &[OPERATES]).await;
        let (teller, _) = app.live_key("Teller", &[OPERATES]).await;
        let keys =
            [limited, free, teller].map(|path| path.rsplit('/').next().unwrap().parse().unwrap());
        let (maker, checker) = (app.actor("maker").await, app.actor("checker").await);
        let model = Model {
            own: 5_000_000,
            others: [2_000_000, 0, 0],
            funded: 7_000_000,
            used: BTreeMap::new(),
            open: Vec::new(),
            cashouts: Vec::new(),
            reported: 0,
        };
        let raw = app.raw();
        Self { app, raw, keys, maker, checker, model }
    }

    fn now(&self) -> DateTime<Utc> {
        self.app.clock.now()
    }

    fn today(&self) -> NaiveDate {
        self.now().with_timezone(&chrono_tz::Africa::Lagos).date_naive()
    }

    async fn ask(&mut self, kind: OperationKind, key: usize, party: usize, amount: i64) {
        let name = match PARTIES[party] {
            MERCHANT => Party::Merchant(MERCHANT.to_owned()),
            phone => Party::Phone(phone.parse().unwrap()),
        };
        let currency = "NGN".parse().unwrap();
        let movement =
            Movement { kind, amount, currency, party: name, fulfillment_id: None, memo: None };
        let wish = Wish {
            key_id: self.keys[key].clone(),
            movement,
            attempt: None,
            origin: Origin::default(),
        };
        let made =
            self.app.db.write(move |tx| operations::make_all(tx, &[wish])).await.unwrap().remove(0);
        let day = self.today();
        let used = self.model.used.entry((key, day)).or_default();
        let payer = match kind {
            OperationKind::CashIn => self.model.own,
            OperationKind::CashOutFulfillment => self.model.others[party],
        };
        let denial = if MAX[key].is_some_and(|max| amount > max) {
            Some(Denial::TransactionLimitExceeded)
        } else if DAILY[key].is_some_and(|max| *used + amount > max) {
            Some(Denial::DailyVolumeExceeded)
        } else {
            (payer < amount).then_some(Denial::InsufficientBalance)
        };
        match (made, denial) {
            (Ok(made), None) => {
                assert!(made.is_new);
                let id = made.id;
                *used += amount;
                let asked_at = self.now();
                self.model.open.push(Open { id, key, day, kind, party, amount, asked_at });
            }
            (Err(NotSpent::Denied(found)), Some(expected)) => assert_eq!(found, expected),
            (made, denial) => panic!("{made:?}, but the model says {denial:?}"),
        }
    }

    fn give_back(&mut self, open: &Open) {
        *self.model.used.get_mut(&(open.key, open.day)).unwrap() -= open.amount;
    }

    /// Decides an open operation, if there is one; after its time nobody can.
    async fn decide(&mut self, n: usize, verdict: &'static str) {
        let Some(count) = (!self.model.open.is_empty()).then_some(self.model.open.len()) else {
            return;
        };
        let open = self.model.open[n % count].clone();
        let (id, checker, maker) = (open.id.clone(), self.checker.clone(), self.maker.clone());
        let decided = self.app.db.write(move |tx| match verdict {
            "approve" => requests::approve(tx, &checker, &id, Version(1), ""),
            "reject" => requests::reject(tx, &checker, &id, Version(1), "No"),
            _ => requests::withdraw(tx, &maker, &id),
        });
        let decided = decided.await;
        if self.now() >= open.asked_at + PATIENCE {
            assert!(decided.is_err() || verdict == "withdraw", "{verdict} after its time");
            if decided.is_err() {
                return;
            }
        }
        decided.unwrap();
        self.model.open.remove(n % count);
        let (own, other) = (&mut self.model.own, &mut self.model.others[open.party]);
        let (from, to) = match open.kind {
            OperationKind::CashIn => (own, other),
            OperationKind::CashOutFulfillment => (other, own),
        };
        if verdict == "approve" && *from >= open.amount {
            *from -= open.amount;
            *to += open.amount;
        } else {
            self.give_back(&open);
        }
    }

    async fn ask_for_cash(&mut self, amount: i64) {
        let text = format!("{}.{:02}", amount / 100, amount % 100);
        let owner = self.app.demo.clone();
        let asked = self.app.db.write(move |tx| cashouts::ask(tx, &owner, RICH, &text, None)).await;
        assert_eq!(asked.is_ok(), self.model.others[0] >= amount);
        if let Ok(id) = asked {
            self.model.others[0] -= amount;
            self.model.own += amount;
            self.model.cashouts.push((id, amount));
        }
    }

    async fn report(&mut self, n: usize) {
        let Some(count) = (!self.model.cashouts.is_empty()).then_some(self.model.cashouts.len())
        else {
            return;
        };
        let (cashout_id, amount) = self.model.cashouts.remove(n % count);
        let draft =
            ProcessingDraft { cash_out_fulfillment_type: "cash".to_owned(), ..Default::default() };
        let report = Report {
            key_id: self.keys[2].clone(),
            organisation_id: self.app.demo.clone(),
            cashout_id,
            processing: draft.parse().unwrap(),
            attempt: None,
            origin: Origin::default(),
        };
        for expected in [Ok(amount), Err(NotSpent::DoneBefore)] {
            let report = report.clone();
            let found = self.app.db.write(move |tx| cashouts::process(tx, &report)).await.unwrap();
            assert_eq!(found, expected);
        }
        self.model.reported += amount;
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::CashIn { key, party, amount } => {
                self.ask(OperationKind::CashIn, key, party, amount).await;
            }
            Step::CashOut { key, party, amount } => {
                self.ask(OperationKind::CashOutFulfillment, key, party, amount).await;
            }
            Step::Approve(n) => self.decide(n, "approve").await,
            Step::Reject(n) => self.decide(n, "reject").await,
            Step::Withdraw(n) => self.decide(n, "withdraw").await,
            Step::AskForCash(amount) => self.ask_for_cash(amount).await,
            Step::Report(n) => self.report(n).await,
            Step::Fund(amount) => {
                let (owner, text) =
                    (self.app.demo.clone(), format!("{}.{:02}", amount / 100, amount % 100));
                let funded = self.app.db.write(move |tx| fund_organisation(tx, &owner, &text));
                funded.await.unwrap();
                self.model.own += amount;
                self.model.funded += amount;
            }
            Step::Wait(hours) => self.app.clock.advance(TimeDelta::hours(hours)),
            Step::Expire => {
                self.app.db.write(requests::expire_overdue).await.unwrap();
                let now = self.now();
                let over = |open: &Open| now >= open.asked_at + PATIENCE;
                let gone: Vec<_> =
                    self.model.open.iter().filter(|open| over(open)).cloned().collect();
                self.model.open.retain(|open| !over(open));
                for open in &gone {
                    self.give_back(open);
                }
            }
        }
        self.check(step);
    }

    fn check(&mut self, step: &Step) {
        let model = &self.model;
        let [rich, poor, merchant] = model.others;
        let sum = model.own + rich + poor + merchant;
        assert_eq!(sum, model.funded);
        let mut expected: Vec<_> = [(RICH, rich), (POOR, poor), (MERCHANT, merchant)]
            .map(|(who, held)| format!("{who} {held}"))
            .to_vec();
        expected.push(format!("{} {}", self.app.demo, model.own));
        expected.sort();
        let held = "SELECT coalesce(phone, short_code, organisation_id) || ' ' || balance AS line FROM wallets \
             WHERE organisation_id IS NULL OR balance > 0 ORDER BY 1";
        let mut found = self.raw.lines(held);
        found.sort();
        assert_eq!(found, expected, "after {step:?}");
        let mut used: Vec<_> = model
            .used
            .iter()
            .filter(|(_, used)| **used > 0)
            .map(|((key, day), used)| format!("{} {day} {used}", self.keys[*key]))
            .collect();
        used.sort();
        let teller = &self.keys[2];
        let mut found = self.raw.lines(&format!(
            "SELECT key_id || ' ' || day || ' ' || used AS line FROM key_volumes WHERE used > 0 AND key_id <> '{teller}'"
        ));
        found.sort();
        assert_eq!(found, used, "after {step:?}");
        let reported = format!(
            "SELECT CAST(coalesce(sum(used), 0) AS TEXT) AS line FROM key_volumes WHERE key_id = '{teller}'"
        );
        assert_eq!(self.raw.lines(&reported), [model.reported.to_string()]);
        balanced(&mut self.raw);
    }
}

/// What must find nothing in any ledger, whatever happened.
const UNBALANCED: [&str; 6] = [
    "SELECT id AS line FROM wallets w WHERE balance < 0 OR balance <> \
       (SELECT coalesce(sum(amount), 0) FROM transfers WHERE credit_wallet_id = w.id) \
       - (SELECT coalesce(sum(amount), 0) FROM transfers WHERE debit_wallet_id = w.id)",
    "SELECT 'sum' AS line FROM organisations WHERE (SELECT sum(balance) FROM wallets) <> \
       (SELECT sum(amount) FROM transfers WHERE kind = 'funding')",
    "SELECT id AS line FROM operations o WHERE (status = 'completed') <> \
       ((SELECT count(*) FROM transfers t WHERE t.subject_id = o.id AND t.amount = o.amount AND t.kind = 'operation') = 1)",
    "SELECT id AS line FROM cashouts c WHERE \
       (SELECT count(*) FROM transfers t WHERE t.subject_id = c.id AND t.amount = c.amount AND t.kind = 'cashout') <> 1",
    "SELECT v.key_id AS line FROM key_volumes v WHERE used <> \
       (SELECT coalesce(sum(amount), 0) FROM operations o WHERE o.maker_key_id = v.key_id AND o.volume_day = v.day \
          AND o.status IN ('pending', 'completed')) \
       AND NOT EXISTS (SELECT 1 FROM cashouts c WHERE c.processed_key_id = v.key_id)",
    "SELECT o.id AS line FROM operations o JOIN requests r ON r.id = o.id WHERE \
       (o.status = 'pending') <> (r.state = 'pending') OR (o.status IN ('completed', 'failed')) <> (r.state = 'approved')",
];

#[track_caller]
fn balanced(raw: &mut Raw) {
    for sql in UNBALANCED {
        assert_eq!(raw.lines(sql), [""; 0], "{sql}");
    }
}

// Row 82, row 83, row 84; H4 and H10 of the security research.
#[test]
fn any_history_leaves_the_money_and_the_volumes_as_a_model_of_them_says() {
    let config =
        Config { cases: 4, failure_persistence: None, max_shrink_iters: 20, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let checked = runner.run(&steps(), |steps| {
        actix_web::rt::System::new().block_on(async {
            let mut play = Play::begin().await;
            for step in &steps {
                play.step(step).await;
            }
        });
        Ok(())
    });
    checked.unwrap();
}
