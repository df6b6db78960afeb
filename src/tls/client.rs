//! What a server has to show us, and what we show it; the handshake with it.
//!
//! Authorities that are named in a file are read when the value is made; those of the operating
//! system when the first handshake needs them, and once: configurations are read far more often
//! than anybody connects. Does not know: which server, what is said afterwards.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::io::AsyncBufRead as _;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SignatureScheme,
};

use super::fault::{Fault, Scene};
use super::identity::{self, FileFault, Identity, authorities};
use super::stream::Stream;
use super::{Version, provider};

/// How long a server may take to look at our certificate, beyond the time of the handshake itself.
const LOOK_ROOM: Duration = Duration::from_millis(50);

/// How we speak TLS to servers.
#[derive(Clone)]
pub struct Client {
    /// In place of the roots that the operating system trusts.
    ca: Option<(PathBuf, Arc<RootCertStore>)>,
    identity: Option<Identity>,
    /// In place of the host that is connected to.
    server_name: Option<ServerName<'static>>,
    least: Version,
    /// Where the settings stand, for advice.
    place: &'static str,
    made: OnceLock<Made>,
}

/// What handshakes are made with.
#[derive(Clone)]
struct Made {
    config: Arc<ClientConfig>,
    own: Arc<Own>,
}

/// What a server has shown in a handshake that went well.
#[derive(Clone, Debug)]
pub struct Secured {
    /// The name that it was asked for.
    pub name: String,
    /// The version that is spoken: `TLS 1.3` or `TLS 1.2`.
    pub version: &'static str,
    certificate: CertificateDer<'static>,
}

impl Secured {
    /// The last moment at which its certificate is valid; `None` where that cannot be read.
    pub fn not_after(&self) -> Option<SystemTime> {
        identity::facts(&self.certificate).ok().map(|facts| facts.not_after)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ca = self.ca.as_ref().map(|(path, _)| path);
        f.debug_tuple("Client").field(&(ca, &self.identity, &self.server_name, self.least)).finish()
    }
}

/// Alike in all that a server could see or has to show, by content and not by file.
impl PartialEq for Client {
    fn eq(&self, other: &Client) -> bool {
        let roots = |it: &Client| it.ca.as_ref().map(|(_, roots)| Arc::clone(roots));
        let same_roots = match (roots(self), roots(other)) {
            (Some(one), Some(other)) => one.roots == other.roots,
            (one, other) => one.is_none() && other.is_none(),
        };
        let chain = |it: &Client| it.identity.as_ref().map(Identity::certified);
        let same_chain = match (chain(self), chain(other)) {
            (Some(one), Some(other)) => one.cert == other.cert,
            (one, other) => one.is_none() && other.is_none(),
        };
        let rest = |it: &Client| (it.server_name.clone(), it.least);
        same_roots && same_chain && rest(self) == rest(other)
    }
}

impl Client {
    /// Trusts the authorities of a file, or those of the operating system, and shows a certificate
    /// to whoever asks for one. `place` is where the settings stand, such as `[primary.tls]`.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub fn new(
        ca: Option<&Path>,
        identity: Option<Identity>,
        server_name: Option<ServerName<'static>>,
        least: Version,
        place: &'static str,
    ) -> Result<Client, FileFault> {
        let read = |ca: &Path| Ok((ca.to_owned(), Arc::new(authorities(ca)?)));
        let ca = ca.map(read).transpose()?;
        Ok(Client { ca, identity, server_name, least, place, made: OnceLock::new() })
    }

    /// All files it was made of.
    pub fn files(&self) -> Vec<PathBuf> {
        let own = self.identity.iter().flat_map(Identity::files).cloned();
        self.ca.iter().map(|(path, _)| path.clone()).chain(own).collect()
    }

    /// The same from the same files, as they are now.
    ///
    /// # Errors
    /// As [`Client::new`] and [`Identity::read`].
    pub fn reread(&self) -> Result<Client, FileFault> {
        let ca = self.ca.as_ref().map(|(path, _)| path.as_path());
        let identity = self.identity.as_ref().map(Identity::reread).transpose()?;
        Client::new(ca, identity, self.server_name.clone(), self.least, self.place)
    }

    /// What it shows to servers that ask.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Speaks TLS on a connection to this host, a name or an address. When it returns, the server
    /// is who it should be, and has not refused us.
    ///
    /// # Errors
    /// When there is no TLS to be had, in plain words; nothing was sent but the handshake.
    pub async fn handshake(
        self: &Arc<Client>,
        host: &str,
        stream: TcpStream,
    ) -> Result<(Stream, Secured), Fault> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host).ok_or_else(|| Fault::no_name(host, self.place))?,
        };
        let Made { config, own } = self.made()?;
        let start = Instant::now();
        let connector = TlsConnector::from(Arc::clone(config));
        let told = |error: io::Error| self.told(&error, &name.to_str());
        let mut stream = connector.connect(name.clone(), stream).await.map_err(told)?;
        if own.asked() && is_unconfirmed(&stream) {
            let limit = start.elapsed() + LOOK_ROOM;
            if let Ok(looked) = tokio::time::timeout(limit, looked_at(&mut stream)).await {
                looked.map_err(told)?;
            }
        }
        let secured = secured(&stream, &name).ok_or_else(|| Fault::new("it has no certificate"))?;
        Ok((Stream::secure(stream, Arc::clone(self), &secured.name), secured))
    }

    /// What an error of a connection of ours means.
    pub(super) fn told(&self, error: &io::Error, host: &str) -> Fault {
        let scene = Scene {
            host,
            place: self.place,
            ca: self.ca.as_ref().map(|(path, _)| path.as_path()),
            own: self.identity.as_ref().map(|it| it.files()[0].as_path()),
            asked: self.made.get().is_some_and(|made| made.own.asked()),
            least: self.least,
        };
        scene.told(error)
    }

    fn made(&self) -> Result<&Made, Fault> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let roots = match &self.ca {
            Some((_, roots)) => Arc::clone(roots),
            None => system_roots().ok_or_else(|| Fault::no_roots(self.place))?,
        };
        let own = Arc::new(Own {
            shown: self.identity.as_ref().map(Identity::certified),
            asked: AtomicBool::new(false),
        });
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(self.least.and_later())
            .expect("the provider speaks every version")
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::clone(&own) as Arc<dyn ResolvesClientCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(self.made.get_or_init(|| Made { config: Arc::new(config), own }))
    }
}

