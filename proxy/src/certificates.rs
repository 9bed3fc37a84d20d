//! The listener's certificates, chosen by server name and swapped without a restart.

use crate::causes::causes;
use anyhow::{Context, Result, ensure};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use conf::CertificateFiles;
use pingora::listeners::TlsAccept;
use pingora::protocols::tls::TlsRef;
use pingora::tls::ext;
use pingora::tls::pkey::{PKey, Private};
use pingora::tls::ssl::NameType;
use pingora::tls::x509::X509;
use std::fs;
use std::sync::Arc;

/// The certificates that are in use, and the files they came from.
pub(crate) struct Certificates {
    current: ArcSwap<Vec<Certificate>>,
    files: ArcSwap<Vec<CertificateFiles>>,
}

struct Certificate {
    chain: Vec<X509>,
    key: PKey<Private>,
    /// Lower-case DNS names, some of which may begin with `*.`.
    names: Vec<String>,
}

/// Hands a handshake its certificate.
pub(crate) struct Acceptor(pub(crate) Arc<Certificates>);

// === impl Certificates ===

impl Certificates {
    /// Reads all files; every certificate must be readable and have its own key.
    pub(crate) fn load(files: &[CertificateFiles]) -> Result<Arc<Self>> {
        let current = ArcSwap::from_pointee(read_all(files)?);
        Ok(Arc::new(Self { current, files: ArcSwap::from_pointee(files.to_vec()) }))
    }

    /// Reads all files again, and from now on these `files` if there are others. When one of them is
    /// no good, the old certificates stay in use.
    pub(crate) fn reload(&self, files: Option<&[CertificateFiles]>) -> Result<()> {
        let files = files.map_or_else(|| self.files.load_full(), |files| Arc::new(files.to_vec()));
        self.current.store(Arc::new(read_all(&files)?));
        self.files.store(files);
        Ok(())
    }
}

fn read_all(files: &[CertificateFiles]) -> Result<Vec<Certificate>> {
    ensure!(!files.is_empty(), "listen.tls.certificates: at least one certificate is needed");
    files.iter().map(Certificate::read).collect()
}

// === impl Certificate ===

impl Certificate {
    fn read(files: &CertificateFiles) -> Result<Self> {
        let (chain_path, key_path) = (files.chain.display(), files.key.display());
        let pem = fs::read(&files.chain).with_context(|| format!("cannot read {chain_path}"))?;
        let chain = X509::stack_from_pem(&pem)
            .with_context(|| format!("{chain_path} is not a PEM certificate chain"))?;
        let pem = fs::read(&files.key).with_context(|| format!("cannot read {key_path}"))?;
        let key = PKey::private_key_from_pem(&pem)
            .map_err(|_| anyhow::anyhow!("{key_path} is not a PEM private key"))?;
        let leaf = chain.first().with_context(|| format!("{chain_path} is empty"))?;
        let public = leaf.public_key().with_context(|| format!("{chain_path} has no key"))?;
        ensure!(public.public_eq(&key), "{key_path} is not the key of {chain_path}");
        let names = dns_names(leaf);
        Ok(Self { chain, key, names })
    }

    fn is_for(&self, wanted: &str) -> bool {
        self.names.iter().any(|name| match name.strip_prefix('*') {
            Some(suffix) => wanted
                .split_once('.')
                .is_some_and(|(_, rest)| suffix.strip_prefix('.') == Some(rest)),
            None => name == wanted,
        })
    }

    fn give_to(&self, ssl: &mut TlsRef) -> Result<()> {
        let mut chain = self.chain.iter();
        if let Some(leaf) = chain.next() {
            ext::ssl_use_certificate(ssl, leaf)?;
        }
        ext::ssl_use_private_key(ssl, &self.key)?;
        chain.try_for_each(|issuer| ext::ssl_add_chain_cert(ssl, issuer))?;
        Ok(())
    }
}

fn dns_names(leaf: &X509) -> Vec<String> {
    let names = leaf.subject_alt_names();
    names.iter().flatten().filter_map(|name| name.dnsname()).map(str::to_ascii_lowercase).collect()
}

// === impl Acceptor ===

#[async_trait]
impl TlsAccept for Acceptor {
    async fn certificate_callback(&self, ssl: &mut TlsRef) {
        let certificates = self.0.current.load();
        let wanted = ssl.servername(NameType::HOST_NAME).map(str::to_ascii_lowercase);
        let chosen = wanted
            .and_then(|wanted| certificates.iter().find(|one| one.is_for(&wanted)))
            .or_else(|| certificates.first());
        // A handshake without a certificate fails by itself, which is what we want here.
        if let Some(Err(error)) = chosen.map(|one| one.give_to(ssl)) {
            log::error!("a certificate could not be used: {}", causes(&error));
        }
    }
}
