//! The people, money and keys of a demo, made by the same actions that people use, in a past of
//! several days.

mod operations;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use zeroize::Zeroizing;

use super::usage::{self, Habit};
use crate::actions::members::{self, NewMember};
use crate::actions::organisations::{self, NewOrganisation};
use crate::actions::{cashouts, keys, requests, wallets};
use crate::cli::told;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::addresses::AllowedIps;
use crate::domain::id::{KeyId, OrganisationId, RequestId};
use crate::domain::key::{Environment, Grant};
use crate::domain::member::Role::{self, Admin, Checker, Maker, Viewer};
use crate::domain::member::{Actor, Origin};
use crate::domain::request::Version;
use crate::enforce::KeyIndex;
use crate::error::Error;
use crate::mail::Mailer;
use crate::site::Site;
use crate::store::{self, Db};
use crate::web::passwords::Passwords;
use crate::worker::Worker;

/// How long ago the story of a demo begins.
const PAST: TimeDelta = TimeDelta::days(20);

/// The people of Demo Distributor and what each is for.
pub(super) const DEMO: &[(&str, &str)] = &[
    ("maker@demo.example", "asks for keys"),
    ("maker2@demo.example", "asks for keys too"),
    ("checker@demo.example", "approves and rejects"),
    ("checker2@demo.example", "approves and rejects too"),
    ("both@demo.example", "maker and checker, but never of the same request"),
    ("admin@demo.example", "looks after members"),
    ("viewer@demo.example", "looks, changes nothing"),
];

/// The people of Other Distributor.
pub(super) const OTHER: &[(&str, &str)] = &[
    ("maker@other.example", "asks for keys there"),
    ("checker@other.example", "approves and rejects there"),
];

const DEMO_ID: &str = "36e48800-22ce-4ea0-b37a-198f7978cd53";

/// A database being seeded, whose clock is moved by hand.
struct Seeder {
    db: Db,
    clock: Clock,
    hash: String,
}

/// Fills an empty database.
pub(super) async fn seed(config: &Config, password: &str) -> anyhow::Result<()> {
    let now = Clock::System.now();
    let clock = Clock::fixed(now - PAST);
    let db = Db::open(config.database_url.as_str(), clock.clone(), Site::load(config)?)?;
    let hash = Passwords::new()?.hash(Zeroizing::new(password.to_owned())).await.map_err(told)?;
    let seeder = Seeder { db, clock, hash };
    let fails = seeder.people_and_money().await.map_err(told)?;
    seeder.keys_and_operations(fails).await.map_err(told)?;
    seeder.forget_mails(config).await.map_err(told)
}

impl Seeder {
    /// Gives the operation that will fail.
    async fn people_and_money(&self) -> Result<RequestId, Error> {
        let demo = self.organisation("Demo Distributor", Some(DEMO_ID), "100000").await?;
        let other = self.organisation("Other Distributor", None, "300000").await?;
        let people: &[(&OrganisationId, &str, &str, &[Role])] = &[
            (&demo, "maker@demo.example", "Amina Bello", &[Maker]),
            (&demo, "maker2@demo.example", "Tunde Lawal", &[Maker]),
            (&demo, "checker@demo.example", "Chidi Okafor", &[Checker]),
            (&demo, "checker2@demo.example", "Ngozi Eze", &[Checker]),
            (&demo, "both@demo.example", "Bola Adeyemi", &[Maker, Checker]),
            (&demo, "admin@demo.example", "Ada Obi", &[Admin]),
            (&demo, "viewer@demo.example", "Vera Musa", &[Viewer]),
            (&other, "maker@other.example", "Olu Bassey", &[Maker]),
            (&other, "checker@other.example", "Ife Danjuma", &[Checker]),
        ];
        for (organisation, email, name, roles) in people {
            self.member(organisation, email, name, roles).await?;
        }
        self.wallets(demo.clone(), other).await?;
        let fails = self.ask_for_too_much().await?;
        for (amount, memo) in
            [("3000.00", "ATM withdrawal"), ("1500.00", "Rent"), ("500.00", "Market")]
        {
            let (demo, memo) = (demo.clone(), Some(memo.to_owned()));
            self.db
                .write(move |tx| cashouts::ask(tx, &demo, "+234 8123456781", amount, memo))
                .await?;
        }
        Ok(fails)
    }

