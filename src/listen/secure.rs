//! TLS before HTTP: a handshake within a time limit, and one word for how it went.
//!
//! A peer that is turned away is told why, in TLS by an alert, in cleartext HTTP by an answer, and
//! what it still sends is taken for a moment: closed on at once, it would see a reset in place of
//! the reason. Does not know: certificates, what is served.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{CertificateError, Error, PeerIncompatible};
use tokio_rustls::server::TlsStream;

use super::detect::{Protocol, Rewound};
use crate::tls::server::Server;

/// The content type of a handshake record, with which every TLS connection begins (RFC 8446
/// section 5.1).
const HANDSHAKE: u8 = 22;

/// How long a peer that is turned away is listened to, and how much of it.
const LINGER: (Duration, u64) = (Duration::from_secs(1), 64 * 1024);

/// Bytes that are encrypted ahead of what a client takes. How it takes them is seen only when there is
/// room again: with more of them, a client that is just fast enough would seem to take nothing.
const UNSENT_MAX: usize = 16 * 1024;

/// For whoever speaks HTTP where TLS is spoken.
const PLAIN_HTTP: &str = concat!(
    "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 175\r\n",
    "connection: close\r\n\r\n",
    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"#,
    r#""TLS is spoken here: use https:// in place of http://","#,
    r#""data":{"origin":"tidegate","reason":"plain_http_to_tls"}}}"#,
    "\n",
);

/// A connection with TLS.
pub type Secured<T> = TlsStream<Rewound<T>>;

/// Why there is no connection. The words are for metrics, the sentences for the log.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It took too long.
    #[error("the client did not finish the handshake in time")]
    Timeout,
    /// HTTP without TLS.
    #[error("the client speaks HTTP without TLS")]
    PlainHttp,
    /// Something else than TLS, or TLS that is broken.
    #[error("the client does not speak TLS: {0}")]
    NotTls(String),
    /// The client left, or its connection broke.
    #[error("the client closed before the end of the handshake")]
    Closed,
    /// It has to show a certificate and shows none.
    #[error("the client shows no certificate (client_ca wants one)")]
    NoCertificate,
    /// Its certificate is of another authority.
    #[error("the client's certificate is of no authority in client_ca")]
    UnknownAuthority,
    /// Its certificate is not valid at this time.
    #[error("the client's certificate is not valid now: {0}")]
    Expired(CertificateError),
    /// Its certificate has none of the names that may connect.
    #[error("the client's certificate has none of the names in client_names")]
    NotAllowed,
    /// Its certificate is of no use for another reason.
    #[error("the client's certificate is of no use: {0}")]
    BadCertificate(CertificateError),
    /// It speaks only older versions of TLS, or only those below `min_version`.
    #[error("the client speaks no version of TLS that is allowed here: {0:?}")]
    NoCommonVersion(PeerIncompatible),
    /// It has no cipher or key exchange in common with us.
    #[error("the client speaks no cipher that is spoken here: {0:?}")]
    NoCommonCipher(PeerIncompatible),
    /// It wants neither of the protocols that are spoken inside.
    #[error("the client wants a protocol that is not spoken here (ALPN)")]
    NoCommonProtocol,
    /// It does not like our certificate.
    #[error("the client broke off: {0}")]
    Refused(Error),
}

impl Failure {
    /// Every word that [`handshake`] counts by.
    pub const WORDS: [&'static str; 14] = [
        OK,
        "timeout",
        "plain_http",
        "not_tls",
        "closed",
        "no_certificate",
        "unknown_ca",
        "expired",
        "not_allowed",
        "bad_certificate",
        "no_common_version",
        "no_common_cipher",
        "no_common_protocol",
        "refused_by_client",
    ];

