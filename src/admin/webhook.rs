//! The receiver of Alertmanager's notifications: a POST with a bearer token.
//!
//! On its own address, since the admin socket is no place for strangers. Alertmanager sends again
//! after a 5xx and never after a 4xx, so that a 4xx is logged: what was in it is lost. Does not
//! know: what a notification means.

use std::time::Duration;

use aws_lc_rs::hmac;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::body::Incoming;
use serde::Serialize;

use crate::alerts::alertmanager::{BODY_MAX, BadNotification, Notification, SMALLER};
use crate::config::Secret;
use crate::plane::Plane;

use super::wire::Refused;
use super::wire::alerts::NotificationTaken;

/// How long a body may take.
const BODY_TIME_MAX: Duration = Duration::from_secs(5);

/// Bytes of a body that is too large which are read nonetheless: a sender that is cut off while it
/// writes does not see the answer.
const DISCARD_MAX: usize = 16 * BODY_MAX;

/// The token that callers have to show, as its HMAC under a key that nobody knows: two hashes tell
/// by the time that it takes to compare them nothing about the tokens.
pub struct Token {
    key: hmac::Key,
    expected: hmac::Tag,
}

impl Token {
    /// The token of the configuration.
    pub fn new(secret: &Secret) -> Token {
        let random: [u8; 32] = rand::random();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random);
        let expected = hmac::sign(&key, secret.expose());
        Token { key, expected }
    }

    /// Whether a request shows it: RFC 6750, section 2.1.
    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let mut all = headers.get_all(AUTHORIZATION).iter();
        let (Some(only), None) = (all.next(), all.next()) else { return false };
        let bytes = only.as_bytes();
        let Some(space) = bytes.iter().position(|byte| *byte == b' ') else { return false };
        let (scheme, token) = (&bytes[..space], bytes[space..].trim_ascii());
        let is_ours = hmac::verify(&self.key, token, self.expected.as_ref()).is_ok();
        scheme.eq_ignore_ascii_case(b"bearer") && is_ours
    }
}

/// A refusal, and the header that explains it to machines.
struct Refusal(StatusCode, String, Option<(HeaderName, &'static str)>);

impl Refusal {
    fn new(status: StatusCode, why: impl Into<String>) -> Refusal {
        Refusal(status, why.into(), None)
    }
}

/// Answers one request.
pub async fn answer(
    plane: &Plane,
    token: &Token,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    match take(plane, token, request).await {
        Ok(taken) => response(StatusCode::OK, &taken),
        Err(Refusal(status, error, header)) => {
            tracing::warn!(%status, %error, "alerts: a notification was refused");
            let mut response = response(status, &Refused { error, problems: None });
            if let Some((name, value)) = header {
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            response
        }
    }
}

fn response(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let bytes = serde_json::to_vec(body).expect("our own types are JSON");
    let mut response = Response::new(Full::new(Bytes::from(bytes)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn take(
    plane: &Plane,
    token: &Token,
    request: Request<Incoming>,
) -> Result<NotificationTaken, Refusal> {
    if !["/v1/alertmanager", "/"].contains(&request.uri().path()) {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "there is POST /v1/alertmanager"));
    }
    if request.method() != Method::POST {
        let why = "notifications come by POST".to_owned();
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, why, Some((ALLOW, "POST"))));
    }
    if !token.is_shown(request.headers()) {
        let why = "show alerts.token: Authorization: Bearer …".to_owned();
        let realm = (WWW_AUTHENTICATE, "Bearer realm=\"tidegate alerts\"");
        return Err(Refusal(StatusCode::UNAUTHORIZED, why, Some(realm)));
    }
    let body =
        tokio::time::timeout(BODY_TIME_MAX, read(request.into_body())).await.map_err(|_| {
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")
        })??;
    let notification = Notification::read(&body).map_err(|error| {
        let status = match &error {
            BadNotification::Shape(_) => StatusCode::BAD_REQUEST,
            BadNotification::TooMany(_) => StatusCode::PAYLOAD_TOO_LARGE,
        };
        Refusal::new(status, error.to_string())
    })?;
    if notification.truncated > 0 {
        let missing = notification.truncated;
        tracing::warn!(missing, "alerts: Alertmanager has left some out (max_alerts)");
    }
    let noted = plane.take_notification(notification);
    if !noted.recorded {
        // It holds; that it is sent again until the disk takes it does no harm.
        let why = "taken, but the disk did not record it: send it again";
        return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, why));
    }
    let taken = noted.outcome;
    Ok(NotificationTaken {
        raised: taken.raised.len(),
        again: taken.again.len(),
        cleared: taken.cleared.len(),
        latched: taken.latched.len(),
        refused: taken.refused,
    })
}

/// The body, if it is not too large.
async fn read(mut body: Incoming) -> Result<Vec<u8>, Refusal> {
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Refusal::new(StatusCode::BAD_REQUEST, format!("cannot read the body: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= BODY_MAX {
            kept.extend_from_slice(&data);
        } else if length > DISCARD_MAX {
            break;
        }
    }
    if length > BODY_MAX {
        let why = format!("a notification of more than {} KiB: {SMALLER}", BODY_MAX / 1024);
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why));
    }
    Ok(kept)
}
