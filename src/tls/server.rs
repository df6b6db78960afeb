//! What a listener shows and asks for.
//!
//! Does not know: which listener.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::identity::{FileFault, Identity, authorities};
use super::{Version, provider};

/// How a listener speaks TLS.
#[derive(Clone)]
pub struct Server {
    identities: Vec<Identity>,
    /// Clients have to show a certificate of one of these authorities.
    client_ca: Option<PathBuf>,
    config: Arc<ServerConfig>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = (&self.identities, &self.client_ca);
        f.debug_tuple("Server").field(&all).finish()
    }
}

impl Server {
    /// A listener with these certificates, of which the first is for clients that name none or an
    /// unknown host.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub fn new(
        identities: Vec<Identity>,
        client_ca: Option<&Path>,
        least: Version,
        alpn: &[&[u8]],
    ) -> Result<Server, FileFault> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(least.and_later())
            .expect("the provider speaks every version");
        let builder = match client_ca.map(authorities).transpose()? {
            Some(roots) => builder.with_client_cert_verifier(verifier(roots)),
            None => builder.with_no_client_auth(),
        };
        let shown = Shown(identities.clone());
        let mut config = builder.with_cert_resolver(Arc::new(shown));
        config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
        let client_ca = client_ca.map(Path::to_owned);
        Ok(Server { identities, client_ca, config: Arc::new(config) })
    }

    /// What handshakes are made with.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

fn verifier(
    roots: RootCertStore,
) -> Arc<dyn tokio_rustls::rustls::server::danger::ClientCertVerifier> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .expect("there is at least one authority, and no revocation list")
}

/// Chooses the certificate for the name that a client asks for.
#[derive(Debug)]
struct Shown(Vec<Identity>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name();
        let fits = |it: &&Identity| {
            asked.is_some_and(|asked| it.facts().names.iter().any(|name| covers(name, asked)))
        };
        self.0.iter().find(fits).or(self.0.first()).map(Identity::certified)
    }
}

/// Whether a name in a certificate is this one; a star stands for one label (RFC 9525 section 6.3).
fn covers(name: &str, asked: &str) -> bool {
    let same = |name: &str, asked: &str| name.eq_ignore_ascii_case(asked);
    match name.strip_prefix("*.") {
        Some(rest) => asked.split_once('.').is_some_and(|(_, own)| same(rest, own)),
        None => same(name, asked),
    }
}
