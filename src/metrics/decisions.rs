//! What is being decided: the rollout, the guards, the evidence, and whether it can be recorded.
//!
//! Does not know: how a decision is come by.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Registry};

use crate::judge::{GuardState, Judgement};
use crate::names::{Arm, Guard};
use crate::rollout::{Rollout, RolloutState};
use crate::route::RoutingTable;

use super::{NONE, counter, fraction, gauge, set};

/// The label of a router that has had no rollout yet.
const NO_ROLLOUT: &str = "none";

const EVIDENCE: &str = "The e-value of the present step against the candidate, by test, and of all together; `denied` raises an alert, `promotion` is for it.";
const PENDING: &str = "Records of decisions that the disk has not taken yet.";

/// Decisions.
#[derive(Debug)]
pub(super) struct Decisions {
    state: IntGaugeVec,
    step: IntGaugeVec,
    steps: IntGaugeVec,
    stable: IntGaugeVec,
    closed: IntGaugeVec,
    guards: IntGaugeVec,
    evidence: GaugeVec,
    unseen: IntCounterVec,
    reverts: IntCounterVec,
    failures: IntCounterVec,
    pending: IntGaugeVec,
}

impl Decisions {
    pub(super) fn new(to: &Registry) -> Decisions {
        let state = "Whether the rollout is in this state.";
        let guards = "Whether the guard is in this state.";
        let failures = "Records of the journal that the disk did not take at once.";
        let unseen = "Calls that were counted but not taken as evidence: too many at once.";
        let decisions = Decisions {
            state: gauge(to, "tidegate_rollout_state", &["state"], state),
            step: gauge(to, "tidegate_rollout_step", &NONE, "The step of the rollout, from 1."),
            steps: gauge(to, "tidegate_rollout_steps", &NONE, "Steps of the rollout's plan."),
            stable: gauge(to, "tidegate_arm_stable", &["arm"], "Whether reverts go to this arm."),
            closed: gauge(to, "tidegate_arm_closed", &["arm"], "Whether this arm is shut."),
            guards: gauge(to, "tidegate_guard_state", &["guard", "state"], guards),
            evidence: fraction(to, "tidegate_evidence", &["test"], EVIDENCE),
            unseen: counter(to, "tidegate_evidence_unseen_total", &NONE, unseen),
            reverts: counter(to, "tidegate_reverts_total", &["guard"], "Reverts, by guard."),
            failures: counter(to, "tidegate_journal_failures_total", &NONE, failures),
            pending: gauge(to, "tidegate_journal_pending", &NONE, PENDING),
        };
        // A rate needs the zero before the first one.
        for guard in Guard::ALL {
            decisions.reverts.with_label_values(&[guard.as_str()]);
        }
        decisions.failures.with_label_values(&NONE);
        decisions.unseen.with_label_values(&NONE);
        decisions
    }

    /// The rollout that is running, or the last one.
    pub(super) fn set_rollout(&self, rollout: Option<&Rollout>, table: &RoutingTable) {
        let now = rollout.map_or(NO_ROLLOUT, |rollout| rollout.state.as_str());
        let states = RolloutState::ALL.map(RolloutState::as_str);
        for state in states.into_iter().chain([NO_ROLLOUT]) {
            self.state.with_label_values(&[state]).set(i64::from(state == now));
        }
        set(&self.step, &NONE, rollout.map_or(0, |rollout| rollout.step + 1));
        set(&self.steps, &NONE, rollout.map_or(0, |rollout| rollout.plan.steps.len()));
        for arm in Arm::ALL {
            let is = |gauge: &IntGaugeVec, is: bool| {
                gauge.with_label_values(&[arm.as_str()]).set(i64::from(is));
            };
            is(&self.stable, table.stable == arm);
            is(&self.closed, table.is_closed(arm));
        }
    }

    /// What the last look has found.
    pub(super) fn set_judgement(&self, judgement: &Judgement) {
        for opinion in &judgement.guards {
            for state in GuardState::ALL {
                let labels = [opinion.guard.as_str(), state.as_str()];
                self.guards.with_label_values(&labels).set(i64::from(opinion.state == state));
            }
        }
        let told = &judgement.told;
        let tests = told.tests.iter().map(|(test, e)| (test.as_str(), *e));
        let others =
            [("total", told.total), ("denied", told.denied), ("promotion", told.promotion.e)];
        for (test, e) in tests.chain(others) {
            self.evidence.with_label_values(&[test]).set(e);
        }
    }

    /// Counts a revert.
    pub(super) fn count_revert(&self, guard: Guard) {
        self.reverts.with_label_values(&[guard.as_str()]).inc();
    }

    /// Counts calls that were not taken as evidence.
    pub(super) fn count_unseen(&self, calls: u64) {
        self.unseen.with_label_values(&NONE).inc_by(calls);
    }

    /// How the journal fares: records that failed since the start, and those still to be written.
    pub(super) fn set_journal(&self, failures: u64, pending: usize) {
        let counter = self.failures.with_label_values(&NONE);
        counter.inc_by(failures.saturating_sub(counter.get()));
        set(&self.pending, &NONE, pending);
    }
}
