//! The `[dns]` section: names that stand for as many endpoints as they have addresses.
//!
//! Does not know: how a name is looked up.

use std::time::Duration;

use super::file::Section;

/// How the addresses of `dns+` endpoints are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dns {
    /// From one look-up of a name to the next. Default 5 s.
    pub interval: Duration,
    /// How long sessions are kept on an address that its name has no more. Default 10 min.
    pub keep: Duration,
}

pub(super) fn dns(mut section: Section<'_>) -> Dns {
    Dns {
        interval: section.duration("interval", Duration::from_secs(5)),
        keep: section.duration("keep", Duration::from_secs(600)),
    }
}
