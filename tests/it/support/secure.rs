//! A client with TLS: the same bytes as in cleartext, and what it is shown.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion, version,
};

use super::certificates::Files;
use super::client::{Connection, Reply, request};

/// How a client speaks TLS.
#[derive(Clone)]
pub struct Visitor {
    config: Arc<ClientConfig>,
    /// The host that it asks for.
    host: String,
}

impl Visitor {
    /// One that trusts the authorities of a file and asks for this host.
    pub fn new(ca: &Path, host: &str) -> Visitor {
        Visitor::with(ca, host, None, &[&version::TLS13, &version::TLS12])
    }

    /// The same, with a certificate of its own.
    pub fn showing(ca: &Path, host: &str, own: &Files) -> Visitor {
        Visitor::with(ca, host, Some(own), &[&version::TLS13, &version::TLS12])
    }

    /// The same, with these versions of TLS only.
    pub fn with(
        ca: &Path,
        host: &str,
        own: Option<&Files>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Visitor {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_file_iter(ca).unwrap() {
            roots.add(authority.unwrap()).unwrap();
        }
        let builder =
            ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = CertificateDer::pem_file_iter(&own.certificate).unwrap();
                let chain = chain.map(|it| it.unwrap()).collect();
                let key = PrivateKeyDer::from_pem_file(&own.key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Visitor { config: Arc::new(config), host: host.to_owned() }
    }

    /// Asks for these protocols inside.
    pub fn alpn(mut self, protocols: &[&str]) -> Visitor {
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        self
    }

    /// Connects; with TLS 1.3 that ends before the router has looked at our certificate.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        self.connect_on(TcpStream::connect(to).await?).await
    }

    /// The same on a connection that has said nothing yet.
    pub async fn connect_on(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.host.clone()).unwrap();
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }

    /// A connection to say things on.
    pub async fn open(&self, to: SocketAddr) -> Connection {
        Connection::over(self.connect(to).await.unwrap(), to)
    }

    /// The same on a connection that has said nothing yet.
    pub async fn open_on(&self, stream: TcpStream, to: SocketAddr) -> Connection {
        Connection::over(self.connect_on(stream).await.unwrap(), to)
    }

    /// POST to `/mcp` on a connection of its own.
    pub async fn post(&self, to: SocketAddr, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut connection = self.open(to).await;
        connection.request("POST", "/mcp", headers, body).await;
        connection.answer().await
    }

    /// GET of a path on a connection of its own.
    pub async fn get(&self, to: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Reply {
        let mut connection = self.open(to).await;
        connection.request("GET", target, headers, "").await;
        connection.answer().await
    }

    /// What it is told in place of an answer.
    pub async fn refused(&self, to: SocketAddr) -> String {
        let refused = async {
            let mut stream = self.connect(to).await?;
            stream.write_all(request(to, "GET", "/mcp", &[], "").as_bytes()).await?;
            stream.read_to_end(&mut Vec::new()).await
        };
        refused.await.expect_err("no answer").to_string()
    }
}

/// The certificate that the router has shown.
pub fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// The version and the protocol inside that were negotiated.
pub fn negotiated(stream: &TlsStream<TcpStream>) -> (ProtocolVersion, Option<String>) {
    let connection = stream.get_ref().1;
    let alpn = connection.alpn_protocol().map(|it| String::from_utf8_lossy(it).into_owned());
    (connection.protocol_version().unwrap(), alpn)
}

/// Whether a session of before goes on.
pub fn is_resumed(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}
