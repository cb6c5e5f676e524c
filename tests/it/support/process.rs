//! The real program as a process of its own, and the database seen from beside it.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign::store::Conn;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::{Database, http};

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(20);

/// Waits until something is there; fails the test if that takes too long.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(STEP);
    }
}

/// What a command that has ended said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Fails the test unless the command ended like this and said this, on either stream.
    #[track_caller]
    pub fn ended(self, code: i32, text: &str) -> Self {
        let said = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, Some(code), "{said}");
        assert!(said.contains(text), "“{text}” is not in: {said}");
        self
    }
}

/// A working folder and a database for programs.
pub struct Home {
    pub dir: tempfile::TempDir,
    pub database: Database,
}

impl Home {
    pub fn fresh() -> Self {
        Self::on(Database::fresh())
    }

    pub fn on(database: Database) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), database }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program with nothing of our environment but the way to its database and its folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = bare(self.dir.path(), args);
        command.env("DATABASE_URL", &self.database.url).env("DATA_DIR", self.path("data"));
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Said {
        finish(self.dir.path(), self.command(args))
    }

    /// Starts the server on a free port and waits until it answers.
    pub fn serve(&self) -> Program {
        self.serve_with(&[])
    }

    /// The same with further settings.
    pub fn serve_with(&self, settings: &[(&str, &str)]) -> Program {
        let port = free_port();
        let mut command = self.command(&["serve"]);
        command.envs(settings.iter().copied()).env("BIND", format!("127.0.0.1:{port}"));
        command.env("PUBLIC_URL", format!("http://127.0.0.1:{port}"));
        let program = Program::spawn(self.dir.path(), command, ([127, 0, 0, 1], port).into());
        program.wait_until_up();
        program
    }

    /// A certificate for this machine that it signed itself, and its key, as files.
    pub fn certificate(&self) -> (PathBuf, PathBuf) {
        let (cert, key) = (self.path("cert.pem"), self.path("key.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt"])
            .args(["ec_paramgen_curve:P-256", "-subj", "/CN=localhost", "-days", "2"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1"])
            .args([Path::new("-keyout"), &key, Path::new("-out"), &cert])
            .output()
            .expect("openssl is not installed: apt-get install openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        (cert, key)
    }

    /// Fills the database with the people of the demo, and ends.
    pub fn seed_demo(&self) {
        let mut program = Program::spawn(
            self.dir.path(),
            self.command(&["demo", "--port", "0"]),
            ([127, 0, 0, 1], 0).into(),
        );
        let address = wait_for("the demo", || {
            program.assert_alive();
            let said = std::fs::read_to_string(&program.out).unwrap();
            let (_, rest) = said.split_once("Countersign demo: http://")?;
            rest.lines().next()?.parse().ok()
        });
        program.address = address;
        program.wait_until_up();
    }
}

/// The program without any setting.
pub fn bare(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(args).current_dir(dir).env_clear().env("TMPDIR", dir).env("RUST_BACKTRACE", "0");
    command
}

/// Runs a command to its end; one that does not end fails the test.
#[track_caller]
pub fn finish(dir: &Path, mut command: Command) -> Said {
    let name = uuid::Uuid::new_v4().simple().to_string();
    let (out, err) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.err")));
    command.stdin(Stdio::null()).stdout(File::create(&out).unwrap());
    let mut child = Held(command.stderr(File::create(&err).unwrap()).spawn().unwrap());
    let status = wait_for("the command to end", || child.0.try_wait().unwrap());
    let take = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        std::fs::remove_file(path).unwrap();
        text
    };
    Said { code: status.code(), out: take(&out), err: take(&err) }
}

/// A port nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A child that does not outlive its test.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running server; killed without warning when it is dropped.
pub struct Program {
    child: Held,
    pub address: SocketAddr,
    out: PathBuf,
    log: PathBuf,
}

impl Program {
    /// Starts a command; what it logs is added to the file `log`.
    pub fn spawn(dir: &Path, mut command: Command, address: SocketAddr) -> Self {
        let (out, log) = (dir.join("stdout"), dir.join("log"));
        let log_file = File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(log_file);
        Self { child: Held(command.spawn().unwrap()), address, out, log }
    }

    /// Waits for an answer; a program that ends instead fails the test.
    #[track_caller]
    pub fn wait_until_up(&self) {
        wait_for("the server to answer", || {
            http::request(self.address, ("GET", "/readyz"), &[], "")
                .ok()
                .filter(|a| a.status == 200)
        });
    }

    #[track_caller]
    pub fn assert_alive(&mut self) {
        let ended = self.child.0.try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?}: {}", std::fs::read_to_string(&self.log).unwrap());
    }

    /// What it said on standard output.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap()
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub fn kill(mut self) {
        self.child.0.kill().unwrap();
        self.child.0.wait().unwrap();
    }

    /// SIGTERM; gives the exit code.
    pub fn stop(mut self) -> Option<i32> {
        let id = self.child.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        wait_for("the server to stop", || self.child.0.try_wait().unwrap()).code()
    }
}

/// A connection that is not the product's.
pub fn beside(database: &Database) -> Conn {
    if database.is_postgres() {
        return Conn::Postgres(PgConnection::establish(&database.url).unwrap());
    }
    let path = database.url.trim_start_matches("sqlite://");
    let mut conn = Conn::Sqlite(SqliteConnection::establish(path).unwrap());
    run(&mut conn, "PRAGMA busy_timeout = 20000");
    run(&mut conn, "PRAGMA foreign_keys = ON");
    conn
}

/// Runs statements that must succeed.
#[track_caller]
pub fn run(conn: &mut Conn, sql: &str) {
    diesel::connection::SimpleConnection::batch_execute(conn, sql)
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// The texts a query with one column finds.
#[track_caller]
pub fn texts(conn: &mut Conn, sql: &str) -> Vec<String> {
    let query = diesel::dsl::sql::<Text>(sql);
    let found = match conn {
        Conn::Sqlite(conn) => query.load(conn),
        Conn::Postgres(conn) => query.load(conn),
    };
    found.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// The one number a query finds.
#[track_caller]
pub fn number(conn: &mut Conn, sql: &str) -> i64 {
    let query = diesel::dsl::sql::<BigInt>(sql);
    let found = match conn {
        Conn::Sqlite(conn) => query.get_result(conn),
        Conn::Postgres(conn) => query.get_result(conn),
    };
    found.unwrap_or_else(|e| panic!("{sql}: {e}"))
}
