//! TLS of our own HTTP clients: rustls with ring, and who is believed.

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where systems keep their root certificates.
pub(crate) const SYSTEM_ROOTS: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
];

/// Believes who has a certificate by `file` or, without one, by this system or, where that has none, as in an empty
/// container, by Mozilla's list.
///
/// # Errors
///
/// `file` has no certificate that can be used: a sentence without a stop.
pub(crate) fn believing(file: Option<PathBuf>) -> Result<ClientConfig, String> {
    let file = file.or_else(|| SYSTEM_ROOTS.iter().map(PathBuf::from).find(|file| file.exists()));
    let roots = match file {
        Some(file) => roots_of(&file)?,
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
    };
    config(roots)
}

/// Believes nobody: for clients that speak no TLS.
pub(crate) fn believing_nobody() -> Result<ClientConfig, String> {
    config(RootCertStore::empty())
}

fn roots_of(file: &Path) -> Result<RootCertStore, String> {
    let unusable = |why: String| format!("the root certificates {} cannot be used: {why}", file.display());
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.map_err(|err| unusable(err.to_string()))?);
    if added == 0 {
        return Err(unusable("there is none".to_owned()));
    }
    Ok(roots)
}

fn config(roots: RootCertStore) -> Result<ClientConfig, String> {
    // The provider is named: with another in the tree the default is not ring.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|err| format!("TLS cannot be used: {err}"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
