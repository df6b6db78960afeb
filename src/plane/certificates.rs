//! Certificates: takes over what has changed in their files, and warns before they end.
//!
//! Whoever renews a certificate writes two files, one after the other, and may write slowly: files
//! are read when they have been the same for two looks. What is of no use is said once and left;
//! what was read before stays in force. Does not know: what is in the files.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::config::Config;
use crate::metrics::Expiry;
use crate::tls::identity::Identity;

use super::{Plane, seconds};

/// Days before its end from which a certificate is warned of: those that are renewed a month before,
/// as is usual, are overdue then.
const WARN_DAYS: i64 = 21;

/// How often.
const WARN_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// What tells one state of a file from another; `None`: there is none.
type Stamp = Option<[i128; 6]>;

/// The files, each with what it was like.
type Stamps = Vec<(PathBuf, Stamp)>;

/// What is known of the files.
#[derive(Debug)]
pub(super) struct Certificates {
    /// As they were when they were last read, or found to be of no use.
    read: Stamps,
    /// As they were at the last look.
    seen: Stamps,
    /// Why those that have changed were not taken over.
    fault: Option<String>,
    warned: Option<Instant>,
}

impl Certificates {
    /// What a configuration was made of that has just been read.
    pub(super) fn of(config: &Config) -> Certificates {
        let read = stamps(config.tls_files());
        Certificates { seen: read.clone(), read, fault: None, warned: None }
    }

    /// What the next configuration will be made of, where that is known already.
    pub(super) fn before_reload(&self) -> Stamps {
        stamps(self.read.iter().map(|(file, _)| file.clone()).collect())
    }

    /// A configuration was taken over. What has changed in a file since `before` may not be in it.
    pub(super) fn reloaded(&mut self, config: &Config, before: &Stamps) {
        *self = Certificates::of(config);
        for (file, stamp) in &mut self.read {
            if let Some((_, earlier)) = before.iter().find(|(known, _)| known == file) {
                *stamp = *earlier;
            }
        }
    }

    /// Whether they are to be read: they have changed, and are the same as at the last look.
    fn look(&mut self, now: Stamps) -> bool {
        let settled = now == self.seen;
        let is_due = settled && now != self.read;
        if is_due {
            self.read.clone_from(&now);
        }
        self.seen = now;
        is_due
    }

    /// Whether it is time for a warning.
    fn warns(&mut self, now: Instant) -> bool {
        let is_due = self.warned.is_none_or(|at| now.duration_since(at) >= WARN_EVERY);
        if is_due {
            self.warned = Some(now);
        }
        is_due
    }
}

/// A certificate in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Who shows it: `listen`, `metrics`, `alerts` or an arm.
    pub used_by: &'static str,
    /// Its names.
    pub names: Vec<String>,
    /// The file that it is in.
    pub file: String,
    /// The last moment at which it is valid.
    pub not_after: SystemTime,
    /// Whole days until then; below zero when it is over.
    pub days_left: i64,
}

impl Standing {
    /// Whether it ends so soon that somebody should have renewed it.
    pub fn is_overdue(&self) -> bool {
        self.days_left < WARN_DAYS
    }
}

impl Plane {
    /// Every certificate in use.
    pub fn certificates(&self) -> Vec<Standing> {
        let (table, now) = (self.table(), SystemTime::now());
        let standing = |(used_by, identity): (&'static str, &Identity)| {
            let facts = identity.facts();
            let file = identity.files().first().map(|file| file.display().to_string());
            Standing {
                used_by,
                names: facts.names.iter().map(ToString::to_string).collect(),
                file: file.unwrap_or_default(),
                not_after: facts.not_after,
                days_left: days(now, facts.not_after),
            }
        };
        table.config.certificates().into_iter().map(standing).collect()
    }

    /// Why certificates that have changed are not in use.
    pub fn certificate_fault(&self) -> Option<String> {
        self.files.borrow().fault.clone()
    }

    /// Looks at the files, and takes over what has changed and settled; to be called every few
    /// seconds.
    pub async fn follow_certificates(&self) {
        let config = Arc::clone(&self.table().config);
        let files = config.tls_files();
        if !files.is_empty() {
            self.look_at(files, config).await;
        }
        self.show_certificates();
    }

    async fn look_at(&self, files: Vec<PathBuf>, config: Arc<Config>) {
        // A disk that hangs is not to hang the control plane.
        let looked = tokio::task::spawn_blocking(move || stamps(files)).await;
        let Ok(looked) = looked else { return };
        if Arc::ptr_eq(&config, &self.table().config) && self.files.borrow_mut().look(looked) {
            self.renew(config).await;
        }
    }

