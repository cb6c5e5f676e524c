//! What every action may look up about this installation.

use anyhow::Context as _;

use crate::config::Config;
use crate::domain::catalogue::Catalogue;

const EMBEDDED: &[(&str, &str)] = &[
    ("catalogue/wallet.toml", include_str!("../catalogue/wallet.toml")),
    ("catalogue/countersign.toml", include_str!("../catalogue/countersign.toml")),
    ("catalogue/optimove.toml", include_str!("../catalogue/optimove.toml")),
    ("catalogue/insider.toml", include_str!("../catalogue/insider.toml")),
    ("catalogue/insider-web-push.toml", include_str!("../catalogue/insider-web-push.toml")),
    ("catalogue/insider-mobile.toml", include_str!("../catalogue/insider-mobile.toml")),
    ("catalogue/omniwallet.toml", include_str!("../catalogue/omniwallet.toml")),
    ("catalogue/peikly.toml", include_str!("../catalogue/peikly.toml")),
];

/// The public address and the catalogue of this installation.
#[derive(Clone, Debug)]
pub struct Site {
    /// Scheme, host and port, without a slash at the end: links in mails start with it.
    pub public_url: String,
    /// What keys can open.
    pub catalogue: Catalogue,
}

impl Site {
    /// The site the settings describe, with the embedded catalogue or the one in `CATALOGUE_DIR`.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let catalogue = match &config.catalogue_dir {
            None => Catalogue::parse(EMBEDDED.iter().copied()),
            Some(dir) => {
                let documents = read_documents(dir)?;
                Catalogue::parse(
                    documents.iter().map(|(name, text)| (name.as_str(), text.as_str())),
                )
            }
        };
        let catalogue =
            catalogue.map_err(|fault| anyhow::anyhow!("the catalogue is not usable: {fault}"))?;
        Ok(Self { public_url: config.public_url.origin().ascii_serialization(), catalogue })
    }
}

/// Every `.toml` file of a folder, by name.
fn read_documents(dir: &std::path::Path) -> anyhow::Result<Vec<(String, String)>> {
    let entries = std::fs::read_dir(dir)
        .with_context(|| format!("reading CATALOGUE_DIR {}", dir.display()))?;
    let mut documents = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "toml") {
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            documents.push((path.display().to_string(), text));
        }
    }
    documents.sort();
    Ok(documents)
}
