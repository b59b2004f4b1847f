//! Encryption, and who is believed: libpq's `sslmode` and files, with rustls and ring.
//!
//! Handshakes of sessions are made here. The replication client makes its own, from the same files and modes.

use super::{Env, Params, Server};
use crate::tls::SYSTEM_ROOTS;
use riacho_core::source::machine::Fault;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use std::{
    convert::Infallible,
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::{TlsConnector, client};

/// What is asked of encryption.
#[derive(Clone, Debug)]
pub(super) struct Security {
    pub(super) mode: TlsMode,
    roots: Roots,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// libpq's `sslmode`; `allow` is `Prefer`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TlsMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

#[derive(Clone, Debug)]
enum Roots {
    File(PathBuf),
    System { asked: Option<PathBuf> },
}

impl Security {
    /// A plain connection.
    pub(super) fn none() -> Self {
        Self { mode: TlsMode::Disable, roots: Roots::System { asked: None }, certificate: None, key: None }
    }

    /// What the parameters and the files in `~/.postgresql` say.
    pub(super) fn from_params(params: &Params, env: Env<'_>) -> Result<Self, Fault> {
        let usual =
            |name: &str| env.home(".postgresql").map(|home| home.join(name)).filter(|path| path.exists());
        let path = |key: &str, name: &str| params.text(key).map(PathBuf::from).or_else(|| usual(name));
        let system = Roots::System { asked: env.get("SSL_CERT_FILE").map(PathBuf::from) };
        let asked_for_system = params.get("sslrootcert") == Some("system");
        let (roots, given) = match path("sslrootcert", "root.crt") {
            Some(file) if !asked_for_system => (Roots::File(file), true),
            _ => (system, asked_for_system),
        };
        let mode = match params.get("sslmode") {
            None if asked_for_system => TlsMode::VerifyFull,
            None if params.get("requiressl") == Some("1") => TlsMode::Require,
            None | Some("prefer" | "allow") => TlsMode::Prefer,
            Some("disable") => TlsMode::Disable,
            Some("require") => TlsMode::Require,
            Some("verify-ca") => TlsMode::VerifyCa,
            Some("verify-full") => TlsMode::VerifyFull,
            Some(_) => {
                let modes = "disable, allow, prefer, require, verify-ca, verify-full";
                return Err(Fault::evident(format!("`sslmode` is none of {modes}")));
            }
        };
        if asked_for_system && mode != TlsMode::VerifyFull {
            // Anybody can have a certificate that the system believes, so as libpq.
            let message = "`sslrootcert=system` says nothing without the name of the server";
            return Err(Fault::needs_person(message, "use it with `sslmode=verify-full`"));
        }
        // As libpq: who has roots wants them used.
        let mode = if mode == TlsMode::Require && given { TlsMode::VerifyCa } else { mode };
        let (certificate, key) = (path("sslcert", "postgresql.crt"), path("sslkey", "postgresql.key"));
        if certificate.is_none() && params.get("sslkey").is_some() || certificate.is_some() && key.is_none() {
            return Err(Fault::needs_person("`sslcert` and `sslkey` go together", "give both or none"));
        }
        let key = key.filter(|_| certificate.is_some());
        Ok(Self { mode, roots, certificate, key })
    }

    fn config(&self, found: &Arc<Found>) -> Result<ClientConfig, Fault> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|err| Fault::evident(format!("TLS cannot be used: {err}")))?;
        let inner =
            match self.mode {
                TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => None,
                TlsMode::VerifyCa | TlsMode::VerifyFull => {
                    let roots = Arc::new(self.root_certificates()?);
                    let verifier =
                        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
                    Some(verifier.map_err(|err| {
                        Fault::evident(format!("the root certificates cannot be used: {err}"))
                    })?)
                }
            };
        let any_name = self.mode != TlsMode::VerifyFull;
        let verifier = Verifier { inner, any_name, provider, found: Arc::clone(found) };
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let certificates = certificates(certificate)?;
                let private =
                    PrivateKeyDer::from_pem_file(key).map_err(|err| unreadable("private key", key, &err))?;
                builder
                    .with_client_auth_cert(certificates, private)
                    .map_err(|err| unreadable("certificate", certificate, &err))
            }
            _ => Ok(builder.with_no_client_auth()),
        }
    }

    fn root_certificates(&self) -> Result<RootCertStore, Fault> {
        let file = self.root_file().ok_or_else(|| {
            Fault::needs_person(
                "the root certificates of this system are not found",
                "name a file of them with `sslrootcert`",
            )
        })?;
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates(&file)?);
        if added == 0 {
            return Err(Fault::evident(format!("{} has no root certificate", file.display())));
        }
        Ok(roots)
    }

    fn root_file(&self) -> Option<PathBuf> {
        match &self.roots {
            Roots::File(file) => Some(file.clone()),
            Roots::System { asked: Some(file) } => Some(file.clone()),
            Roots::System { asked: None } => {
                SYSTEM_ROOTS.iter().map(PathBuf::from).find(|file| file.exists())
            }
        }
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match certificates {
        Ok(found) if found.is_empty() => {
            Err(Fault::evident(format!("{} has no certificate", file.display())))
        }
        Ok(found) => Ok(found),
        Err(err) => Err(unreadable("certificate", file, &err)),
    }
}

