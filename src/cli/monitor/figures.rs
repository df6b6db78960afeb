//! The numbers that are shown, from what the router says of the last minute.
//!
//! Pure. Does not know: how they look, or what came before.

use std::collections::BTreeMap;

use crate::admin::wire::{Minute, Status, WorkStatus};
use crate::names::{Arm, Outcome, PerArm};

/// A kind of work: its method, and its tool if it is a call of one.
pub(super) type Kind = (String, Option<String>);

/// One kind of work on both arms.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Which.
    pub(super) kind: Kind,
    /// Exchanges that ended.
    pub(super) calls: PerArm<u64>,
    /// Milliseconds; of those that were answered well.
    pub(super) p50: PerArm<Option<f64>>,
    /// How many times as long the candidate takes as the stable arm.
    pub(super) ratio: Option<f64>,
    /// Share of errors, 0 to 1.
    pub(super) errors: PerArm<Option<f64>>,
}

impl Row {
    /// What people call it.
    pub(super) fn name(&self) -> &str {
        self.kind.1.as_deref().unwrap_or(&self.kind.0)
    }
}

/// Every kind of work of the last minute, the most used first: by both arms, or by the one that is
/// looked at.
pub(super) fn rows(status: &Status, focus: Option<Arm>) -> Vec<Row> {
    let mut found: BTreeMap<Kind, PerArm<Option<&WorkStatus>>> = BTreeMap::new();
    for arm in Arm::ALL {
        for work in &status.arms.get(arm).last_minute.work {
            let kind = (work.method.clone(), work.tool.clone());
            *found.entry(kind).or_default().get_mut(arm) = Some(work);
        }
    }
    let candidate = status.stable.other();
    let mut rows: Vec<Row> =
        found.into_iter().map(|(kind, both)| row(kind, &both, candidate)).collect();
    let used = |row: &Row| {
        focus.map_or(row.calls.primary.saturating_add(row.calls.secondary), |arm| {
            *row.calls.get(arm)
        })
    };
    rows.sort_by(|one, other| used(other).cmp(&used(one)).then_with(|| one.kind.cmp(&other.kind)));
    rows
}

fn row(kind: Kind, both: &PerArm<Option<&WorkStatus>>, candidate: Arm) -> Row {
    let p50 = PerArm::from_fn(|arm| Some((*both.get(arm))?.latency?.p50_ms));
    let (own, stable): (Option<f64>, _) = (*p50.get(candidate), *p50.get(candidate.other()));
    Row {
        kind,
        calls: PerArm::from_fn(|arm| both.get(arm).map_or(0, |work| work.exchanges)),
        ratio: own
            .zip(stable)
            .filter(|(_, stable)| *stable > 0.0)
            .map(|(own, stable)| own / stable),
        p50,
        errors: PerArm::from_fn(|arm| {
            (*both.get(arm)).and_then(|work| share(&work.outcomes, work.exchanges))
        }),
    }
}

/// The share of errors among an arm's exchanges, 0 to 1; nothing where it had none.
pub(super) fn error_share(minute: &Minute) -> Option<f64> {
    share(&minute.outcomes, minute.exchanges)
}

/// Errors are what a client would complain of, whoever is to blame: guards ask for that.
fn share(outcomes: &BTreeMap<String, u64>, all: u64) -> Option<f64> {
    let is_error = |outcome: &Outcome| {
        matches!(
            outcome,
            Outcome::ToolError
                | Outcome::RpcError
                | Outcome::Skew
                | Outcome::HttpError
                | Outcome::Transport
                | Outcome::Timeout
        )
    };
    let errors = Outcome::ALL.iter().filter(|outcome| is_error(outcome));
    let count: u64 = errors.filter_map(|outcome| outcomes.get(outcome.as_str())).sum();
    (all > 0).then(|| count as f64 / all as f64)
}

/// Where the last minute's work went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// How much there was.
    pub(super) all: u64,
    /// How much of it was the secondary's.
    pub(super) secondary: u64,
}

impl Seen {
    /// Percent, as a split says it; nothing of nothing.
    pub(super) fn percent(self) -> Option<(u64, u64)> {
        let share = (self.all > 0).then(|| self.secondary as f64 / self.all as f64)?;
        let secondary = (share * 100.0).round() as u64;
        Some((100 - secondary, secondary))
    }
}

/// Where new sessions went.
pub(super) fn sessions(status: &Status) -> Seen {
    seen(status, |minute| minute.sessions_opened)
}

/// Where exchanges went, those of old sessions too.
pub(super) fn exchanges(status: &Status) -> Seen {
    seen(status, |minute| minute.exchanges)
}

fn seen(status: &Status, of: impl Fn(&Minute) -> u64) -> Seen {
    let count = |arm| of(&status.arms.get(arm).last_minute);
    let secondary = count(Arm::Secondary);
    Seen { all: count(Arm::Primary).saturating_add(secondary), secondary }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn work_is_compared_kind_by_kind() {
        let status = fixture::status();
        let names = |focus| -> Vec<String> {
            rows(&status, focus).iter().map(|it| it.name().to_owned()).collect()
        };
        assert_eq!(names(None), ["search", "fetch", "tools/list"]);
        assert_eq!(names(Some(Arm::Secondary)), ["fetch", "search", "tools/list"]);
        let search = &rows(&status, None)[0];
        assert_eq!(search.calls, PerArm { primary: 600, secondary: 20 });
        assert_eq!(search.ratio, Some(1.5));
        assert_eq!(search.errors, PerArm { primary: Some(0.01), secondary: Some(0.1) });
        // The primary has never been asked for the list.
        let list = &rows(&status, None)[2];
        assert_eq!((list.ratio, list.errors.primary), (None, None));
    }

    #[test]
    fn shares_are_rounded_and_nothing_is_no_share() {
        for (all, secondary, wanted) in
            [(0, 0, None), (3, 1, Some((67, 33))), (200, 1, Some((99, 1))), (7, 7, Some((0, 100)))]
        {
            assert_eq!(Seen { all, secondary }.percent(), wanted);
        }
        assert_eq!(sessions(&fixture::status()).percent(), Some((88, 12)));
    }
}
