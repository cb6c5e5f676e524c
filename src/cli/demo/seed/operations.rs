//! The operations of a demo, in every state. What they move is part of the funding of the wallets, so
//! that everybody holds round sums at the end.

use super::Seeder;
use crate::actions::operations::{self, Wish};
use crate::actions::requests;
use crate::domain::id::{KeyId, RequestId};
use crate::domain::member::Origin;
use crate::domain::movement::{Draft, Movement};
use crate::domain::request::Version;
use crate::error::Error;
use crate::store::idempotency::Attempt;

/// A customer with money, and one without.
const FIRST: &str = "+234 8123456781";
const SECOND: &str = "+234 8123456782";
const STORE: &str = "200000";

impl Seeder {
    /// Asked for while the customer still holds enough, to be approved when that money is gone.
    pub(super) async fn ask_for_too_much(&self) -> Result<RequestId, Error> {
        let movement = cash_out("22000.00", "Wedding", "R-0098")?;
        self.ask("maker2@demo.example", movement, "The customer holds enough for it.").await
    }

    /// Three that are completed, one that fails, one that is rejected; `till` is a key that asks too.
    /// All in all they take 3,700.00 from the distributor and 1,300.00 from the first customer.
    pub(super) async fn operations(&self, till: &KeyId, fails: RequestId) -> Result<(), Error> {
        self.decide(fails, None).await?;
        let float = to_store("5000.00", "Float for the weekend")?;
        let id = self.ask("maker@demo.example", float, "Agreed with the store by phone.").await?;
        self.decide(id, None).await?;
        let cash = cash_out("2500.00", "Counter 3", "R-0112")?;
        let id = self.ask("maker2@demo.example", cash, "The signed slip is in the folder.").await?;
        self.decide(id, None).await?;
        let id = self.ask_by(till, to_customer(FIRST, "1200.00", "POS 4471")?).await?;
        self.decide(id, None).await?;
        let stock = to_store("30000.00", "Opening stock")?;
        let id = self.ask("maker2@demo.example", stock, "").await?;
        self.decide(id, Some("Above half of what we hold. Ask in two parts, please.")).await
    }

    /// What still waits when the demo begins.
    pub(super) async fn waiting_operations(&self, till: &KeyId) -> Result<(), Error> {
        let float = to_store("4500.00", "Float for Monday")?;
        self.ask("maker@demo.example", float, "The store is low again.").await?;
        self.ask_by(till, to_customer(SECOND, "750.00", "POS 4502")?).await.map(drop)
    }

    async fn ask(&self, maker: &str, movement: Movement, why: &str) -> Result<RequestId, Error> {
        self.wait(1);
        let (maker, why) = (self.actor(maker).await?, why.to_owned());
        self.db
            .write(move |tx| {
                let (owner_id, name) = (maker.id().to_string(), tx.new_id().to_string());
                let attempt = Attempt { owner_id, name, fingerprint: [0; 32] };
                requests::submit_operation(tx, &maker, movement, why, &attempt)
            })
            .await
    }

    async fn ask_by(&self, key: &KeyId, movement: Movement) -> Result<RequestId, Error> {
        self.wait(1);
        let origin = Origin::default();
        let wish = Wish { key_id: key.clone(), movement, attempt: None, origin };
        let made = self.db.write(move |tx| operations::make_all(tx, &[wish])).await?;
        let made = made.into_iter().next().and_then(Result::ok);
        made.map(|made| made.id)
            .ok_or_else(|| Error::internal("the key of the demo may not ask for that"))
    }

    async fn decide(&self, id: RequestId, no: Option<&'static str>) -> Result<(), Error> {
        self.wait(1);
        let checker = self.actor("checker2@demo.example").await?;
        self.db
            .write(move |tx| match no {
                Some(reason) => requests::reject(tx, &checker, &id, Version(1), reason),
                None => requests::approve(tx, &checker, &id, Version(1), ""),
            })
            .await
    }
}

fn to_store(amount: &str, memo: &str) -> Result<Movement, Error> {
    let merchant_to_short_code = Some(STORE.to_owned());
    movement("cash-in", amount, memo, Draft { merchant_to_short_code, ..Draft::default() })
}

fn to_customer(phone: &str, amount: &str, memo: &str) -> Result<Movement, Error> {
    let phone_to = Some(phone.to_owned());
    movement("cash-in", amount, memo, Draft { phone_to, ..Draft::default() })
}

fn cash_out(amount: &str, memo: &str, receipt: &str) -> Result<Movement, Error> {
    let draft = Draft {
        phone_from: Some(FIRST.to_owned()),
        cash_out_fulfillment_type: Some("cash".to_owned()),
        cash_out_fulfillment_id: Some(receipt.to_owned()),
        ..Draft::default()
    };
    movement("cash-out-fulfillment", amount, memo, draft)
}

fn movement(kind: &str, amount: &str, memo: &str, party: Draft) -> Result<Movement, Error> {
    let draft = Draft {
        operation_type: kind.to_owned(),
        amount: amount.to_owned(),
        memo: Some(memo.to_owned()),
        ..party
    };
    let naira = "NGN".parse().map_err(Error::internal)?;
    draft.parse(naira).map_err(|fault| Error::internal(fault.message))
}