    async fn renew(&self, config: Arc<Config>) {
        let from = Arc::clone(&config);
        let Ok(read) = tokio::task::spawn_blocking(move || from.reread_tls()).await else { return };
        // A reload that came meanwhile has read them itself.
        if !Arc::ptr_eq(&config, &self.table().config) {
            return;
        }
        let mut files = self.files.borrow_mut();
        files.fault = read.as_ref().err().map(ToString::to_string);
        match read {
            Ok(renewed) => {
                if self.control.borrow_mut().renew_tls(&config, renewed) {
                    self.board.sync(&self.table());
                    files.warned = None;
                    for it in self.certificates() {
                        let (names, until) = (it.names.join(", "), time(it.not_after));
                        tracing::info!(
                            used_by = it.used_by,
                            names,
                            until,
                            "certificate read again"
                        );
                    }
                }
            }
            Err(fault) => {
                tracing::error!(%fault, "certificates have changed, but those of before stay in use");
            }
        }
    }

    fn show_certificates(&self) {
        let all = self.certificates();
        let mut files = self.files.borrow_mut();
        if files.warns(Instant::now()) {
            for it in all.iter().filter(|it| it.is_overdue()) {
                let (names, until) = (it.names.join(", "), time(it.not_after));
                let (used_by, file, days_left) = (it.used_by, &it.file, it.days_left);
                tracing::warn!(
                    used_by,
                    names,
                    file,
                    until,
                    days_left,
                    "a certificate ends soon: renew it"
                );
            }
        }
        let expiry = |it: Standing| Expiry {
            used_by: it.used_by,
            name: it.names.into_iter().next().unwrap_or_default(),
            file: it.file,
            not_after: seconds(it.not_after),
        };
        let expiries: Vec<_> = all.into_iter().map(expiry).collect();
        self.measures.borrow().metrics.set_certificates(&expiries, files.fault.is_none());
    }
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

/// Whole days from one moment to another.
fn days(from: SystemTime, to: SystemTime) -> i64 {
    let at = |time| i64::try_from(seconds(time)).unwrap_or(i64::MAX);
    (at(to) - at(from)).div_euclid(24 * 60 * 60)
}

fn stamps(files: Vec<PathBuf>) -> Stamps {
    let stamp = |file: &PathBuf| {
        let it = fs::metadata(file).ok()?;
        let nanos = |whole: i64, rest: i64| i128::from(whole) * 1_000_000_000 + i128::from(rest);
        Some([
            i128::from(it.dev()),
            i128::from(it.ino()),
            i128::from(it.size()),
            nanos(it.mtime(), it.mtime_nsec()),
            // Who may read it changes this alone.
            nanos(it.ctime(), it.ctime_nsec()),
            i128::from(it.mode()),
        ])
    };
    files.into_iter().map(|file| (file.clone(), stamp(&file))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(stamps: [i128; 2]) -> Stamps {
        let stamp = |(at, it): (usize, i128)| (PathBuf::from(format!("{at}")), Some([it; 6]));
        stamps.into_iter().enumerate().map(stamp).collect()
    }

    #[test]
    fn files_are_read_once_when_they_have_settled() {
        let start = files([0, 0]);
        let mut known =
            Certificates { read: start.clone(), seen: start, fault: None, warned: None };
        let looks = [
            ([0, 0], false),
            ([1, 0], false),
            ([1, 1], false),
            ([1, 1], true),
            ([1, 1], false),
            // Written, and put back before it was read.
            ([2, 1], false),
            ([1, 1], false),
            ([1, 1], false),
        ];
        for (at, (stamps, want)) in looks.into_iter().enumerate() {
            assert_eq!(known.look(files(stamps)), want, "look {at}");
        }
    }

    #[test]
    fn warnings_come_once_a_day() {
        let now = Instant::now();
        let mut known =
            Certificates { read: Vec::new(), seen: Vec::new(), fault: None, warned: None };
        for (hours, want) in [(0, true), (1, false), (23, false), (24, true), (25, false)] {
            assert_eq!(known.warns(now + Duration::from_secs(hours * 3600)), want, "{hours} h");
        }
    }

    #[test]
    fn days_are_whole_ones() {
        let at = |hours: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600);
        for (from, to, want) in [(0, 24, 1), (0, 47, 1), (0, 23, 0), (24, 23, -1), (24, 0, -1)] {
            assert_eq!(days(at(from), at(to)), want, "{from} {to}");
        }
    }
}