    async fn wallets(&self, demo: OrganisationId, other: OrganisationId) -> Result<(), Error> {
        self.db
            .write(move |tx| {
                let ngn = store::organisations::get(tx.conn, &demo)?.currency;
                // What customers ask for moves to the distributor, and what operations move comes and
                // goes: in the end it holds 50,000.00 and the first customer 20,000.00.
                wallets::fund_organisation(tx, &demo, "48700.00")?;
                wallets::fund_organisation(tx, &other, "7500.00")?;
                let first = wallets::open_for_person(tx, "+234 8123456781", "End user 1", ngn)?;
                wallets::fund(tx, &first, "26300.00", None)?;
                wallets::open_for_person(tx, "+234 8123456782", "End user 2", ngn)?;
                wallets::open_for_merchant(tx, "200000", "ABC Store", ngn).map(drop)
            })
            .await
    }

    async fn organisation(
        &self,
        name: &str,
        id: Option<&str>,
        code: &str,
    ) -> Result<OrganisationId, Error> {
        let new = NewOrganisation {
            id: id.map(str::parse).transpose().map_err(Error::internal)?,
            name: name.to_owned(),
            currency: "NGN".to_owned(),
            short_code: code.to_owned(),
            time_zone: "Africa/Lagos".to_owned(),
        };
        self.db.write(move |tx| organisations::create(tx, &new)).await
    }

    async fn member(
        &self,
        organisation: &OrganisationId,
        email: &str,
        name: &str,
        roles: &[Role],
    ) -> Result<(), Error> {
        let new = NewMember {
            organisation_id: organisation.clone(),
            email: email.parse().map_err(Error::internal)?,
            name: name.to_owned(),
            roles: roles.iter().copied().collect(),
        };
        let hash = self.hash.clone();
        self.db.write(move |tx| members::add_active(tx, &new, &hash)).await.map(drop)
    }

    async fn actor(&self, email: &str) -> Result<Actor, Error> {
        let email = email.parse().map_err(Error::internal)?;
        let found = self.db.read(move |conn| store::members::find_by_email(conn, &email)).await?;
        let (member, _) = found.ok_or(Error::NotFound)?;
        Ok(Actor { member, origin: Origin::default() })
    }

    fn wait(&self, hours: i64) {
        self.clock.advance(TimeDelta::hours(hours));
    }

    /// Keys and operations in every state, each made the way it would be.
    async fn keys_and_operations(&self, fails: RequestId) -> Result<(), Error> {
        let pos = Grant {
            max_transaction: Some(5_000_000),
            max_daily: Some(50_000_000),
            allowed_ips: addresses("102.89.23.14, 102.89.23.15")?,
            system: Some("Point of sale".to_owned()),
            ..grant("Production POS – Main Store", &["read_balance", "perform_operations"], 365)
        };
        let till = self
            .revealed("maker@demo.example", pos, "Cash-ins at the counter of the main store.")
            .await?;
        self.operations(&till, fails).await?;
        self.used(till.clone(), &usage::TILL, TimeDelta::minutes(37)).await?;
        let monitor = Grant {
            allowed_ips: addresses("10.20.0.0/16")?,
            system: Some("Treasury desk".to_owned()),
            ..grant("Balance monitor", &["read_balance"], 30)
        };
        let key = self
            .revealed("maker2@demo.example", monitor, "Alerts when the float runs low.")
            .await?;
        self.used(key, &usage::MONITOR, TimeDelta::minutes(15)).await?;
        let short = grant("Year-end audit export", &["read_transactions"], 7);
        let key = self.revealed("maker@demo.example", short, "One week for the auditors.").await?;
        self.used(key, &usage::AUDIT, TimeDelta::days(13)).await?;
        let laptop = grant("Laptop of the integrator", &["read_balance", "read_transactions"], 90);
        let key = self
            .revealed("maker2@demo.example", laptop, "Trying out the first integration.")
            .await?;
        self.revoke(key, "Laptop of the integrator", "The laptop was replaced.").await?;
        let greedy = grant("Everything for the agency", &["perform_operations"], 365);
        let id = self.asked("maker2@demo.example", greedy, "The agency asks for it.").await?;
        self.reject(id, "No limits and no addresses. Ask again with both, please.").await?;
        // The last ones are recent: nearly today.
        self.wait(24 * 10);
        let shop = Grant {
            environment: Environment::Staging,
            max_transaction: Some(100_000),
            max_daily: Some(1_000_000),
            ..grant(
                "Staging – Agent app",
                &["read_balance", "read_transactions", "perform_operations"],
                30,
            )
        };
        let id = self.asked("maker@demo.example", shop, "For the test round next week.").await?;
        self.approve(id).await?;
        self.wait(20);
        let gateway = Grant {
            max_transaction: Some(5_000_000),
            system: Some("Gateway".to_owned()),
            contact_email: Some("gateway-team@demo.example".parse().map_err(Error::internal)?),
            ..grant("Cash-in service", &["read_balance", "perform_operations"], 365)
        };
        let why = "The gateway takes cash at 14 agents in Lagos and asks for the matching cash-in. \
                   The addresses of the agents change, so there is no list yet.";
        self.asked("maker2@demo.example", gateway, why).await?;
        self.wait(24 * 4);
        self.waiting_operations(&till).await
    }

