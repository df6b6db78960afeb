//! Does not test certificates: that is done through the real program.

use tokio::io::{DuplexStream, duplex};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;
use crate::tls::Version;
use crate::tls::identity::Identity;
use crate::tls::server::Wanted;

/// What a listener counts and answers when a client sends this and then waits, and how long the
/// listener takes.
async fn told(sent: &[u8], leaves: bool) -> (&'static str, String, Duration) {
    let (mut client, end) = duplex(4096);
    let mut said = String::new();
    let counting = std::cell::Cell::new("");
    let start = Instant::now();
    let deadline = start + Duration::from_secs(10);
    let (server, _) = server();
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    let listening = handshake(end, peer, &server, deadline, |word| counting.set(word));
    let talking = async {
        client.write_all(sent).await.unwrap();
        if leaves {
            client.shutdown().await.unwrap();
        }
        let _ = client.read_to_string(&mut said).await;
    };
    let (secured, ()) = tokio::join!(listening, talking);
    assert!(secured.is_none_or(|(_, _): (Secured<DuplexStream>, _)| false));
    (counting.get(), said, start.elapsed())
}

/// A listener, and its certificate.
fn server() -> (Server, CertificateDer<'static>) {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let files = [dir.path().join("chain"), dir.path().join("key")];
    std::fs::write(&files[0], made.cert.pem()).unwrap();
    std::fs::write(&files[1], made.signing_key.serialize_pem()).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&files[1], private).unwrap();
    let identities = vec![Identity::read(&files[0], &files[1]).unwrap()];
    let least = Version::default();
    let server = Server::new(Wanted { identities, clients: None, least, alpn: &[b"h2"] }).unwrap();
    (server, made.cert.der().clone())
}

#[tokio::test(start_paused = true)]
async fn who_speaks_no_tls_is_sent_away_in_time() {
    let half_a_hello = &[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let a_record_of_nothing = &[22, 3, 1, 0, 4, 9, 9, 9, 9];
    for (sent, leaves, want, within) in [
        (b"".as_slice(), false, "timeout", 10),
        (b"", true, "closed", 0),
        (half_a_hello, false, "timeout", 10),
        (half_a_hello, true, "closed", 0),
        (b"GET / HTTP/1.1\r\n\r\n", false, "plain_http", 1),
        (b"PRI * HTTP/2.0\r\n\r\n", true, "plain_http", 0),
        (&[0x80, 0x2e, 1, 0, 2], false, "not_tls", 1),
        (b"\x00\x01", true, "not_tls", 0),
        (a_record_of_nothing, true, "not_tls", 0),
    ] {
        let (word, _, took) = told(sent, leaves).await;
        assert_eq!(word, want, "{sent:?}");
        assert!(Failure::WORDS.contains(&word), "{word}");
        assert_eq!(took.as_secs(), within, "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn plain_http_is_answered() {
    let (_, said, _) = told(b"POST /mcp HTTP/1.1\r\nhost: a\r\n\r\n", true).await;
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head} {}", body.len());
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"]["data"]["reason"], "plain_http_to_tls");
}

#[tokio::test(start_paused = true)]
async fn little_is_kept_of_what_a_client_does_not_take() {
    let (client, end) = duplex(1024);
    let (server, certificate) = server();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    let deadline = Instant::now() + Duration::from_secs(10);
    let listening = handshake(end, peer, &server, deadline, |_| ());
    let connecting = connector.connect(ServerName::try_from("a.example").unwrap(), client);
    let (secured, client) = tokio::join!(listening, connecting);
    let ((mut stream, _), _client) = (secured.unwrap(), client.unwrap());
    let mut kept = 0;
    while let Ok(more) = timeout(Duration::from_secs(1), stream.write(&[0; 1000])).await {
        kept += more.unwrap();
    }
    assert!((8 * 1024..32 * 1024).contains(&kept), "{kept}");
}
