//! Every verb of the admin sockets: what it needs of its caller, and how much it may bring.
//!
//! A request for anything that does not stand here never reaches the code behind it, so nobody can
//! forget to say who may use a new verb. Does not know: what the verbs do.

use http::{Method, StatusCode};

/// What a caller may do, or a verb needs. The greater one includes the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// See what there is.
    Read,
    /// Change it, write it down, or have messages sent.
    Change,
}

/// Bytes of a request's body.
const BODY_MAX: usize = 64 * 1024;

/// Bytes of a state that is restored: 32 alerts with their reasons alone may be 64 KiB.
const STATE_MAX: usize = 256 * 1024;

/// One verb.
#[derive(Debug)]
pub struct Verb {
    /// Its method.
    pub method: Method,
    /// Its path; a segment in capitals stands for any.
    pub path: &'static str,
    /// What it needs.
    pub level: Level,
    /// Bytes that its body may have.
    pub body_max: usize,
}

const fn read(method: Method, path: &'static str) -> Verb {
    Verb { method, path, level: Level::Read, body_max: BODY_MAX }
}

const fn change(method: Method, path: &'static str) -> Verb {
    Verb { method, path, level: Level::Change, body_max: BODY_MAX }
}

/// All of them.
pub const VERBS: &[Verb] = &[
    read(Method::GET, "/v1/status"),
    read(Method::GET, "/v1/ready"),
    read(Method::GET, "/v1/diff"),
    read(Method::GET, "/v1/metrics"),
    change(Method::PUT, "/v1/split"),
    change(Method::POST, "/v1/reload"),
    // A question that has a body, since a session id belongs in no path.
    read(Method::POST, "/v1/explain"),
    read(Method::GET, "/v1/alerts"),
    change(Method::POST, "/v1/alerts"),
    change(Method::POST, "/v1/alerts/clear"),
    read(Method::GET, "/v1/rollout"),
    read(Method::GET, "/v1/rollout/confirmation"),
    change(Method::POST, "/v1/rollout/start"),
    change(Method::POST, "/v1/rollout/pause"),
    change(Method::POST, "/v1/rollout/resume"),
    change(Method::POST, "/v1/rollout/promote"),
    change(Method::POST, "/v1/rollout/confirm"),
    change(Method::POST, "/v1/rollout/abort"),
    change(Method::POST, "/v1/rollout/undo"),
    read(Method::GET, "/v1/history"),
    read(Method::GET, "/v1/history/ID"),
    read(Method::GET, "/v1/events"),
    read(Method::GET, "/v1/drain"),
    change(Method::POST, "/v1/drain"),
    change(Method::POST, "/v1/drain/undo"),
    // Weights, alerts, versions and paths, and no secret.
    read(Method::GET, "/v1/state"),
    Verb { method: Method::POST, path: "/v1/state", level: Level::Change, body_max: STATE_MAX },
    read(Method::GET, "/v1/state/backups"),
    change(Method::POST, "/v1/state/backups"),
    // The text of the configuration file is in it, with whatever secret somebody has written there.
    change(Method::GET, "/v1/state/backups/ID"),
    read(Method::GET, "/v1/deploys"),
    change(Method::POST, "/v1/deploys"),
    // It changes no traffic, but stands in the journal as what somebody has found out.
    change(Method::POST, "/v1/validations"),
    read(Method::GET, "/v1/baselines"),
    change(Method::POST, "/v1/baselines"),
    read(Method::GET, "/v1/baselines/compare"),
    read(Method::GET, "/v1/baselines/NAME"),
    change(Method::DELETE, "/v1/baselines/NAME"),
    read(Method::GET, "/v1/reports"),
    read(Method::GET, "/v1/reports/ID"),
    read(Method::GET, "/v1/notify"),
    change(Method::POST, "/v1/upgrade"),
    // Others are sent messages.
    change(Method::POST, "/v1/notify/test"),
];

/// The verb that a request asks for.
///
/// # Errors
/// When there is none: with the status that says so, and what there is instead.
pub fn find(method: &Method, path: &str) -> Result<&'static Verb, (StatusCode, String)> {
    let here = || VERBS.iter().filter(|verb| verb.is_at(path));
    if let Some(verb) = here().find(|verb| verb.method == *method) {
        return Ok(verb);
    }
    let list = |verbs: &mut dyn Iterator<Item = &Verb>| {
        verbs.map(|verb| format!("{} {}", verb.method, verb.path)).collect::<Vec<_>>().join(", ")
    };
    if here().next().is_some() {
        let why = format!("this path has another method: {}", list(&mut here()));
        return Err((StatusCode::METHOD_NOT_ALLOWED, why));
    }
    Err((StatusCode::NOT_FOUND, format!("there are {}", list(&mut VERBS.iter()))))
}

/// Whether a request only asks, and changes nothing.
pub fn is_read(method: &Method, target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    find(method, path).is_ok_and(|verb| verb.level == Level::Read)
}

impl Verb {
    fn is_at(&self, path: &str) -> bool {
        let any = |own: &str| own.bytes().all(|byte| byte.is_ascii_uppercase());
        let (mut own, mut asked) = (self.path.split('/').skip(1), path.split('/').skip(1));
        path.starts_with('/')
            && own.by_ref().all(|own| {
                asked.next().is_some_and(|it| if any(own) { !it.is_empty() } else { own == it })
            })
            && asked.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_asked_for_by_its_method() {
        let level = |method, path| find(&method, path).map(|verb| verb.level);
        assert_eq!(level(Method::GET, "/v1/history/r7"), Ok(Level::Read));
        assert_eq!(level(Method::DELETE, "/v1/baselines/compare"), Ok(Level::Change));
        assert_eq!(level(Method::POST, "/v1/explain"), Ok(Level::Read));
        let (status, why) = level(Method::DELETE, "/v1/split").unwrap_err();
        assert_eq!(
            (status, why.as_str()),
            (StatusCode::METHOD_NOT_ALLOWED, "this path has another method: PUT /v1/split")
        );
        for path in ["/v1/rollout/", "/v1/history/a/b", "/v1/history/", "/v1", "/", "*", "x"] {
            let (status, why) = level(Method::GET, path).unwrap_err();
            assert!(status == StatusCode::NOT_FOUND && why.contains("GET /v1/status"), "{path}");
        }
    }

    #[test]
    fn whoever_reads_only_gets() {
        let odd = ["/v1/explain", "/v1/state/backups/ID"];
        for verb in VERBS.iter().filter(|verb| !odd.contains(&verb.path)) {
            assert_eq!(verb.level == Level::Read, verb.method == Method::GET, "{verb:?}");
        }
    }
}
