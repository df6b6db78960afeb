//! What a server has to show us, and what we show it.
//!
//! Does not know: which server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::sign::SingleCertAndKey;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::identity::{FileFault, Identity, authorities};
use super::{Version, provider};

/// How we speak TLS to servers.
#[derive(Clone)]
pub struct Client {
    /// In place of the roots that the operating system trusts.
    ca: Option<PathBuf>,
    identity: Option<Identity>,
    /// In place of the host that is connected to.
    server_name: Option<String>,
    config: Arc<ClientConfig>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = (&self.ca, &self.identity, &self.server_name);
        f.debug_tuple("Client").field(&all).finish()
    }
}

impl Client {
    /// Trusts the authorities of a file, or those of the operating system, and shows a certificate
    /// to whoever asks for one.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub fn new(
        ca: Option<&Path>,
        identity: Option<Identity>,
        server_name: Option<String>,
        least: Version,
    ) -> Result<Client, FileFault> {
        let roots = ca.map(authorities).transpose()?.unwrap_or_else(system_roots);
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(least.and_later())
            .expect("the provider speaks every version")
            .with_root_certificates(roots);
        let config = match &identity {
            Some(identity) => {
                let own = SingleCertAndKey::from(identity.certified());
                builder.with_client_cert_resolver(Arc::new(own))
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Client { ca: ca.map(Path::to_owned), identity, server_name, config: Arc::new(config) })
    }

    /// What handshakes are made with.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The name that a server has to show, if it is not the host that is connected to.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }
}

/// What the operating system trusts. One certificate there that cannot be read takes nothing from
/// the others.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
