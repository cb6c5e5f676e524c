//! Wallets from the command line: opening them, bringing money in, and cash that customers ask for.

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{say, told};
use crate::actions::{cashouts, wallets};
use crate::domain::id::OrganisationId;
use crate::domain::money::{Currency, Money};
use crate::domain::text::parse_line;
use crate::error::Error;
use crate::store::{self, Db};

/// Money that comes in from outside.
#[derive(Args)]
pub(super) struct Funding {
    /// Id of the organisation
    #[arg(long)]
    org: String,
    /// A decimal such as 50000.00
    #[arg(long)]
    amount: String,
}

#[derive(Subcommand)]
pub(super) enum WalletCommand {
    /// Open an empty wallet and print its id
    Open {
        #[command(flatten)]
        holder: Holder,
        /// How others will see its holder
        #[arg(long)]
        name: String,
        /// ISO 4217 code of its currency
        #[arg(long, default_value = "NGN")]
        currency: String,
    },
    /// Ask an organisation for cash, as a customer does, and print the id of the cash-out
    CashOut {
        /// Id of the organisation that is to pay out
        #[arg(long)]
        org: String,
        /// The customer's phone number
        #[arg(long)]
        phone: String,
        /// A decimal such as 3000.00
        #[arg(long)]
        amount: String,
        /// What the customer writes
        #[arg(long)]
        memo: Option<String>,
    },
}

/// Whose wallet it is.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct Holder {
    /// Phone number of a customer, with its country code
    #[arg(long)]
    phone: Option<String>,
    /// Short code of a merchant
    #[arg(long, value_name = "SHORT CODE")]
    merchant: Option<String>,
}

/// Brings money in, and tells what the wallet holds now.
pub(super) async fn fund(db: &Db, funding: Funding) -> anyhow::Result<()> {
    let id = organisation(&funding.org)?;
    let funded = db.write(move |tx| {
        wallets::fund_organisation(tx, &id, &funding.amount)?;
        store::wallets::of_organisation(tx.conn, &id)
    });
    let wallet = or_unknown(funded.await, &funding.org)?;
    let balance = Money::from_minor(wallet.balance, wallet.currency);
    say(format!("The wallet of {} holds {balance} now.", wallet.name))
}

/// Opens a wallet, or asks for cash from one.
pub(super) async fn wallet(db: &Db, command: WalletCommand) -> anyhow::Result<()> {
    match command {
        WalletCommand::Open { holder, name, currency } => {
            let currency: Currency = currency.parse().map_err(anyhow::Error::msg)?;
            let opened = db.write(move |tx| match (&holder.phone, &holder.merchant) {
                (Some(phone), _) => wallets::open_for_person(tx, phone, &name, currency),
                (None, Some(code)) => wallets::open_for_merchant(tx, code, &name, currency),
                (None, None) => Err(Error::internal("neither a phone number nor a short code")),
            });
            say(opened.await.map_err(told)?)
        }
        WalletCommand::CashOut { org, phone, amount, memo } => {
            let id = organisation(&org)?;
            let memo = memo.as_deref().map(parse_line).transpose();
            let memo = memo.map_err(anyhow::Error::msg).context("--memo")?;
            let asked = db.write(move |tx| cashouts::ask(tx, &id, &phone, &amount, memo));
            say(or_unknown(asked.await, &org)?)
        }
    }
}

fn organisation(id: &str) -> anyhow::Result<OrganisationId> {
    id.parse().with_context(|| format!("{id} is no id of an organisation"))
}

fn or_unknown<T>(done: Result<T, Error>, org: &str) -> anyhow::Result<T> {
    match done {
        Err(Error::NotFound) => anyhow::bail!("there is no organisation {org}"),
        other => other.map_err(told),
    }
}
