//! The usual figures of the stable arm, kept over time: once a day, before and after each rollout,
//! and whenever a person asks.
//!
//! They come from the last hour, in slots of five minutes: at most 7 MiB (see `judge::window`). What
//! the candidate did before its rollout began, or an arm before a deploy, is forgotten: that may have
//! been another version. Does not know: files (`records::baselines` does), how figures are compared.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::judge::window::Window;
use crate::names::{Arm, PerArm};
use crate::records::baselines::{self, Baseline, KeepError, Measured, Name};
use crate::records::figures::{Figures, Kind};

use super::Plane;
use super::compare::{Comparison, compare};
use super::figures::{figures, kind};
use super::progress::News;

/// The most that a baseline is of.
pub const SPAN_MAX: Duration = Duration::from_secs(3600);
/// Length of a slot.
const SLOT: Duration = Duration::from_secs(300);

/// What is kept in memory of baselines.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// The one from before the rollout that is running, or the last one.
    before: Option<Rc<Baseline>>,
    /// When what an arm had done was forgotten.
    since: PerArm<Option<Instant>>,
    /// The last day of which one was kept, such as `2026-11-23`.
    day: Option<String>,
}

impl Keeping {
    /// What a process finds at its start, with this rollout running.
    pub(super) fn find(state_dir: &std::path::Path, running: Option<&str>) -> Keeping {
        let before = running.and_then(|id| {
            baselines::read(state_dir, &Name::before(id)).unwrap_or_else(|why| {
                tracing::warn!("{why}");
                None
            })
        });
        Keeping { before: before.map(Rc::new), ..Keeping::default() }
    }
}

/// An empty window of the last hour.
pub(super) fn hour(now: Instant) -> Window {
    Window::of(now, SLOT, (SPAN_MAX.as_secs() / SLOT.as_secs()) as usize)
}

impl Plane {
    /// What an arm has done in this span of time up to now, at most an hour, in whole slots of five
    /// minutes.
    pub fn lately(&self, arm: Arm, span: Duration) -> Vec<Measured> {
        let (measures, tools) = (self.measures.borrow(), &self.table().tools);
        let counts = measures.hour.last(Instant::now(), span);
        let mut kinds: BTreeMap<Kind, Figures> = BTreeMap::new();
        for (work, cell) in counts.cells.iter().filter(|(work, _)| work.arm == arm) {
            kinds.entry(kind(work, tools)).or_default().merge(&figures(cell));
        }
        kinds.into_iter().map(|(kind, figures)| Measured { kind, figures }).collect()
    }

    /// A baseline of an arm's work in this span of time up to now; `None` if there was none.
    pub fn baseline(&self, name: Name, arm: Arm, span: Duration) -> Option<Baseline> {
        let kinds = self.lately(arm, span);
        let span = self.covered(Instant::now(), arm, span).as_secs();
        let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let baseline =
            Baseline::new(name, at, arm, self.server_of(&self.table(), arm), span, kinds);
        (baseline.exchanges() > 0).then_some(baseline)
    }

    /// Compares what an arm has done in the last hour with a baseline.
    pub fn compare_with(&self, baseline: &Baseline, arm: Arm) -> Comparison {
        let asked = self.table().config.validation.performance;
        compare(baseline, arm, &self.lately(arm, SPAN_MAX), asked)
    }

    /// The arm whose work is of interest: the candidate, if it has done any in the last hour.
    pub fn of_interest(&self) -> Arm {
        let stable = self.table().stable;
        let has_worked = !self.lately(stable.other(), SPAN_MAX).is_empty();
        if has_worked { stable.other() } else { stable }
    }

    /// The baseline from before this rollout.
    pub(super) fn before(&self, rollout: &str) -> Option<Rc<Baseline>> {
        let before = self.keeping.borrow().before.clone();
        before.filter(|it| it.name == Name::before(rollout))
    }

    /// Keeps what has become due.
    pub(super) fn keep_due(&self, now: Instant, news: &[News]) {
        for news in news {
            match news {
                News::Began { rollout, to } => {
                    self.forget(now, *to);
                    let before = self.baseline(Name::before(rollout), to.other(), SPAN_MAX);
                    self.keeping.borrow_mut().before = before.clone().map(Rc::new);
                    self.keep(before);
                }
                News::Promoted { rollout, to } => {
                    self.keep(self.baseline(Name::after(rollout), *to, SPAN_MAX));
                }
                News::Replaced(arm) => self.forget(now, *arm),
            }
        }
        let day = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let day = &day[..10];
        let stable = self.table().stable;
        let covered = self.covered(now, stable, SPAN_MAX);
        if is_due(self.keeping.borrow().day.as_deref(), day, covered) {
            let baseline = self.baseline(Name::of_day(day), stable, SPAN_MAX);
            if baseline.is_some() {
                self.keeping.borrow_mut().day = Some(day.to_owned());
            }
            self.keep(baseline);
        }
    }

    /// How much of a span of time is known of an arm.
    fn covered(&self, now: Instant, arm: Arm, span: Duration) -> Duration {
        let since = *self.keeping.borrow().since.get(arm);
        let known = since.map_or(span, |since| now.saturating_duration_since(since));
        self.measures.borrow().hour.covered(now, span).min(known)
    }

    /// Forgets what an arm has done, since it is another version from now on.
    fn forget(&self, now: Instant, arm: Arm) {
        self.measures.borrow_mut().hour.forget(arm);
        *self.keeping.borrow_mut().since.get_mut(arm) = Some(now);
    }

    /// Keeps one elsewhere, since nobody waits for it.
    fn keep(&self, baseline: Option<Baseline>) {
        let Some(baseline) = baseline else { return };
        let dir = self.table().config.state_dir.clone();
        tokio::task::spawn_blocking(move || match baselines::keep(&dir, &baseline) {
            // One of today is there since before the process began.
            Ok(()) | Err(KeepError::Exists(_)) => {}
            Err(error) => tracing::warn!(%error, name = %baseline.name, "a baseline is missing"),
        });
    }
}

/// Whether the baseline of a day is to be taken: once, and of a whole hour.
fn is_due(kept: Option<&str>, today: &str, covered: Duration) -> bool {
    covered >= SPAN_MAX && kept != Some(today)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_day_of_a_whole_hour() {
        let short = SPAN_MAX.saturating_sub(Duration::from_secs(1));
        for (kept, covered, wanted) in [
            (None, short, false),
            (None, SPAN_MAX, true),
            (Some("2026-11-22"), short, false),
            (Some("2026-11-22"), SPAN_MAX, true),
            (Some("2026-11-23"), SPAN_MAX, false),
        ] {
            assert_eq!(is_due(kept, "2026-11-23", covered), wanted, "{kept:?} {covered:?}");
        }
    }
}
