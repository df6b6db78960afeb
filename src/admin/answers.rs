//! What stands behind a listener of the control plane.
//!
//! A request is admitted by its head, before a byte of its body is taken, and answered when it is
//! whole. Does not know: connections.

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde::Serialize;

/// A whole answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// What answers the requests of a listener.
pub(super) trait Answers {
    /// How many bytes of body this request may bring.
    ///
    /// # Errors
    /// When the head alone is reason to refuse it.
    fn admit(&self, head: &Parts) -> Result<usize, Box<Answer>>;

    /// The answer to a request that is not whole, or not within its bounds.
    fn refuse(&self, status: StatusCode, why: String) -> Answer;

    /// The answer to one that was admitted.
    async fn answer(&self, request: Request<Bytes>) -> Answer;
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(body).expect("our own types are JSON");
    whole(status, "application/json", bytes.into())
}

/// An answer of any kind.
pub(super) fn whole(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
