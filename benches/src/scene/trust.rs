//! The certificate of the sandbox, and the authority that vouches for it.

use crate::charge::ACCOUNTS;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// PEM files.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) authority: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// Makes a certificate for a day with the command `openssl`.
fn certify(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("openssl")
        .current_dir(folder)
        .args(["req", "-x509", "-nodes", "-days", "1", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(arguments)
        .output()
        .context("openssl cannot be run: apt-get install openssl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl makes no certificate: {}", said.trim());
    Ok(())
}

// === impl Trust ===

impl Trust {
    /// Makes an authority for this run alone, and a certificate for all provider names.
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        let hosts: Vec<_> =
            ACCOUNTS.iter().map(|account| format!("DNS:{}", account.host)).collect();
        let names = format!("subjectAltName={}", hosts.join(","));
        let authority = ["-subj", "/CN=bench authority", "-keyout", "authority-key.pem"];
        certify(folder, &[&authority[..], &["-out", "authority.pem"]].concat())?;
        let signer = ["-CA", "authority.pem", "-CAkey", "authority-key.pem"];
        let leaf = ["-subj", "/CN=sandbox", "-keyout", "sandbox-key.pem", "-out", "sandbox.pem"];
        let extensions = ["-addext", &names, "-addext", "basicConstraints=critical,CA:FALSE"];
        certify(folder, &[&signer[..], &leaf, &extensions].concat())?;
        Ok(Self {
            authority: folder.join("authority.pem"),
            certificate: folder.join("sandbox.pem"),
            key: folder.join("sandbox-key.pem"),
        })
    }
}
