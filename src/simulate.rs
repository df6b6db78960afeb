//! Rollouts on simulated traffic: what the rules and a plan are worth before they are relied on.
//!
//! Only the traffic is made up. Judge and machine are those that decide on live traffic, tied
//! together as the control plane does it, on a clock that is counted forward: what comes out here
//! is what the code does, not what somebody thinks that it does. The same seed gives the same
//! rollout. Does not know: threads, the real clock, who asks, how results are shown.

pub mod traffic;

pub mod summary;

pub mod crowd;

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Guards;
use crate::judge::sequential::BUCKET;
use crate::judge::{Judge, Judgement, METHODS, Standing, Surroundings};
use crate::names::{Arm, Guard, PerArm};
use crate::rollout::{Effect, Look, Plan, Readiness, Rollout, RolloutState};

use traffic::{Change, Load, TOOLS, Traffic};

/// The arm that is judged.
pub const CANDIDATE: Arm = Arm::Secondary;
/// Time between two looks. The router looks each second; but evidence moves once a bucket, rules
/// once a minute, so that looks in between find nothing new.
const STEP: Duration = BUCKET;
/// How long the stable arm has worked before the rollout, at least: as long as it is remembered
/// minute by minute.
const BEFORE: Duration = Duration::from_secs(15 * 60);
/// A rollout that lasts longer is still running: a week.
const LASTS_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is tried.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The traffic on both arms.
    pub load: Load,
    /// The rules.
    pub guards: Guards,
    /// The plan.
    pub plan: Plan,
}

/// How one rollout went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Where it stood at the end; still running after the longest time that the plan asks for.
    pub end: RolloutState,
    /// The rule that reverted it.
    pub guard: Option<Guard>,
    /// From its start, in steps of five seconds.
    pub lasted: Duration,
    /// Calls of the candidate.
    pub calls: u64,
}

/// Lets one rollout run to its end; `None` when it was told not to go on.
///
/// `goes_on` is asked at each look.
pub fn rollout(
    setting: &Setting,
    change: Change,
    seed: u64,
    goes_on: impl Fn() -> bool,
) -> Option<Course> {
    // Any instant will do: only differences count.
    let mut run = Run::new(setting, change, seed, Instant::now());
    let plan = &setting.plan;
    let holds: Duration = plan.steps.iter().map(|step| step.hold).sum();
    let waits = plan.max_hold.saturating_mul(plan.steps.len() as u32);
    let lasts_max = holds.saturating_add(waits).min(LASTS_MAX);
    while !run.rollout.state.is_over() && run.lasted < lasts_max {
        if !goes_on() {
            return None;
        }
        run.step();
    }
    let Run { rollout: Rollout { state: end, guard, .. }, lasted, calls, .. } = run;
    Some(Course { end, guard, lasted, calls })
}

/// A rollout under way.
struct Run {
    traffic: Traffic,
    change: Change,
    judge: Judge,
    rollout: Rollout,
    /// The chance of a false revert that a step may take.
    alpha: f64,
    now: Instant,
    lasted: Duration,
    calls: u64,
}

impl Run {
    /// At the start of the rollout; the traffic has been there before.
    fn new(setting: &Setting, change: Change, seed: u64, began: Instant) -> Run {
        let plan = setting.plan.clone();
        let alpha = setting.guards.sequential.map_or(0.01, |it| it.alpha);
        let mut run = Run {
            traffic: Traffic::new(&setting.load, seed),
            change,
            judge: Judge::new(began, setting.guards.clone(), CANDIDATE),
            alpha: alpha / plan.steps.len() as f64,
            rollout: Rollout::start("simulated".into(), CANDIDATE, plan, None),
            now: began,
            lasted: Duration::ZERO,
            calls: 0,
        };
        // Nobody starts a rollout at the very beginning of a minute.
        let minute = 60 / STEP.as_secs();
        let before = BEFORE.as_secs() / STEP.as_secs() + seed % minute;
        for step in 0..before {
            run.pass(0);
            if step % minute == 0 {
                run.look(0);
            }
        }
        run.look(0);
        run.calls = 0;
        run.look(run.rollout.weight());
        run
    }

    /// Traffic goes on for a while.
    fn pass(&mut self, weight: u8) {
        let tally = self.traffic.pass(STEP, weight, self.change);
        self.calls += tally.seen.iter().filter(|seen| seen.arm == CANDIDATE).count() as u64;
        // What was counted belongs to the minute in which most of it happened.
        self.judge.absorb(self.now + STEP / 2, &[&tally]);
        self.now += STEP;
    }

    fn look(&mut self, weight: u8) -> Judgement {
        let around = Surroundings {
            candidate: CANDIDATE,
            rollout: (weight > 0).then(|| self.rollout.id.clone()),
            weight,
            alpha: self.alpha,
            places: TOOLS.len() + METHODS,
            probed: true,
            standing: PerArm { primary: Standing::Up, secondary: Standing::Up },
            critical: None,
        };
        self.judge.look(self.now, &around)
    }

    /// One look later.
    fn step(&mut self) {
        let weight = self.rollout.weight();
        self.pass(weight);
        self.lasted += STEP;
        let judgement = self.look(weight);
        let promotion = judgement.promotion();
        let effect = self.rollout.tick(&Look {
            passed: STEP,
            revert: judgement.revert().map(|opinion| (opinion.guard, opinion.why.as_str())),
            hold: judgement.hold.as_deref(),
            promotion: if promotion.passes {
                Readiness::Passes
            } else {
                Readiness::Inconclusive { more_calls: promotion.more_calls }
            },
        });
        if let Some(Effect::SetWeight(weight)) = effect {
            self.look(weight);
        }
    }
}

#[cfg(test)]
mod tests;
