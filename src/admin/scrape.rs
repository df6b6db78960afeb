//! The listener for machines that watch: `/metrics`, `/live`, `/ready`.
//!
//! On its own address and on the control plane's thread, so that neither a scrape slows a request
//! nor a flood of requests hides the figures. With `metrics.token`, all but `/live` and `/ready`
//! wants to be shown it: those two say one word, and load balancers have no token to show. Does not
//! know: what the figures say.

use std::rc::Rc;

use http::header::WWW_AUTHENTICATE;
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Bytes;

use crate::plane::Plane;

use super::answers::{Answer, Answers, whole};
use super::bearer;

/// Bytes of a body, which nobody here wants.
const BODY_MAX: usize = 1024;

/// What this listener shows.
pub(super) struct Figures {
    plane: Rc<Plane>,
}

impl Figures {
    /// Shows the figures of this router.
    pub(super) fn new(plane: Rc<Plane>) -> Figures {
        Figures { plane }
    }
}

impl Answers for Figures {
    fn admit(&self, head: &Parts) -> Result<usize, Box<Answer>> {
        let table = self.plane.table();
        let token = table.config.metrics.as_ref().and_then(|it| it.token.as_ref());
        let is_open = ["/live", "/ready"].contains(&head.uri.path());
        if is_open || token.is_none_or(|token| bearer::is_shown(&head.headers, token)) {
            return Ok(BODY_MAX);
        }
        let why = "show metrics.token: Authorization: Bearer …".to_owned();
        let mut answer = self.refuse(StatusCode::UNAUTHORIZED, why);
        let realm = HeaderValue::from_static("Bearer realm=\"tidegate metrics\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, realm);
        Err(answer.into())
    }

    fn refuse(&self, status: StatusCode, why: String) -> Answer {
        text(status, why + "\n")
    }

    async fn answer(&self, request: Request<Bytes>) -> Answer {
        let plane = &self.plane;
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/metrics") => {
                plane.collect().await;
                let figures = plane.measures().metrics.render();
                whole(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", figures.into())
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
        }
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    whole(status, "text/plain; charset=utf-8", text.into())
}
