//! Sends one request to the first endpoint that takes it.
//!
//! No hidden retry: a request goes to the next endpoint only when nothing of it reached the one
//! before, or when its method is read-only by protocol and the whole body is at hand. Does not
//! know: how the endpoints were chosen.

use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::TRANSFER_ENCODING;
use http::request::Builder;
use http::{HeaderValue, Method as HttpMethod, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::TrySendError;
use tokio::time::Instant;

use crate::config::Timeouts;
use crate::mcp::Method;
use crate::route::Endpoint;
use crate::route::endpoint::InFlight;
use crate::tls::fault::Fault;

use super::answer::{AnswerBody, Lease};
use super::connect::ConnectError;
use super::pool::{self, Connection, Pool};
use super::request_body::{BodyFault, RequestBody};

/// Why no endpoint answered.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// Nothing was sent to anyone.
    #[error("{0}")]
    Unreachable(ConnectError),
    /// The request was sent, at least in part, and the connection ended without an answer.
    #[error("the server closed the connection without an answer: {}", cause(.0))]
    Lost(hyper::Error),
    /// The same on a kept connection, so soon that the server had most likely been closing it before
    /// the request came.
    #[error("the server closed a kept connection when the request was sent: {0}")]
    Raced(hyper::Error),
    /// What came is no HTTP, or too much of it.
    #[error("the server's answer cannot be read: {0}")]
    Garbage(hyper::Error),
    /// An answer with status 101, though nobody had asked for another protocol.
    #[error("the server changed the protocol unasked")]
    Switched,
    /// The answer's head did not come in time.
    #[error("the server did not answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// The client's body came to nothing.
    #[error(transparent)]
    Body(#[from] BodyFault),
}

impl ForwardError {
    /// Whether the same request may be sent again. Not after a timeout: the server may still be at
    /// it, and another would only be the next to wait for.
    fn may_be_repeated(&self) -> bool {
        !matches!(self, ForwardError::Body(_) | ForwardError::Timeout(_))
    }

    /// Whether it speaks against the endpoint: not what the client did, nor a kept connection that
    /// the server closed in good order.
    pub const fn is_fault(&self) -> bool {
        !matches!(self, ForwardError::Body(_) | ForwardError::Raced(_))
    }

    /// The label.
    pub const fn reason(&self) -> &'static str {
        match self {
            ForwardError::Unreachable(_) => "unreachable",
            ForwardError::Lost(_) => "lost",
            ForwardError::Raced(_) => "raced",
            ForwardError::Garbage(_) => "garbage",
            ForwardError::Switched => "switched",
            ForwardError::Timeout(_) => "timeout",
            ForwardError::Body(_) => "client",
        }
    }
}

/// A kept connection that ends within a round trip after a request was sent on it was being closed
/// already; what takes longer may have been the request's own doing. A round trip is about what it
/// took to connect, and this is for the time until a busy worker looks.
const RACE_ROOM: Duration = Duration::from_millis(5);

/// The label of an attempt that was answered with a 5xx and made elsewhere again.
pub const UNAVAILABLE: &str = "unavailable";

/// What an attempt left behind.
enum Failed {
    /// The body is still whole: nothing was sent.
    Unsent(RequestBody, ForwardError),
    /// It may have been carried out. `reused`: on a connection that had been kept.
    Sent { error: ForwardError, reused: bool },
}

/// Where an attempt takes its connection from.
#[derive(Clone, Copy)]
enum Source {
    Pool,
    New,
}

/// An answer.
pub struct Answered {
    /// Where it came from.
    pub endpoint: Arc<Endpoint>,
    /// Its head, and its body to come.
    pub answer: Response<AnswerBody>,
    /// When the attempt began that was answered.
    pub sent: Instant,
}

/// What one request needs on its way.
pub struct Forward<'a> {
    /// The worker's connections.
    pub pool: &'a Rc<Pool>,
    /// Limits in time.
    pub timeouts: &'a Timeouts,
    /// The longest pause within the answer.
    pub stream_idle: Option<Duration>,
    /// Its method, if it stands in the body and nothing else does: then it decides what may be
    /// tried twice. What only a header says could be a lie.
    pub method: Option<Method>,
}

