//! The listener for machines that watch: `/metrics`, `/live`, `/ready`.
//!
//! On its own address and on the control plane's thread, so that neither a scrape slows a request
//! nor a flood of requests hides the figures. Does not know: what the figures say.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;

use crate::plane::Plane;

/// Answers one request.
pub async fn answer<B>(plane: &Plane, request: Request<B>) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            plane.collect().await;
            let text = Bytes::from(plane.measures().metrics.render());
            (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        (&Method::GET | &Method::HEAD, "/live") => text(StatusCode::OK, "live\n"),
        (&Method::GET | &Method::HEAD, "/ready") if plane.is_ready() => {
            text(StatusCode::OK, "ready\n")
        }
        (&Method::GET | &Method::HEAD, "/ready") => {
            text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
        (&Method::GET | &Method::HEAD, _) => {
            text(StatusCode::NOT_FOUND, "there are /metrics, /live and /ready\n")
        }
        _ => text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn text(status: StatusCode, body: &'static str) -> (StatusCode, &'static str, Bytes) {
    (status, "text/plain; charset=utf-8", Bytes::from_static(body.as_bytes()))
}
