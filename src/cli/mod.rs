//! The command line: what can be said there, and which part does it.

mod audit;
mod demo;
mod money;
mod serve;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::actions::members::{self, NewMember};
use crate::actions::organisations::{self, NewOrganisation};
use crate::clock::Clock;
use crate::config::{Config, Sources};
use crate::domain::member::Role;
use crate::error::Error;
use crate::site::Site;
use crate::store::Db;

/// API keys that two people must agree on.
#[derive(Parser)]
#[command(name = "countersign", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
}

/// Settings; each can also be set in the environment, in a file named by `<NAME>_FILE`, or in the
/// config file.
#[derive(Args)]
struct Settings {
    /// Config file (TOML); else ./countersign.toml or /etc/countersign/countersign.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// `sqlite://FILE` or `postgres://…` [default: `sqlite://countersign.db`]
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Address and port to listen on [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDRESS")]
    bind: Option<String>,
    /// How people reach this server, for links, cookies and the Origin check
    #[arg(long, global = true, value_name = "URL")]
    public_url: Option<String>,
    /// Certificate chain (PEM); then the server speaks HTTPS itself
    #[arg(long, global = true, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key (PEM)
    #[arg(long, global = true, value_name = "FILE")]
    tls_key: Option<String>,
    /// `smtp://user:password@host:port` or `smtps://…`; without it mails are files in `DATA_DIR/mail`
    #[arg(long, global = true, value_name = "URL")]
    smtp_url: Option<String>,
    /// Sender of mails [default: countersign@localhost]
    #[arg(long, global = true, value_name = "ADDRESS")]
    mail_from: Option<String>,
    /// Networks whose X-Forwarded-For is believed, separated by commas
    #[arg(long, global = true, value_name = "CIDRS")]
    trusted_proxies: Option<String>,
    /// Folder of catalogue files instead of the embedded ones
    #[arg(long, global = true, value_name = "DIR")]
    catalogue_dir: Option<String>,
    /// Where mails and backups go [default: .]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Listen beyond this machine without TLS
    #[arg(long, global = true)]
    insecure_http: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server (the default)
    Serve,
    /// Start a server on a fresh throwaway database with people, money and keys
    Demo(demo::Options),
    /// Bring the database up to date
    Migrate,
    /// Organisations
    #[command(subcommand)]
    Org(OrgCommand),
    /// Wallets of customers and merchants
    #[command(subcommand)]
    Wallet(money::WalletCommand),
    /// Members of organisations
    #[command(subcommand)]
    Member(MemberCommand),
    /// The audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// The settings in force
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum OrgCommand {
    /// Create an organisation and print its id
    Create {
        /// Its name
        #[arg(long)]
        name: String,
        /// ISO 4217 code of its currency
        #[arg(long, default_value = "NGN")]
        currency: String,
        /// The number others send money to
        #[arg(long, default_value = "100000")]
        short_code: String,
        /// Where its calendar day begins, such as Africa/Lagos
        #[arg(long, default_value = "UTC")]
        time_zone: String,
    },
    /// Bring money into an organisation's wallet from outside
    Fund(money::Funding),
}

#[derive(Subcommand)]
enum MemberCommand {
    /// Invite somebody; the one-time link is mailed and printed
    Invite {
        /// Id of the organisation
        #[arg(long)]
        org: String,
        /// E-mail address
        #[arg(long)]
        email: String,
        /// How others will see them
        #[arg(long)]
        name: String,
        /// admin, maker, checker, viewer; several may be given
        #[arg(long = "role", required = true, num_args = 1.., value_delimiter = ',')]
        roles: Vec<String>,
    },
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Check the hash chain; exit code 1 and the first bad entry if it is broken
    Verify {
        /// An export to check instead of the database
        file: Option<PathBuf>,
    },
    /// Print the log as JSON lines
    Export,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print each setting and where it comes from, secrets left out
    Show,
}

impl Settings {
    fn sources(&self) -> Sources {
        let flags = [
            ("database-url", &self.database_url),
            ("bind", &self.bind),
            ("public-url", &self.public_url),
            ("tls-cert", &self.tls_cert),
            ("tls-key", &self.tls_key),
            ("smtp-url", &self.smtp_url),
            ("mail-from", &self.mail_from),
            ("trusted-proxies", &self.trusted_proxies),
            ("catalogue-dir", &self.catalogue_dir),
            ("data-dir", &self.data_dir),
        ];
        let mut given: Vec<(&'static str, String)> =
            flags.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
        if self.insecure_http {
            given.push(("insecure-http", "true".to_owned()));
        }
        Sources::from_process(given, self.config.clone())
    }
}

/// Does what the command line says; a failure is one message on standard error.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match actix_web::rt::System::new().block_on(run(cli)) {
        Ok(code) => code,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "countersign: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let sources = cli.settings.sources();
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(&Config::load(&sources)?).await?,
        Command::Demo(options) => demo::demo(&options, sources).await?,
        Command::Migrate => {
            drop(open(&Config::load(&sources)?)?);
            say("The database is up to date.")?;
        }
        Command::Org(OrgCommand::Create { name, currency, short_code, time_zone }) => {
            let new = NewOrganisation { id: None, name, currency, short_code, time_zone };
            let db = open(&Config::load(&sources)?)?;
            let id = db.write(move |tx| organisations::create(tx, &new)).await.map_err(told)?;
            say(id)?;
        }
        Command::Org(OrgCommand::Fund(funding)) => {
            money::fund(&open_existing(&Config::load(&sources)?)?, funding).await?;
        }
        Command::Wallet(command) => {
            money::wallet(&open_existing(&Config::load(&sources)?)?, command).await?;
        }
        Command::Member(MemberCommand::Invite { org, email, name, roles }) => {
            let config = Config::load(&sources)?;
            say(invite(&config, &org, (&email, name), &roles).await?)?;
        }
        Command::Audit(AuditCommand::Verify { file: Some(file) }) => {
            return audit::verify_file(&file);
        }
        Command::Audit(AuditCommand::Verify { file: None }) => {
            return audit::verify(&open_existing(&Config::load(&sources)?)?).await;
        }
        Command::Audit(AuditCommand::Export) => {
            audit::export(&open_existing(&Config::load(&sources)?)?).await?;
        }
        Command::Config(ConfigCommand::Show) => {
            Config::load(&sources)?.show().into_iter().try_for_each(say)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Invites a member; the mail leaves with the server's worker.
async fn invite(
    config: &Config,
    org: &str,
    (email, name): (&str, String),
    roles: &[String],
) -> anyhow::Result<String> {
    let roles = roles.iter().map(|role| role.parse::<Role>().map_err(anyhow::Error::msg));
    let new = NewMember {
        organisation_id: org
            .parse()
            .with_context(|| format!("{org} is no id of an organisation"))?,
        email: email.parse().map_err(anyhow::Error::msg)?,
        name,
        roles: roles.collect::<anyhow::Result<_>>()?,
    };
    let invited = open(config)?.write(move |tx| members::invite(tx, &new)).await;
    match invited {
        Err(Error::NotFound) => anyhow::bail!("there is no organisation {org}"),
        other => other.map_err(told),
    }
}

/// Opens the database with the clock of this machine, migrated.
fn open(config: &Config) -> anyhow::Result<Db> {
    Db::open(config.database_url.as_str(), Clock::System, Site::load(config)?)
}

/// The same, but never a new database: an audit of a mistyped file must not find "nothing wrong".
fn open_existing(config: &Config) -> anyhow::Result<Db> {
    if let Some(path) = config.database_url.sqlite_path() {
        anyhow::ensure!(std::path::Path::new(path).exists(), "there is no database file {path}");
    }
    open(config)
}

/// The whole chain of an error: whoever has the command line may see it.
fn told(e: Error) -> anyhow::Error {
    match e {
        Error::Internal(cause) => cause,
        other => other.into(),
    }
}

/// One line on standard output.
fn say(line: impl std::fmt::Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