impl Forward<'_> {
    /// Tries the endpoints in order, the first of which `in_flight` is on; others only while there is
    /// room on them, since the request has waited long enough. `head` writes the request for one of
    /// them, and `failed` is told of each attempt that came to nothing; without an error it was
    /// answered with a 5xx.
    ///
    /// # Errors
    /// The last attempt's, when all have failed.
    pub async fn send(
        &self,
        endpoints: &[Arc<Endpoint>],
        in_flight: InFlight,
        head: impl Fn(&Endpoint) -> Builder,
        failed: impl Fn(&Endpoint, Option<&ForwardError>),
        mut body: RequestBody,
    ) -> Result<Answered, ForwardError> {
        let is_read_only = self.method.is_some_and(Method::is_read_only);
        let is_first_contact = self.method.is_some_and(Method::is_first_contact);
        let mut attempts: VecDeque<_> = endpoints.iter().map(|it| (it, Source::Pool)).collect();
        let mut last = None;
        let mut refused = None;
        let takes_room = in_flight.takes_room();
        let mut entered = Some(in_flight);
        while let Some((endpoint, source)) = attempts.pop_front() {
            if !entered.as_ref().is_some_and(|it| it.is_on(endpoint)) {
                entered =
                    if takes_room { endpoint.enter_if_room() } else { Some(endpoint.enter()) };
                if entered.is_none() {
                    continue;
                }
            }
            let replay = if is_read_only { body.replay() } else { None };
            let sent = Instant::now();
            let attempt = self.attempt(endpoint, source, &mut entered, head(endpoint), body).await;
            if let Err(Failed::Unsent(_, error) | Failed::Sent { error, .. }) = &attempt {
                tracing::debug!(endpoint = %endpoint.url, %error, "attempt failed");
                failed(endpoint, Some(error));
            }
            body = match (attempt, replay) {
                (Ok(answer), Some(replay))
                    if is_first_contact
                        && is_unavailable(answer.status())
                        && !attempts.is_empty() =>
                {
                    failed(endpoint, None);
                    refused = Some(Answered { endpoint: Arc::clone(endpoint), answer, sent });
                    replay
                }
                (Ok(answer), _) => {
                    return Ok(Answered { endpoint: Arc::clone(endpoint), answer, sent });
                }
                (Err(Failed::Unsent(whole, error)), _) => {
                    last = Some(error);
                    whole
                }
                (Err(Failed::Sent { error, reused }), Some(replay)) if error.may_be_repeated() => {
                    if reused {
                        attempts.push_front((endpoint, Source::New));
                    }
                    last = Some(error);
                    replay
                }
                (Err(Failed::Sent { error, .. }), _) => return Err(error),
            };
        }
        match (refused, last) {
            (Some(answer), _) => Ok(answer),
            (None, Some(error)) => {
                body.read_on().await;
                Err(error)
            }
            (None, None) => unreachable!("there is always an endpoint to try"),
        }
    }

    /// One endpoint: on an idle connection if there is one, and once more on a new one if that
    /// turned out to be closed before anything was sent.
    async fn attempt(
        &self,
        endpoint: &Arc<Endpoint>,
        source: Source,
        in_flight: &mut Option<InFlight>,
        head: Builder,
        body: RequestBody,
    ) -> Result<Response<AnswerBody>, Failed> {
        let Ok(mut request) = head.body(body) else {
            unreachable!("every part of the head was valid before");
        };
        announce_body(&mut request);
        let Timeouts { connect, pool_idle, .. } = *self.timeouts;
        let mut connection = match source {
            Source::Pool => self.pool.connection(endpoint, connect, pool_idle).await,
            Source::New => self.pool.open(endpoint, connect).await,
        };
        loop {
            let mut open = match connection {
                Ok(open) => open,
                Err(error) => {
                    let body = request.into_body();
                    return Err(Failed::Unsent(body, ForwardError::Unreachable(error)));
                }
            };
            let watch = request.body().watch();
            let sent = Instant::now();
            let error = match self.exchange(&mut open, request).await {
                Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    return Err(Failed::Sent { error: ForwardError::Switched, reused: false });
                }
                Ok(answer) => return Ok(self.answer(endpoint, open, in_flight.take(), answer)),
                Err(Interrupted::Timeout(limit)) => {
                    return Err(Failed::Sent {
                        error: ForwardError::Timeout(limit),
                        reused: false,
                    });
                }
                Err(Interrupted::Error(error)) => error,
            };
            if let Some(fault) = watch.borrow().fault() {
                return Err(Failed::Sent { error: fault.into(), reused: false });
            }
            let reused = open.reused;
            let (error, unsent) = into_unsent(error);
            // Who answers, whatever it is, has not been closing.
            let raced = reused
                && sent.elapsed() < open.reached_in + RACE_ROOM
                && !matches!(error, ForwardError::Garbage(_));
            if raced {
                self.pool.count_race();
            }
            match (error, unsent) {
                (ForwardError::Lost(error), None) if raced => {
                    return Err(Failed::Sent { error: ForwardError::Raced(error), reused });
                }
                (error, None) => return Err(Failed::Sent { error, reused }),
                (_, Some(unsent)) if reused => request = unsent,
                (error, Some(unsent)) => return Err(Failed::Unsent(unsent.into_body(), error)),
            }
            connection = self.pool.open(endpoint, connect).await;
        }
    }

    async fn exchange(
        &self,
        connection: &mut Connection,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Interrupted> {
        let watch = request.body().watch();
        let sent = connection.sender.try_send_request(request);
        let Some(limit) = self.timeouts.first_byte else {
            return sent.await.map_err(Interrupted::error);
        };
        let mut sent = pin!(sent);
        let mut until = Instant::now() + limit;
        loop {
            if let Ok(answer) = tokio::time::timeout_at(until, sent.as_mut()).await {
                return answer.map_err(Interrupted::error);
            }
            // No server can answer what the client has not said yet.
            match watch.borrow().heard() {
                Some(heard) if heard + limit > until => until = heard + limit,
                _ => return Err(Interrupted::Timeout(limit)),
            }
        }
    }

    fn answer(
        &self,
        endpoint: &Arc<Endpoint>,
        mut connection: Connection,
        in_flight: Option<InFlight>,
        answer: Response<Incoming>,
    ) -> Response<AnswerBody> {
        connection.kept = pool::kept(answer.headers()).or(connection.kept);
        let lease =
            Lease { pool: Rc::clone(self.pool), endpoint: endpoint.id, connection, in_flight };
        answer.map(|body| AnswerBody::new(body, lease, self.stream_idle))
    }
}

