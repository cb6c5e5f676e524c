//! A fresh database for each test, gone when the test is over.

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;

/// The address of a fresh database, and what to tidy up.
pub struct Database {
    pub url: String,
    home: Home,
}

enum Home {
    Sqlite(tempfile::TempDir),
    Postgres { admin: String, name: String },
}

impl Database {
    /// SQLite, or with `TEST_DATABASE=postgres` PostgreSQL at `TEST_POSTGRES_URL`. A PostgreSQL that
    /// is not there fails the test: nothing is skipped in silence.
    pub fn fresh() -> Self {
        match std::env::var("TEST_DATABASE").as_deref() {
            Ok("postgres") => Self::postgres(),
            Ok("sqlite") | Err(_) => Self::sqlite(),
            Ok(other) => panic!("TEST_DATABASE={other}: use sqlite or postgres"),
        }
    }

    /// True if this is PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        matches!(self.home, Home::Postgres { .. })
    }

    /// The folder of the files, for SQLite.
    pub fn folder(&self) -> Option<&std::path::Path> {
        match &self.home {
            Home::Sqlite(dir) => Some(dir.path()),
            Home::Postgres { .. } => None,
        }
    }

    pub fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            url: format!("sqlite://{}", dir.path().join("test.db").display()),
            home: Home::Sqlite(dir),
        }
    }

    pub fn postgres() -> Self {
        let admin = std::env::var("TEST_POSTGRES_URL").expect(
            "TEST_POSTGRES_URL is not set; run the tests with tests/run, which starts a PostgreSQL",
        );
        let name = format!("t_{}", uuid::Uuid::new_v4().simple());
        let mut conn = diesel::PgConnection::establish(&admin).unwrap();
        conn.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        let mut url = url::Url::parse(&admin).unwrap();
        url.set_path(&name);
        Self { url: url.into(), home: Home::Postgres { admin, name } }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Home::Postgres { admin, name } = &self.home
            && let Ok(mut conn) = diesel::PgConnection::establish(admin)
        {
            let _ = conn.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}
