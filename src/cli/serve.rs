//! Running the server: listening, the worker beside it, and an orderly end.

use std::io::IsTerminal as _;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::HttpServer;
use anyhow::Context as _;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;

use super::{open, say, told};
use crate::config::{Config, TlsFiles};
use crate::mail::Mailer;
use crate::store::Db;
use crate::web::connections::Connections;
use crate::web::passwords::Passwords;
use crate::web::{self, State};
use crate::worker::Worker;

/// How long requests may still be answered after the signal to stop.
const GRACE: u64 = 30;
const FIRST_HEAD: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Opens everything, serves until a signal, and ends in order.
pub(super) async fn serve(config: &Config) -> anyhow::Result<()> {
    start_log(LevelFilter::INFO);
    let listener = listen(config.bind)?;
    let db = open(config)?;
    serve_on(listener, db, config, |url| say(format!("Countersign listens on {url}"))).await
}

/// Binds the address, so that a taken port is known before anything else happens.
pub(super) fn listen(bind: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(bind).with_context(|| format!("listening on {bind}"))
}

/// Serves an open database on a bound listener until a signal; `ready` is told the public address.
pub(super) async fn serve_on(
    listener: TcpListener,
    db: Db,
    config: &Config,
    ready: impl FnOnce(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let claim = db.claim()?;
    let state = State::load(db.clone(), config, Passwords::new()?).await.map_err(told)?;
    let worker = Worker {
        db,
        index: state.index.clone(),
        mailer: Mailer::from_config(config)?,
        from: config.mail_from.clone(),
    };
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let working = actix_web::rt::spawn(worker.run(stopped));
    let connections = Connections::default();
    let watching = actix_web::rt::spawn(connections.clone().watch());
    let server = HttpServer::new(move || web::server(state.clone()))
        .client_request_timeout(FIRST_HEAD)
        .keep_alive(KEEP_ALIVE)
        .on_connect(move |io, data| connections.greet(io, data))
        .shutdown_timeout(GRACE);
    let server = match &config.tls {
        Some(files) => server.listen_rustls_0_23(listener, tls(files)?)?,
        None => server.listen(listener)?,
    };
    ready(config.public_url.as_str().trim_end_matches('/'))?;
    server.run().await?;
    watching.abort();
    // The worker takes the last usage to the database before the process ends.
    let _ = stop.send(true);
    working.await.context("stopping the worker")?;
    drop(claim);
    Ok(())
}

fn tls(files: &TlsFiles) -> anyhow::Result<ServerConfig> {
    let read = |path: &std::path::Path| format!("reading {}", path.display());
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| anyhow::anyhow!("{e}"))
        .with_context(|| read(&files.cert))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|e| anyhow::anyhow!("{e}"))
        .with_context(|| read(&files.key))?;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("TLS_CERT and TLS_KEY do not fit together")
}

/// Logs to standard error: text for a person, JSON for a machine. What the HTTP library says about heads
/// that make no sense is left out: strangers could fill the log with it.
pub(super) fn start_log(level: LevelFilter) {
    let wanted = Targets::new().with_default(level).with_target("actix_http", LevelFilter::OFF);
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    // A second start in one process keeps the first log.
    let _ = if std::io::stderr().is_terminal() {
        tracing::subscriber::set_global_default(log.with_target(false).finish().with(wanted))
    } else {
        let json = log.json().flatten_event(true).with_ansi(false).finish();
        tracing::subscriber::set_global_default(json.with(wanted))
    };
}
