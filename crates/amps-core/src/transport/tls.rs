//! TLS, by rustls.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::uri::Uri;

/// How `tcps` is spoken. Cheap to clone; read from files once.
///
/// ```no_run
/// use amps_core::tls::{Tls, Version};
/// # fn example() -> Result<(), amps_core::tls::TlsError> {
/// let tls = Tls::builder()
///     .roots_file("/etc/amps/ca.pem")
///     .client_certificate_files("/etc/amps/me.pem", "/etc/amps/me.key")
///     .min_version(Version::V1_3)
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    verifies: bool,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Version {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// What is wrong with TLS settings.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// A text is no PEM, or lacks what is looked for.
    #[error("no {what} in {origin}: {reason}")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// The file, or `the given text`.
        origin: String,
        /// What was found instead.
        reason: String,
    },
    /// The name is no host name and no address.
    #[error("'{name}' is no server name")]
    ServerName {
        /// The name.
        name: String,
    },
    /// Certificates and key do not go together, or the platform has none.
    #[error("TLS cannot be set up: {0}")]
    Setup(Arc<rustls::Error>),
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Setup(Arc::new(error))
    }
}

impl Tls {
    /// Trusts the certificates the platform trusts, and speaks TLS 1.2 or
    /// newer.
    ///
    /// # Errors
    /// [`TlsError::Setup`] when the platform's certificates cannot be had.
    pub fn platform() -> Result<Self, TlsError> {
        Self::builder().build()
    }

    /// Begins to say how.
    pub fn builder() -> TlsBuilder {
        TlsBuilder::default()
    }

    pub(super) async fn handshake(&self, uri: &Uri, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        if !self.verifies {
            tracing::warn!(server = %uri, "TLS WITHOUT VERIFICATION: anybody can pose as this server");
        }
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(uri.host().to_owned()).map_err(io::Error::other)?,
        };
        let name_shown = name.to_str().into_owned();
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector
            .connect(name, stream)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("TLS with '{name_shown}' failed: {error}")))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("server_name", &self.server_name)
            .field("verifies", &self.verifies)
            .finish_non_exhaustive()
    }
}

/// Sets up a [`Tls`].
#[derive(Default)]
#[must_use]
pub struct TlsBuilder {
    roots: Vec<Pem>,
    client: Option<(Pem, Pem)>,
    server_name: Option<String>,
    min_version: Option<Version>,
    unverified: bool,
}

/// Text in PEM format, or the file with it.
enum Pem {
    Text(Vec<u8>),
    File(PathBuf),
}

impl Pem {
    fn read(&self) -> Result<(Vec<u8>, String), TlsError> {
        match self {
            Self::Text(text) => Ok((text.clone(), "the given text".to_owned())),
            Self::File(path) => match fs::read(path) {
                Ok(text) => Ok((text, path.display().to_string())),
                Err(error) => Err(TlsError::File { path: path.clone(), source: Arc::new(error) }),
            },
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let (text, origin) = self.read()?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let none = |reason: String| TlsError::Pem { what: "certificate", origin: origin.clone(), reason };
        match found {
            Ok(certificates) if certificates.is_empty() => Err(none("there is none".to_owned())),
            Ok(certificates) => Ok(certificates),
            Err(error) => Err(none(error.to_string())),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let (text, origin) = self.read()?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| TlsError::Pem {
            what: "private key",
            origin,
            reason: error.to_string(),
        })
    }
}

impl TlsBuilder {
    /// Trusts the certificates in this PEM text, and no others but those of
    /// further calls.
    pub fn roots_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(Pem::Text(pem.into()));
        self
    }

    /// Trusts the certificates in this PEM file, and no others but those of
    /// further calls.
    pub fn roots_file(mut self, path: impl AsRef<Path>) -> Self {
        self.roots.push(Pem::File(path.as_ref().to_owned()));
        self
    }

    /// Shows the server a certificate chain, leaf first, with the leaf's
    /// private key; both PEM texts.
    pub fn client_certificate_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.client = Some((Pem::Text(chain.into()), Pem::Text(key.into())));
        self
    }

    /// The same from PEM files.
    pub fn client_certificate_files(mut self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        self.client = Some((Pem::File(chain.as_ref().to_owned()), Pem::File(key.as_ref().to_owned())));
        self
    }

    /// The name the server's certificate has to be for, and that is sent to it
    /// (SNI); the host of the connection string by default.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The oldest version spoken; TLS 1.2 by default.
    pub fn min_version(mut self, version: Version) -> Self {
        self.min_version = Some(version);
        self
    }

    /// Takes whatever certificate a server shows: anybody on the way can read
    /// and change everything. Warned of on every connection.
    pub fn dangerously_do_not_verify(mut self) -> Self {
        self.unverified = true;
        self
    }

    /// Reads the files, and checks what they say.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn build(self) -> Result<Tls, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions: &[_] = match self.min_version {
            Some(Version::V1_3) => &[&rustls::version::TLS13],
            _ => &[&rustls::version::TLS12, &rustls::version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions)?;
        let builder = if self.unverified {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        } else if self.roots.is_empty() {
            builder.with_platform_verifier()?
        } else {
            let mut store = RootCertStore::empty();
            for roots in &self.roots {
                for certificate in roots.certificates()? {
                    store.add(certificate)?;
                }
            }
            builder.with_root_certificates(store)
        };
        let config = match &self.client {
            Some((chain, key)) => builder.with_client_auth_cert(chain.certificates()?, key.key()?)?,
            None => builder.with_no_client_auth(),
        };
        let server_name =
            self.server_name.map(|name| ServerName::try_from(name.clone()).map_err(|_| TlsError::ServerName { name }));
        Ok(Tls { config: Arc::new(config), server_name: server_name.transpose()?, verifies: !self.unverified })
    }
}

impl fmt::Debug for TlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsBuilder").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Believes everything but broken signatures.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
