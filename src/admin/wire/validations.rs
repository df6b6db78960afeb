//! What is said about validations.
//!
//! Does not know: sockets, how a check is made.

use serde::{Deserialize, Serialize};

use super::ServerName;
use crate::names::Arm;
use crate::validate::{Check, Mark};

/// Bytes of JSON that the journal keeps of one validation.
pub const VALIDATION_MAX: usize = 32 * 1024;

/// `POST /v1/validations`: how the validation of an arm ended; also the detail of the event
/// `validation` in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// The arm.
    pub arm: Arm,
    /// Whether every check was made that there is.
    pub comprehensive: bool,
    /// Whether nothing failed and nothing is unknown.
    pub fit: bool,
    /// Checks that ended well.
    pub passed: usize,
    /// Checks that did not.
    pub failed: usize,
    /// Checks that there was nothing for.
    pub skipped: usize,
    /// Checks of which it could not be told.
    pub unknown: usize,
    /// Milliseconds for all of it.
    pub took_ms: f64,
    /// What its servers call themselves and speak, by endpoint.
    pub versions: Vec<Version>,
    /// One by one.
    pub checks: Vec<Check>,
    /// Checks that the bound on its size has left out; failed ones are the last to go.
    #[serde(default)]
    pub left_out: usize,
}

/// What an endpoint's server says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Its address.
    pub endpoint: String,
    /// What it calls itself.
    pub server: Option<ServerName>,
    /// The protocol version agreed on.
    pub protocol_version: Option<String>,
    /// `modern`, `legacy`, `sse`.
    pub eras: Vec<String>,
}

/// How many checks ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Well.
    pub passed: usize,
    /// Not well.
    pub failed: usize,
    /// There was nothing to check.
    pub skipped: usize,
    /// It could not be told.
    pub unknown: usize,
}

impl Counts {
    /// Of these.
    pub fn of(checks: &[Check]) -> Counts {
        let mut counts = Counts::default();
        for check in checks {
            *match check.result {
                Mark::Ok => &mut counts.passed,
                Mark::Failed => &mut counts.failed,
                Mark::Skipped => &mut counts.skipped,
                Mark::Unknown => &mut counts.unknown,
            } += 1;
        }
        counts
    }

    /// Whether nothing failed and nothing is unknown.
    pub const fn is_fit(self) -> bool {
        self.failed == 0 && self.unknown == 0
    }
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recorded {
    /// When, as in the journal: RFC 3339.
    pub at: String,
    /// Lines that the disk has not taken yet, this one among them; 0 is well.
    pub pending: usize,
}

impl Validation {
    /// Puts the checks of an arm together.
    pub fn of(
        arm: Arm,
        comprehensive: bool,
        took_ms: f64,
        versions: Vec<Version>,
        checks: Vec<Check>,
    ) -> Validation {
        let counts = Counts::of(&checks);
        Validation {
            arm,
            comprehensive,
            fit: counts.is_fit(),
            passed: counts.passed,
            failed: counts.failed,
            skipped: counts.skipped,
            unknown: counts.unknown,
            took_ms,
            versions,
            checks,
            left_out: 0,
        }
    }

    /// The same within [`VALIDATION_MAX`]: first details of what went well go, then whole checks,
    /// those that failed at last.
    #[must_use]
    pub fn bounded(mut self) -> Validation {
        let size = |it: &Validation| serde_json::to_vec(it).map_or(0, |json| json.len());
        if size(&self) <= VALIDATION_MAX {
            return self;
        }
        for check in self.checks.iter_mut().filter(|it| it.result != Mark::Failed) {
            check.detail = String::new();
        }
        while size(&self) > VALIDATION_MAX {
            // A half at a time, so that even a great many take few looks.
            if self.checks.len() > 1 {
                self.checks.sort_by_key(|check| check.result != Mark::Failed);
                let kept = self.checks.len() / 2;
                self.left_out += self.checks.len() - kept;
                self.checks.truncate(kept);
            } else {
                let kept = self.versions.len() / 2;
                self.versions.truncate(kept);
                if kept == 0 {
                    self.left_out += self.checks.len();
                    self.checks.clear();
                    return self;
                }
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::Kind;
    use crate::validate::check::Outcome;

    #[test]
    fn what_failed_is_kept_longest() {
        let check = |outcome: Outcome| Check::new(Kind::Calls, std::time::Duration::ZERO, outcome);
        let why = "x".repeat(400);
        let of = |ok: usize, failed: usize| {
            let ok = std::iter::repeat_n(check(Outcome::ok(why.clone())), ok);
            let failed = std::iter::repeat_n(check(Outcome::failed(why.clone())), failed);
            Validation::of(Arm::Primary, true, 1.0, Vec::new(), ok.chain(failed).collect())
        };
        assert_eq!(of(20, 1).bounded(), of(20, 1));
        for (ok, failed) in [(100, 1), (1000, 3), (0, 1000), (100_000, 1)] {
            let whole = of(ok, failed);
            let found = whole.clone().bounded();
            let size = serde_json::to_vec(&found).unwrap().len();
            assert!(size <= VALIDATION_MAX, "{size}");
            assert_eq!(found.checks.len() + found.left_out, ok + failed);
            assert_eq!((found.passed, found.failed), (whole.passed, whole.failed));
            let kept = found.checks.iter().filter(|it| it.result == Mark::Failed).count();
            assert!(kept == failed || kept > 10, "{kept}");
            assert!(kept == 0 || found.checks.iter().any(|it| it.detail == why));
        }
    }
}