fn unreadable(what: &str, file: &Path, err: &dyn std::fmt::Display) -> Fault {
    Fault::evident(format!("the {what} {} cannot be used: {err}", file.display()))
}

/// Makes the handshakes of one connect.
#[derive(Clone)]
pub(super) struct MakeTls {
    security: Security,
    connector: Option<TlsConnector>,
    found: Arc<Found>,
}

/// What was learned in a handshake.
#[derive(Default)]
struct Found {
    encrypted: AtomicBool,
    // A name that the certificate has, where it has not the one that was looked for and none was asked.
    other_name: OnceLock<String>,
}

impl MakeTls {
    /// Reads the files.
    pub(super) async fn new(security: &Security) -> Result<Self, Fault> {
        let (security, found) = (security.clone(), Arc::new(Found::default()));
        if security.mode == TlsMode::Disable {
            return Ok(Self { security, connector: None, found });
        }
        let (asked, learns) = (security.clone(), Arc::clone(&found));
        let config = tokio::task::spawn_blocking(move || asked.config(&learns)).await;
        let config =
            config.unwrap_or_else(|err| Err(Fault::evident(format!("TLS cannot be used: {err}"))))?;
        Ok(Self { security, connector: Some(TlsConnector::from(Arc::new(config))), found })
    }

    /// Whether a handshake was begun.
    pub(super) fn used(&self) -> bool {
        self.found.encrypted.load(Ordering::Relaxed)
    }

    /// What lets the replication client come as far as this one came.
    pub(super) fn for_replication(&self, server: &Server) -> pgwire_replication::TlsConfig {
        use pgwire_replication::SslMode;
        let mode = match self.security.mode {
            _ if !self.used() => SslMode::Disable,
            TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => SslMode::Require,
            TlsMode::VerifyCa => SslMode::VerifyCa,
            TlsMode::VerifyFull => SslMode::VerifyFull,
        };
        let mut tls = pgwire_replication::TlsConfig { mode, ..Default::default() };
        if mode == SslMode::Disable {
            return tls;
        }
        // It refuses addresses and, of verify-ca, other names, unless the name to look for is said.
        let name = self.found.other_name.get().unwrap_or(&server.host);
        tls.sni_hostname = Some(name.clone());
        // It reads the file in any mode.
        tls.ca_pem_path = mode.verifies_certificate().then(|| self.security.root_file()).flatten();
        tls.client_cert_pem_path.clone_from(&self.security.certificate);
        tls.client_key_pem_path.clone_from(&self.security.key);
        tls
    }
}

impl<S> MakeTlsConnect<S> for MakeTls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = TlsOf<S>;
    type TlsConnect = Handshake;
    type Error = Infallible;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, Infallible> {
        Ok(Handshake { domain: domain.to_owned(), tls: self.clone() })
    }
}

/// One handshake.
pub(super) struct Handshake {
    domain: String,
    tls: MakeTls,
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = TlsOf<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TlsOf<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            self.tls.found.encrypted.store(true, Ordering::Relaxed);
            let name = ServerName::try_from(self.domain).map_err(io::Error::other)?;
            let connector = self.tls.connector.ok_or(io::ErrorKind::Unsupported)?;
            connector.connect(name, stream).await.map(TlsOf)
        })
    }
}

/// An encrypted connection of a session.
pub(super) type Stream = TlsOf<tokio_postgres::Socket>;

/// An encrypted connection. Without channel binding, which the replication client has not either.
pub(super) struct TlsOf<S>(client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for TlsOf<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsOf<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsOf<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Believes a server as the mode says.
#[derive(Debug)]
struct Verifier {
    // None: anybody is believed, who has the key of the certificate that is shown.
    inner: Option<Arc<WebPkiServerVerifier>>,
    any_name: bool,
    provider: Arc<CryptoProvider>,
    found: Arc<Found>,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::{CertificateError::NotValidForNameContext, Error::InvalidCertificate};
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        // The name comes last: what has but the wrong one has a chain that is believed.
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(InvalidCertificate(NotValidForNameContext { presented, .. })) if self.any_name => {
                // rustls names them as `DnsName("db.example.com")` or `IpAddress(10.0.0.1)`.
                let name = presented.iter().find_map(|name| {
                    let inside = name.split_once('(')?.1.strip_suffix(')')?;
                    Some(inside.trim_matches('"')).filter(|name| ServerName::try_from(*name).is_ok())
                });
                if let Some(name) = name {
                    self.found.other_name.get_or_init(|| name.to_owned());
                }
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

// Of Debian and Alpine, of Fedora, of openSUSE.
