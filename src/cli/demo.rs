//! `countersign demo`: a server on a throwaway database that already has people, money and keys.

mod seed;
mod usage;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use tracing_subscriber::filter::LevelFilter;

use super::{open, say, serve, told};
use crate::config::{Config, Sources};
use crate::store::organisations;

#[derive(Args)]
pub(super) struct Options {
    /// Port on 127.0.0.1; 0 for any free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Password of all the people
    #[arg(long, default_value = "two people agree")]
    password: String,
}

/// Seeds a fresh database and serves it until a signal.
pub(super) async fn demo(options: &Options, mut sources: Sources) -> anyhow::Result<()> {
    serve::start_log(LevelFilter::WARN);
    let listener = serve::listen(([127, 0, 0, 1], options.port).into())
        .context("choose another port with --port, or 0 for any free one")?;
    let address = listener.local_addr()?.to_string();
    // Whatever is set elsewhere: a demo stays on this machine, and its mails are files.
    let elsewhere = |name: &str| {
        let name = name.to_ascii_uppercase().replace('-', "_");
        let name = name.trim_end_matches("_FILE");
        ["BIND", "PUBLIC_URL", "TLS_CERT", "TLS_KEY", "SMTP_URL"].contains(&name)
    };
    sources.flags.retain(|(name, _)| !elsewhere(name));
    sources.env.retain(|(name, _)| !elsewhere(name));
    sources.file = None;
    sources.flags.push(("public-url", format!("http://{address}")));
    sources.flags.push(("bind", address));
    let (config, scratch) = prepare(sources)?;
    let db = open(&config)?;
    if db.read(organisations::count).await.map_err(told)? > 0 {
        bail!(
            "{} already holds data; the demo needs an empty database, so that yours stays as it is",
            config.database_url
        );
    }
    drop(db);
    seed::seed(&config, &options.password).await?;
    let served =
        serve::serve_on(listener, open(&config)?, &config, |url| welcome(url, options, &config))
            .await;
    if let Some(scratch) = scratch {
        std::fs::remove_dir_all(&scratch)
            .with_context(|| format!("removing {}", scratch.display()))?;
    }
    served
}

/// The settings of a demo, and the folder to remove afterwards if nobody named one.
fn prepare(mut sources: Sources) -> anyhow::Result<(Config, Option<PathBuf>)> {
    let given = Config::load(&sources)?;
    let scratch = if given.is_given("DATA_DIR") {
        None
    } else {
        Some(
            std::env::temp_dir()
                .join(format!("countersign-demo-{}", uuid::Uuid::new_v4().simple())),
        )
    };
    let dir = scratch.clone().unwrap_or_else(|| given.data_dir.clone());
    create_private(&dir)?;
    sources.flags.push(("data-dir", path(&dir)?));
    if !given.is_given("DATABASE_URL") {
        let file = dir.join("demo.db");
        remove_old(&file)?;
        sources.flags.push(("database-url", format!("sqlite://{}", path(&file)?)));
    }
    Ok((Config::load(&sources)?, scratch))
}

fn create_private(dir: &Path) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir).with_context(|| format!("creating {}", dir.display()))
}

/// Removes the database of an earlier demo; nothing else is ever called `demo.db`.
fn remove_old(file: &Path) -> anyhow::Result<()> {
    for end in ["", "-wal", "-shm"] {
        let old = PathBuf::from(format!("{}{end}", file.display()));
        match std::fs::remove_file(&old) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("removing {}", old.display()));
            }
            _ => (),
        }
    }
    Ok(())
}

fn path(path: &Path) -> anyhow::Result<String> {
    path.to_str()
        .map(str::to_owned)
        .with_context(|| format!("{} is not plain text", path.display()))
}

fn welcome(url: &str, options: &Options, config: &Config) -> anyhow::Result<()> {
    say(format!("\nCountersign demo: {url}\n"))?;
    say(format!("The password of everybody is:  {}\n", options.password))?;
    say("In Demo Distributor:")?;
    for (email, what) in seed::DEMO {
        say(format!("  {email:<24} {what}"))?;
    }
    say("In Other Distributor:")?;
    for (email, what) in seed::OTHER {
        say(format!("  {email:<24} {what}"))?;
    }
    say(format!("\nMails are files in {}", config.data_dir.join("mail").display()))?;
    say("Stop with Ctrl-C. The next demo starts afresh.")
}
