//! A certificate authority for one net.

use boring::asn1::Asn1Time;
use boring::bn::{BigNum, MsbOption};
use boring::ec::{EcGroup, EcKey};
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{PKey, Private};
use boring::rsa::Rsa;
use boring::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
    SubjectKeyIdentifier,
};
use boring::x509::{X509, X509Builder, X509Name, X509NameBuilder};
use std::net::IpAddr;

/// For how many days the certificates are good.
const DAYS: u32 = 30;
const RSA_BITS: u32 = 2_048;

/// An authority that signs certificates.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// The kind of a server's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Ecdsa,
    /// For versions of TLS and clients that know nothing newer.
    Rsa,
}

/// A certificate chain and its key, PEM.
#[derive(Clone)]
pub struct Leaf {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

fn new_key(kind: Kind) -> anyhow::Result<PKey<Private>> {
    Ok(match kind {
        Kind::Ecdsa => {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
            PKey::from_ec_key(EcKey::generate(&group)?)?
        }
        Kind::Rsa => PKey::from_rsa(Rsa::generate(RSA_BITS)?)?,
    })
}

fn name(common: &str) -> anyhow::Result<X509Name> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_nid(Nid::COMMONNAME, common)?;
    Ok(name.build())
}

/// The part that all certificates have in common.
fn builder(subject: &X509Name, key: &PKey<Private>) -> anyhow::Result<X509Builder> {
    let mut builder = X509::builder()?;
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(subject)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(DAYS)?)?;
    builder.set_pubkey(key)?;
    Ok(builder)
}

// === impl Authority ===

impl Authority {
    /// Makes an authority with a new key.
    ///
    /// # Errors
    /// When the library of ciphers fails.
    pub fn new(common: &str) -> anyhow::Result<Self> {
        let (key, subject) = (new_key(Kind::Ecdsa)?, name(common)?);
        let mut builder = builder(&subject, &key)?;
        builder.set_issuer_name(&subject)?;
        builder.append_extension(&*BasicConstraints::new().critical().ca().build()?)?;
        builder.append_extension(&*KeyUsage::new().critical().key_cert_sign().build()?)?;
        let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
        builder.append_extension(&identifier)?;
        builder.sign(&key, MessageDigest::sha256())?;
        Ok(Self { certificate: builder.build(), key })
    }

    /// Its own certificate.
    pub fn certificate(&self) -> &X509 {
        &self.certificate
    }

    /// Its own certificate, PEM.
    ///
    /// # Errors
    /// When the library of ciphers fails.
    pub fn pem(&self) -> anyhow::Result<Vec<u8>> {
        Ok(self.certificate.to_pem()?)
    }

    /// A certificate for a server with these names and loopback.
    ///
    /// # Errors
    /// When the library of ciphers fails.
    pub fn leaf(&self, names: &[&str], kind: Kind) -> anyhow::Result<Leaf> {
        let key = new_key(kind)?;
        let mut builder = builder(&name(names.first().copied().unwrap_or("nobody"))?, &key)?;
        builder.set_issuer_name(self.certificate.subject_name())?;
        builder.append_extension(&*BasicConstraints::new().build()?)?;
        builder.append_extension(
            &*KeyUsage::new().critical().digital_signature().key_encipherment().build()?,
        )?;
        builder.append_extension(&*ExtendedKeyUsage::new().server_auth().build()?)?;
        let alternative = {
            let mut alternative = SubjectAlternativeName::new();
            for name in names {
                alternative.dns(name);
            }
            alternative.ip(&IpAddr::from([127, 0, 0, 1]).to_string());
            alternative.build(&builder.x509v3_context(Some(&self.certificate), None))?
        };
        builder.append_extension(&alternative)?;
        let issuer = AuthorityKeyIdentifier::new()
            .keyid(true)
            .build(&builder.x509v3_context(Some(&self.certificate), None))?;
        builder.append_extension(&issuer)?;
        builder.sign(&self.key, MessageDigest::sha256())?;
        let mut chain = builder.build().to_pem()?;
        chain.extend(self.pem()?);
        Ok(Leaf { certificate: chain, key: key.private_key_to_pem_pkcs8()? })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaf").finish_non_exhaustive()
    }
}
