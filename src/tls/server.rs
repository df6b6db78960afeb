//! What a listener shows and asks for.
//!
//! Sessions are resumed by tickets alone: whoever connects again may meet another worker, and no
//! cache is shared. Tickets end with the value that issued them, so that an authority or a name
//! that is taken away counts at once. Does not know: which listener.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::aws_lc_rs::Ticketer;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};

use super::identity::{FileFault, Identity, authorities, facts};
use super::name::Name;
use super::{Version, provider};

/// How a listener speaks TLS.
#[derive(Clone)]
pub struct Server {
    wanted: Wanted,
    config: Arc<ServerConfig>,
}

/// What a listener is to be like.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its certificates; the first is for clients that name no host, or an unknown one.
    pub identities: Vec<Identity>,
    /// Who may connect; `None`: anybody.
    pub clients: Option<Clients>,
    /// The least version of TLS.
    pub least: Version,
    /// The protocols that it speaks inside of TLS (RFC 7301), best first.
    pub alpn: &'static [&'static [u8]],
}

/// Which clients may connect.
#[derive(Clone, Debug)]
pub struct Clients {
    /// The file of the authorities of which one has signed their certificate.
    pub authorities: PathBuf,
    /// One of these has to stand in it; empty: any will do.
    pub names: Vec<Name>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.wanted).finish()
    }
}

impl Server {
    /// Reads what else is needed.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub fn new(wanted: Wanted) -> Result<Server, FileFault> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(wanted.least.and_later())
            .expect("the provider speaks every version");
        let builder = match &wanted.clients {
            Some(clients) => builder.with_client_cert_verifier(verifier(clients)?),
            None => builder.with_no_client_auth(),
        };
        let shown = Shown(wanted.identities.clone());
        let mut config = builder.with_cert_resolver(Arc::new(shown));
        config.alpn_protocols = wanted.alpn.iter().map(|it| it.to_vec()).collect();
        // What is strongest is our choice; whoever speaks only weaker ones gets those.
        config.ignore_client_order = true;
        config.ticketer = Ticketer::new().expect("there is randomness for the first key");
        Ok(Server { wanted, config: Arc::new(config) })
    }

    /// What handshakes are made with.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Its certificates, the one for everybody first.
    pub fn identities(&self) -> &[Identity] {
        &self.wanted.identities
    }

    /// Every file that it was made of.
    pub fn files(&self) -> Vec<PathBuf> {
        let own = self.wanted.identities.iter().flat_map(|it| it.files().to_vec());
        own.chain(self.wanted.clients.iter().map(|it| it.authorities.clone())).collect()
    }

    /// The same files once more.
    ///
    /// # Errors
    /// When one of them is of no use; this value still is.
    pub fn reread(&self) -> Result<Server, FileFault> {
        let identities: Result<_, _> =
            self.wanted.identities.iter().map(Identity::reread).collect();
        Server::new(Wanted { identities: identities?, ..self.wanted.clone() })
    }
}

fn verifier(clients: &Clients) -> Result<Arc<dyn ClientCertVerifier>, FileFault> {
    let roots: RootCertStore = authorities(&clients.authorities)?;
    let signed = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .expect("there is at least one authority, and no revocation list");
    if clients.names.is_empty() {
        return Ok(signed);
    }
    Ok(Arc::new(Named { signed, allowed: clients.names.clone() }))
}

/// Wants a certificate of an authority, and then one of these names in it.
#[derive(Debug)]
struct Named {
    signed: Arc<dyn ClientCertVerifier>,
    allowed: Vec<Name>,
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.signed.verify_client_cert(own, between, now)?;
        let names = facts(own).map_err(|_| CertificateError::BadEncoding)?.names;
        if names.iter().any(|name| self.allowed.iter().any(|allowed| allowed.covers(name))) {
            return Ok(verified);
        }
        tracing::debug!(?names, "a client's certificate has none of the names that are allowed");
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

/// Chooses the certificate for the host that a client asks for.
#[derive(Debug)]
struct Shown(Vec<Identity>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().and_then(|asked| Name::parse(asked).ok());
        let fits = |it: &&Identity| {
            let asked = asked.as_ref();
            asked.is_some_and(|asked| it.facts().names.iter().any(|name| name.covers(asked)))
        };
        self.0.iter().find(fits).or(self.0.first()).map(Identity::certified)
    }
}