    /// Its word.
    pub fn word(&self) -> &'static str {
        match self {
            Failure::Timeout => "timeout",
            Failure::PlainHttp => "plain_http",
            Failure::NotTls(_) => "not_tls",
            Failure::Closed => "closed",
            Failure::NoCertificate => "no_certificate",
            Failure::UnknownAuthority => "unknown_ca",
            Failure::Expired(_) => "expired",
            Failure::NotAllowed => "not_allowed",
            Failure::BadCertificate(_) => "bad_certificate",
            Failure::NoCommonVersion(_) => "no_common_version",
            Failure::NoCommonCipher(_) => "no_common_cipher",
            Failure::NoCommonProtocol => "no_common_protocol",
            Failure::Refused(_) => "refused_by_client",
        }
    }

    fn of(error: &io::Error) -> Failure {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        let Some(inner) = inner.cloned() else { return Failure::Closed };
        match inner {
            Error::NoCertificatesPresented => Failure::NoCertificate,
            Error::InvalidCertificate(fault) => Failure::of_certificate(fault),
            Error::PeerIncompatible(why) => Failure::of_hello(why),
            Error::NoApplicationProtocol => Failure::NoCommonProtocol,
            Error::AlertReceived(_) => Failure::Refused(inner),
            _ => Failure::NotTls(inner.to_string()),
        }
    }

    fn of_certificate(fault: CertificateError) -> Failure {
        match fault {
            CertificateError::UnknownIssuer => Failure::UnknownAuthority,
            CertificateError::ApplicationVerificationFailure => Failure::NotAllowed,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Failure::Expired(fault),
            _ => Failure::BadCertificate(fault),
        }
    }

    fn of_hello(why: PeerIncompatible) -> Failure {
        match why {
            PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => Failure::NoCommonVersion(why),
            _ => Failure::NoCommonCipher(why),
        }
    }
}

/// The word for a handshake that went well.
const OK: &str = "ok";

/// Makes the handshake; `count` is told how it went, in one of [`Failure::WORDS`]. Afterwards, the
/// HTTP that was agreed on, if one was.
pub async fn handshake<T: AsyncRead + AsyncWrite + Unpin>(
    stream: T,
    peer: SocketAddr,
    server: &Server,
    deadline: Instant,
    count: impl FnOnce(&'static str),
) -> Option<(Secured<T>, Option<Protocol>)> {
    let shaken = timeout_at(deadline, begin(stream, server)).await;
    let (failure, left) = match shaken.unwrap_or(Err((Failure::Timeout, None))) {
        Ok(stream) => {
            count(OK);
            let agreed = agreed(stream.get_ref().1.alpn_protocol());
            return Some((stream, agreed));
        }
        Err(failed) => failed,
    };
    count(failure.word());
    tracing::debug!(%peer, result = failure.word(), "TLS: {failure}");
    if let Some(left) = left {
        part(left, &failure).await;
    }
    None
}

/// The handshake itself; a failure comes with what is left of the connection.
async fn begin<T: AsyncRead + AsyncWrite + Unpin>(
    mut stream: T,
    server: &Server,
) -> Result<Secured<T>, (Failure, Option<Rewound<T>>)> {
    let first = stream.read_u8().await.map_err(|_| (Failure::Closed, None))?;
    let stream = Rewound::after(first, stream);
    if first.is_ascii_uppercase() {
        // As every method begins, and the preface of HTTP/2.
        return Err((Failure::PlainHttp, Some(stream)));
    }
    if first != HANDSHAKE {
        let why = format!("its first byte is {first:#04x}");
        return Err((Failure::NotTls(why), Some(stream)));
    }
    let accepting = TlsAcceptor::from(server.config())
        .accept_with(stream, |connection| connection.set_buffer_limit(Some(UNSENT_MAX)));
    accepting.into_fallible().await.map_err(|(error, stream)| (Failure::of(&error), Some(stream)))
}

/// The version of HTTP that was negotiated.
fn agreed(alpn: Option<&[u8]>) -> Option<Protocol> {
    match alpn? {
        b"h2" => Some(Protocol::Http2),
        _ => Some(Protocol::Http1),
    }
}

/// Says a last word, and lets it arrive.
async fn part<T: AsyncRead + AsyncWrite + Unpin>(mut stream: Rewound<T>, why: &Failure) {
    let parting = async {
        if matches!(why, Failure::PlainHttp) {
            stream.write_all(PLAIN_HTTP.as_bytes()).await?;
        }
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER.1), &mut tokio::io::sink()).await
    };
    // Whoever has left or goes on talking has had its answer.
    let _ = timeout(LINGER.0, parting).await;
}

#[cfg(test)]
mod tests;