    async fn asked(&self, maker: &str, grant: Grant, why: &str) -> Result<RequestId, Error> {
        self.wait(5);
        let (maker, why) = (self.actor(maker).await?, why.to_owned());
        self.db.write(move |tx| requests::submit(tx, &maker, grant, why)).await
    }

    async fn approve(&self, id: RequestId) -> Result<KeyId, Error> {
        self.wait(2);
        let checker = self.actor("checker@demo.example").await?;
        self.db
            .write(move |tx| {
                requests::approve(tx, &checker, &id, Version(1), "")?;
                let key = store::keys::find_of_request(tx.conn, &id)?;
                key.map(|key| key.id).ok_or(Error::NotFound)
            })
            .await
    }

    async fn reject(&self, id: RequestId, reason: &str) -> Result<(), Error> {
        self.wait(3);
        let (checker, reason) = (self.actor("checker2@demo.example").await?, reason.to_owned());
        self.db.write(move |tx| requests::reject(tx, &checker, &id, Version(1), &reason)).await
    }

    /// A key that was asked for, approved, revealed and saved.
    async fn revealed(&self, maker: &str, grant: Grant, why: &str) -> Result<KeyId, Error> {
        let id = self.asked(maker, grant, why).await?;
        let key = self.approve(id).await?;
        self.wait(1);
        let (maker, id) = (self.actor(maker).await?, key.clone());
        self.db
            .write(move |tx| {
                keys::reveal(tx, &maker, &id)?;
                keys::confirm(tx, &maker, &id, None).map(drop)
            })
            .await?;
        Ok(key)
    }

    async fn used(&self, key: KeyId, habit: &Habit, ago: TimeDelta) -> Result<(), Error> {
        let taken = habit.history(Clock::System.now() - ago);
        self.db.write(move |tx| store::usage::flush(tx, &[(key, taken)])).await.map(drop)
    }

    async fn revoke(&self, key: KeyId, label: &'static str, reason: &str) -> Result<(), Error> {
        self.wait(30);
        let (admin, reason) = (self.actor("admin@demo.example").await?, reason.to_owned());
        self.db.write(move |tx| keys::revoke(tx, &admin, &key, label, &reason)).await
    }

    /// Mails of the invented past go nowhere: the first one in the folder is the first real one.
    async fn forget_mails(&self, config: &Config) -> Result<(), Error> {
        let worker = Worker {
            db: self.db.clone(),
            index: KeyIndex::load(&self.db).await?,
            mailer: Mailer::Memory(Arc::new(Mutex::new(Vec::new()))),
            from: config.mail_from.clone(),
        };
        worker.run_once().await.map(drop)
    }
}

fn grant(label: &str, permissions: &[&str], days: i32) -> Grant {
    Grant {
        api: "wallet".to_owned(),
        label: label.to_owned(),
        contact_email: None,
        system: None,
        environment: Environment::Production,
        access_type: None,
        permissions: permissions.iter().map(|slug| (*slug).to_owned()).collect::<BTreeSet<_>>(),
        restrictions: std::collections::BTreeMap::new(),
        max_transaction: None,
        max_daily: None,
        allowed_ips: AllowedIps::default(),
        expires_in_days: Some(days),
    }
}

fn addresses(list: &str) -> Result<AllowedIps, Error> {
    AllowedIps::parse(list).map_err(Error::internal)
}