/// The name or address that a certificate can be for; `None` when it is none.
pub fn server_name(text: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(text.to_owned()).ok()
}

/// What we show, and whether anybody has ever asked for it.
#[derive(Debug)]
struct Own {
    shown: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Own {
    fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.shown.clone()
    }

    fn has_certs(&self) -> bool {
        self.shown.is_some()
    }
}

/// In TLS 1.3 a client is done before the server has looked at its certificate, and a request sent
/// then would be lost with a connection that the server refuses.
fn is_unconfirmed(stream: &TlsStream<TcpStream>) -> bool {
    let connection = stream.get_ref().1;
    connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
        && connection.handshake_kind() != Some(HandshakeKind::Resumed)
}

/// Waits for the first word of the server after the handshake: tickets for the next one, which
/// nearly all servers send, or a refusal.
async fn looked_at(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    poll_fn(|context| {
        let come = Pin::new(&mut *stream).poll_fill_buf(context).map_ok(<[u8]>::len);
        match come {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(come) => Poll::Ready(come.map(|_| ())),
            Poll::Pending if stream.get_ref().1.tls13_tickets_received() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn secured(stream: &TlsStream<TcpStream>, name: &ServerName<'_>) -> Option<Secured> {
    let connection = stream.get_ref().1;
    let certificate = connection.peer_certificates()?.first()?.clone().into_owned();
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "TLS 1.2",
    };
    Some(Secured { name: name.to_str().into_owned(), version, certificate })
}

/// What the operating system trusts, if that is anybody; read once in a process, which takes some
/// milliseconds. One certificate there that cannot be read takes nothing from the others.
fn system_roots() -> Option<Arc<RootCertStore>> {
    static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    (!ROOTS.is_empty()).then(|| Arc::clone(&ROOTS))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_same_is_who_shows_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let [ca, certificate, key] = ["ca", "own.pem", "own.key"].map(|it| dir.path().join(it));
        let write = || {
            let made = rcgen::generate_simple_self_signed(["own".to_owned()]).unwrap();
            std::fs::write(&certificate, made.cert.pem()).unwrap();
            std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
            made.cert.pem()
        };
        std::fs::write(&ca, write()).unwrap();
        let identity = Identity::read(&certificate, &key).unwrap();
        let name = server_name("mcp.internal");
        let client = Client::new(Some(&ca), Some(identity), name, Version::Tls13, "").unwrap();
        assert_eq!(client.files(), [ca.clone(), certificate.clone(), key.clone()]);
        assert_eq!(client.reread().unwrap(), client);
        let again = write();
        let other = client.reread().unwrap();
        assert_ne!(other, client, "another certificate");
        std::fs::write(&ca, again).unwrap();
        assert_ne!(other.reread().unwrap(), other, "another authority");
        std::fs::remove_file(&ca).unwrap();
        assert!(client.reread().is_err());
    }
}
