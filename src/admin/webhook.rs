//! The receiver of Alertmanager's notifications: a POST with a bearer token.
//!
//! On its own address, since the admin socket is no place for strangers. Alertmanager sends again
//! after a 5xx and never after a 4xx, so that a 4xx is logged: what was in it is lost. Does not
//! know: what a notification means.

use std::rc::Rc;

use http::header::{ALLOW, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use hyper::body::Bytes;

use crate::alerts::alertmanager::{BODY_MAX, BadNotification, Notification, SMALLER};
use crate::plane::Plane;

use super::answers::{Answer, Answers, json};
use super::bearer;
use super::command::MOVING;
use super::wire::Refused;
use super::wire::alerts::NotificationTaken;

/// A refusal, and the header that explains it to machines.
struct Refusal(StatusCode, String, Option<(HeaderName, &'static str)>);

impl Refusal {
    fn new(status: StatusCode, why: impl Into<String>) -> Refusal {
        Refusal(status, why.into(), None)
    }

    fn answer(self) -> Answer {
        let Refusal(status, error, header) = self;
        tracing::warn!(%status, %error, "alerts: a notification was refused");
        let mut answer = json(status, &Refused { error, problems: None });
        if let Some((name, value)) = header {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    }
}

/// What takes notifications.
pub(super) struct Receiver {
    plane: Rc<Plane>,
}

impl Receiver {
    /// Takes them for this router.
    pub(super) fn new(plane: Rc<Plane>) -> Receiver {
        Receiver { plane }
    }

    /// Whether this is a notification of somebody who may send it.
    fn is_known(&self, head: &Parts) -> Result<(), Refusal> {
        if !["/v1/alertmanager", "/"].contains(&head.uri.path()) {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "there is POST /v1/alertmanager"));
        }
        if head.method != Method::POST {
            let why = "notifications come by POST".to_owned();
            return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, why, Some((ALLOW, "POST"))));
        }
        let table = self.plane.table();
        let alerts = table.config.alerts.as_ref();
        if !alerts.is_some_and(|it| bearer::is_shown(&head.headers, &it.token)) {
            let why = "show alerts.token: Authorization: Bearer …".to_owned();
            let realm = (WWW_AUTHENTICATE, "Bearer realm=\"tidegate alerts\"");
            return Err(Refusal(StatusCode::UNAUTHORIZED, why, Some(realm)));
        }
        Ok(())
    }

    fn take(&self, body: &[u8]) -> Result<NotificationTaken, Refusal> {
        if self.plane.is_moving() {
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, MOVING));
        }
        let notification = Notification::read(body).map_err(|error| {
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
        let noted = self.plane.take_notification(notification);
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
}

impl Answers for Receiver {
    fn admit(&self, head: &Parts) -> Result<usize, Box<Answer>> {
        self.is_known(head).map(|()| BODY_MAX).map_err(|refusal| refusal.answer().into())
    }

    fn refuse(&self, status: StatusCode, why: String) -> Answer {
        let is_large = status == StatusCode::PAYLOAD_TOO_LARGE;
        let why = if is_large { format!("{why}: {SMALLER}") } else { why };
        Refusal::new(status, why).answer()
    }

    async fn answer(&self, request: Request<Bytes>) -> Answer {
        match self.take(request.body()) {
            Ok(taken) => json(StatusCode::OK, &taken),
            Err(refusal) => refusal.answer(),
        }
    }
}
