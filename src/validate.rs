//! Whether a version is fit for traffic: every check, one by one, with its time.
//!
//! `check` says which checks there are and what one can end with, `endpoint` makes them in order,
//! `versions`, `pace` and `refusals` hold what takes more than a line. Tools are called only if the
//! configuration names them, but for one that does not exist. Does not know: who asks, what
//! follows, the router.

pub mod check;

mod endpoint;

mod pace;

mod refusals;

mod versions;

use crate::config::Validation;
use crate::health::Subject;

pub use check::{Check, Kind, Mark};
pub use endpoint::{Found, validate};
pub use versions::Stable;

/// What is to be found out about one endpoint.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Where it is, and what `[health]` expects of it.
    pub subject: &'a Subject,
    /// What `[validation]` does.
    pub rules: &'a Validation,
    /// All checks; else those that take no more than some seconds.
    pub comprehensive: bool,
    /// What its server has to say it is.
    pub version: Option<&'a str>,
    /// It may break clients of the stable version.
    pub allow_breaking: bool,
    /// What it is compared with.
    pub stable: &'a Stable,
}

impl Asked<'_> {
    /// The checks that will be made, in order.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        let comprehensive = self.comprehensive;
        Kind::OF_ENDPOINT.into_iter().filter(move |kind| comprehensive || !kind.takes_long())
    }
}

/// What is told while it is being found out.
#[derive(Debug)]
pub enum Told<'a> {
    /// A check begins.
    Begins(Kind),
    /// How it goes on, for people who wait.
    Progress(&'a str),
    /// A check has ended.
    Done(&'a Check),
}