/// How an exchange ended before its head.
enum Interrupted {
    Error(Box<TrySendError<Request<RequestBody>>>),
    Timeout(Duration),
}

impl Interrupted {
    fn error(error: TrySendError<Request<RequestBody>>) -> Interrupted {
        Interrupted::Error(Box::new(error))
    }
}

/// What went wrong, and the request if nothing of it was sent.
fn into_unsent(
    mut error: Box<TrySendError<Request<RequestBody>>>,
) -> (ForwardError, Option<Request<RequestBody>>) {
    let unsent = error.take_message();
    let error = error.into_error();
    let told = if error.is_parse() { ForwardError::Garbage } else { ForwardError::Lost };
    (told(error), unsent)
}

/// What broke a connection: of all that TLS can explain, hyper only says that it is broken.
fn cause(error: &hyper::Error) -> String {
    Fault::within(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// Of a GET or HEAD the library sends no body but one whose framing is told.
fn announce_body(request: &mut Request<RequestBody>) {
    let is_bare = matches!(*request.method(), HttpMethod::GET | HttpMethod::HEAD);
    if is_bare && request.body().size_hint().exact().is_none() {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Whether a server says that it cannot work now; for first contact another may.
fn is_unavailable(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_do_speaks_against_nobody() {
        assert!(!ForwardError::Body(BodyFault::Malformed).is_fault());
        assert!(ForwardError::Timeout(Duration::from_secs(1)).is_fault());
        assert!(ForwardError::Switched.is_fault());
    }
}
