//! One request to a webhook, and what its answer means.
//!
//! A connection for each, so that nothing depends on the one before. Nothing is followed anywhere:
//! the operator has named the address. Does not know: what is sent, whether it is tried again.

use std::io;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::config::Webhook;
use crate::mcp::shown::shown;
use crate::tls::fault::Fault as TlsFault;
use crate::tls::stream::Stream;

/// Bytes of an answer's body that are read; and of its head.
const ANSWER_MAX: usize = 64 * 1024;
/// Characters of it that are shown.
const SHOWN_MAX: usize = 200;
/// Characters from which on a part of an address may be a secret; shorter ones are common words.
const SECRET_MIN: usize = 6;
/// As long as a webhook may keep us waiting by `Retry-After`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5 * 60);

/// Why a message has not arrived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nobody is there.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// Somebody is, but there is no TLS with them; the text says what to do.
    #[error("{0}")]
    Tls(String),
    /// Not in time.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// The connection broke, or what came is no HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// It was refused.
    #[error("HTTP {}{}", .status.as_u16(), if .said.is_empty() { String::new() } else { format!(": {said}") })]
    Status {
        /// As answered.
        status: StatusCode,
        /// What the answer says, on one line.
        said: String,
        /// How long it asks us to wait; at most 5 minutes.
        retry_after: Option<Duration>,
    },
}

impl Fault {
    /// Whether the same message would be refused again.
    pub fn is_final(&self) -> bool {
        let Fault::Status { status, .. } = self else { return false };
        let passes = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        status.is_client_error() && !passes.contains(status)
    }

    /// How long the webhook asks us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Fault::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The status of the answer, if there was one.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Fault::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Fault::Unreachable(_) => {
                "see whether the receiver runs, and whether host and port of its `url` are right"
            }
            Fault::Tls(_) => "put its certificate, or the keys of the webhook, right",
            Fault::Timeout(_) => "look at the receiver's log, or give it more `timeout`",
            Fault::Broken(_) => {
                "see whether `url` should be `http://` or `https://`, and the receiver's log"
            }
            Fault::Status { status, .. } => match status.as_u16() {
                300..=399 => "name in `url` the address to which it redirects: nothing is followed",
                400 | 415 | 422 => "see whether its `format` is what this receiver understands",
                401 | 403 => "check its `token`, or the secret in the path of its `url`",
                404 | 405 | 410 => "check the path of its `url`",
                408 | 429 => "wait: the receiver has too much to do",
                _ => "look at the receiver's log",
            },
        }
    }
}

/// Ends the connection when it is dropped.
struct Carrier(AbortHandle);

impl Drop for Carrier {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends one body, within this time. Needs a `LocalSet`.
///
/// # Errors
/// When no answer comes, or none of the 200s.
pub(super) async fn post(
    webhook: &Webhook,
    body: Bytes,
    limit: Duration,
) -> Result<StatusCode, Fault> {
    let exchange = exchange(webhook, body);
    tokio::time::timeout(limit, exchange).await.unwrap_or(Err(Fault::Timeout(limit)))
}

async fn exchange(webhook: &Webhook, body: Bytes) -> Result<StatusCode, Fault> {
    let unreachable = |error: io::Error| Fault::Unreachable(error.to_string());
    let tls = |fault: &TlsFault| Fault::Tls(fault.to_string());
    let broken = |error: hyper::Error| match TlsFault::within(&error) {
        Some(fault) => tls(fault),
        None => Fault::Broken(shown(&error.to_string(), SHOWN_MAX)),
    };
    let uri = &webhook.url;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_secure = uri.scheme() == Some(&Scheme::HTTPS);
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
    let stream = if is_secure {
        webhook.tls.handshake(host, stream).await.map_err(|fault| tls(&fault))?.0
    } else {
        Stream::plain(stream)
    };
    let mut builder = http1::Builder::new();
    let opened = builder.max_buf_size(ANSWER_MAX).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(broken)?;
    let carrier = tokio::task::spawn_local(async move {
        // What went wrong is told to the request that was on it.
        let _ = connection.await;
    });
    let _carrier = Carrier(carrier.abort_handle());
    let (head, body) =
        sender.send_request(request(webhook, body)).await.map_err(broken)?.into_parts();
    if head.status.is_success() {
        return Ok(head.status);
    }
    // What it says besides is worth having, but not worth more than the status.
    let said = Limited::new(body, ANSWER_MAX).collect().await;
    let said = said.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let line = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
    Err(Fault::Status {
        status: head.status,
        said: shown(&without_secrets(webhook, &line), SHOWN_MAX),
        retry_after: retry_after(&head.headers),
    })
}

fn request(webhook: &Webhook, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    let target = webhook.url.path_and_query().map_or("/", |it| it.as_str());
    *request.uri_mut() = Uri::try_from(target).unwrap_or_default();
    let agent = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let host = webhook.url.authority().and_then(|it| HeaderValue::from_str(it.as_str()).ok());
    headers.extend(host.map(|host| (HOST, host)));
    headers.extend(webhook.token.clone().map(|token| (AUTHORIZATION, token)));
    request
}

/// What a receiver says, which may repeat the address that was asked for ("Cannot POST /…") or the
/// token: both are secrets, and this goes into logs and the journal.
fn without_secrets(webhook: &Webhook, said: &str) -> String {
    let target = webhook.url.path_and_query().map_or("/", |it| it.as_str());
    let parts = target.split(['/', '?', '&', '=']);
    let token = webhook.token.as_ref().and_then(|it| it.to_str().ok());
    let token = token.and_then(|it| it.rsplit(' ').next());
    let mut secrets: Vec<&str> = parts.chain(token).filter(|it| it.len() >= SECRET_MIN).collect();
    secrets.extend(Some(target).filter(|it| it.len() > 1));
    // One may be a part of another.
    secrets.sort_unstable_by_key(|it| std::cmp::Reverse(it.len()));
    secrets.iter().fold(said.to_owned(), |said, secret| said.replace(secret, "…"))
}

/// Seconds; a date is not understood.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_again() {
        let fault = |status| Fault::Status {
            status: StatusCode::from_u16(status).unwrap(),
            said: String::new(),
            retry_after: None,
        };
        for (status, is_final) in [
            (301, false),
            (400, true),
            (401, true),
            (404, true),
            (408, false),
            (410, true),
            (429, false),
            (500, false),
            (503, false),
        ] {
            assert_eq!(fault(status).is_final(), is_final, "{status}");
        }
        assert!(!Fault::Timeout(Duration::from_secs(1)).is_final());
        assert!(!Fault::Unreachable("x".into()).is_final());
    }

    #[test]
    fn it_is_waited_as_long_as_asked_but_not_for_ever() {
        for (value, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("86400", Some(300)),
            ("-1", None),
            ("Fri, 06 Feb 2026 13:08:45 GMT", None),
            ("99999999999999999999", None),
        ] {
            let headers: HeaderMap =
                [(RETRY_AFTER, HeaderValue::from_static(value))].into_iter().collect();
            assert_eq!(retry_after(&headers), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
