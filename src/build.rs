//! Rebuilds when a migration changes, and prepares the static files: a short hash for the URL and a
//! compressed copy beside the plain one.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::{Compression, Crc, write::GzEncoder};

const FILES: &[(&str, &str)] = &[
    ("app.css", "text/css; charset=utf-8"),
    ("app.js", "text/javascript; charset=utf-8"),
    ("favicon.svg", "image/svg+xml"),
    ("icons.svg", "image/svg+xml"),
];

#[expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to build scripts through the environment"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=static");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let mut list = String::from("&[\n");
    for (name, kind) in FILES {
        let plain = root.join("static").join(name);
        let hash = prepare(&plain, &out.join(format!("{name}.gz")))?;
        let (plain, gzip) = (literal(&plain)?, literal(&out.join(format!("{name}.gz")))?);
        writeln!(
            list,
            "Asset {{ name: {name:?}, kind: {kind:?}, hash: {hash:?}, \
             plain: include_bytes!({plain}), gzip: include_bytes!({gzip}) }},"
        )?;
    }
    list.push(']');
    fs::write(out.join("assets.rs"), list)?;
    Ok(())
}

/// A path as a Rust string literal.
fn literal(path: &Path) -> Result<String, Box<dyn std::error::Error>> {
    Ok(format!("{:?}", path.to_str().ok_or("the path of the project is not plain text")?))
}

/// Writes the compressed copy and returns the hash of the content.
fn prepare(plain: &Path, gzip: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let bytes = fs::read(plain).map_err(|e| format!("{}: {e}", plain.display()))?;
    let mut encoder = GzEncoder::new(fs::File::create(gzip)?, Compression::best());
    encoder.write_all(&bytes)?;
    encoder.finish()?;
    let mut crc = Crc::new();
    crc.update(&bytes);
    Ok(format!("{:08x}", crc.sum()))
}
