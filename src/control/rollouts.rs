//! Rollouts and reverts: carries out what the machine decides.
//!
//! What takes work away from the candidate is done first and recorded afterwards, also on a full
//! disk; what gives it more is recorded first, and not done if it cannot be. Does not know: how a
//! verdict is come by, HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::names::{Arm, Guard, Split};
use crate::records::journal::{Actor, Sync};
use crate::records::state::State;
use crate::rollout::Plan;
use crate::rollout::{Effect, Look, Rollout, RolloutState, Verb};
use crate::route::Closed;

use super::{ChangeError, Control};

/// How often the hold clock is written down: a crash sets it back by so much at most, or by a
/// [`CLOCK_SHARE`]th of what it shows.
const CLOCK_EVERY: Duration = Duration::from_secs(15);
/// A rollout that waits for days must not push all other records out of the journal.
const CLOCK_SHARE: u32 = 20;

/// What a rollout begins with.
#[derive(Debug)]
pub struct Start {
    /// The candidate.
    pub to: Arm,
    /// How.
    pub plan: Plan,
    /// Why, in the words of who starts it.
    pub reason: Option<String>,
    /// Changes of the catalogue that break clients are accepted.
    pub allow_breaking: bool,
}

/// What was done on a revert, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reverted {
    /// Which guard.
    pub guard: Guard,
    /// From the beginning of the look to the new table.
    pub took: Duration,
}

/// In which order a change is made and recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// It takes work from the candidate: at once.
    ActFirst,
    /// It gives it more: only what is on record.
    RecordFirst,
}

impl Order {
    /// That of a change which gives the candidate more, or not.
    pub(super) fn of_raise(raises: bool) -> Order {
        if raises { Order::RecordFirst } else { Order::ActFirst }
    }
}

impl Control {
    /// The rollout that is running, or the last one.
    pub fn rollout(&self) -> Option<&Rollout> {
        self.state.rollout.as_ref()
    }

    /// The rollout that is running.
    pub fn running(&self) -> Option<&Rollout> {
        self.state.running()
    }

    /// Starts a rollout. Whoever calls has seen to the gates; `context` is what the record says of
    /// the world around it.
    pub fn start_rollout(
        &mut self,
        actor: &Actor,
        start: Start,
        context: Value,
    ) -> Result<(), ChangeError> {
        if let Some(running) = self.running() {
            return Err(ChangeError::Running(Box::new(running.clone())));
        }
        if start.to == self.state.stable {
            return Err(ChangeError::IsStable(start.to));
        }
        self.is_open(start.to)?;
        let id = format!("r{}", self.state.revision + 1);
        let mut rollout = Rollout::start(id, start.to, start.plan, start.reason);
        rollout.allow_breaking = start.allow_breaking;
        let weight = rollout.weight();
        let mut next = self.steered(actor, split(start.to, weight), None);
        next.rollout = Some(rollout);
        let table = self.table();
        let endpoints = &table.config.arms.get(start.to).endpoints;
        next.candidate = endpoints.iter().map(ToString::to_string).collect();
        self.commit(actor, "rollout-start", || context, next, Order::RecordFirst)
    }

    /// Carries out what a person wants of the rollout.
    pub fn steer(&mut self, actor: &Actor, verb: Verb, context: Value) -> Result<(), ChangeError> {
        let Some(mut rollout) = self.rollout().cloned() else {
            return Err(ChangeError::NoRollout);
        };
        if let Verb::Undo { .. } = verb {
            self.is_open(rollout.to.other())?;
        }
        let event = verb.as_str();
        let effect = rollout.apply(verb)?;
        let next = self.after(actor, rollout, effect);
        self.commit(actor, event, || context, next, order(effect))
    }

    /// Makes the candidate the stable arm where a person has given it everything and no rollout is
    /// running. What an earlier promotion could be taken back to is forgotten.
    pub fn confirm_split(&mut self, actor: &Actor, context: Value) -> Result<(), ChangeError> {
        if let Some(running) = self.running() {
            return Err(ChangeError::Running(Box::new(running.clone())));
        }
        let to = self.state.stable.other();
        if self.state.split != Split::all(to) {
            return Err(ChangeError::Gates(vec![format!("the {to} does not have all new work")]));
        }
        self.is_open(to)?;
        let mut next = self.steered(actor, Split::all(to), None);
        (next.stable, next.rollout) = (to, None);
        let context = with(context, &json!({ "to": to, "stable": to }));
        self.commit(actor, "confirm", || context, next, Order::RecordFirst)
    }

    /// Lets the rollout go on by one look, which `began` then. `context` is what a record of it says
    /// besides.
    pub fn tick(
        &mut self,
        began: Instant,
        look: &Look<'_>,
        context: impl FnOnce() -> Value,
    ) -> Option<Reverted> {
        let before = self.running()?.clone();
        let mut rollout = before.clone();
        let effect = rollout.tick(look);
        let actor = match &look.revert {
            Some((guard, _)) => Actor::Guard { guard: *guard },
            None => Actor::Rollout,
        };
        if effect.is_none() && rollout.state == before.state {
            self.state.rollout = Some(rollout);
            self.keep_clock();
            return None;
        }
        let event = match rollout.state {
            RolloutState::Reverted => "revert",
            RolloutState::Aborted => "abort",
            RolloutState::Promoted => "promoted",
            RolloutState::Holding => "hold",
            _ if effect.is_none() => "go-on",
            _ => "step",
        };
        let (guard, next) = (rollout.guard, self.after(&actor, rollout, effect));
        if let Err(error) = self.commit(&actor, event, context, next, order(effect)) {
            tracing::error!(%error, "the rollout does not go on");
            return None;
        }
        let took = self.acted.saturating_duration_since(began);
        guard.filter(|_| effect == Some(Effect::Revert)).map(|guard| Reverted { guard, took })
    }

    /// Shuts the gate where no rollout is running: after a split that a person has set. `None` if
    /// there was nothing to take back.
    pub fn shut(
        &mut self,
        began: Instant,
        guard: Guard,
        why: &str,
        context: impl FnOnce() -> Value,
    ) -> Option<Reverted> {
        let stable = self.state.stable;
        let on_revert = self.table().config.rollout.on_revert;
        let closed = Some(Closed { arm: stable.other(), sessions: on_revert });
        let weight = self.state.split.weight(stable.other());
        if self.running().is_some() || (weight == 0 && self.state.closed.is_some()) {
            return None;
        }
        // Right after a promotion the other arm is the one that was trusted until then.
        let was_stable = self.rollout().is_some_and(|it| it.state == RolloutState::Promoted);
        if weight == 0 && was_stable {
            return None;
        }
        // What is drained is about to be stopped, which is no fault.
        if weight == 0 && self.state.drained == Some(stable.other()) {
            return None;
        }
        let actor = Actor::Guard { guard };
        let next = self.steered(&actor, Split::all(stable), closed);
        let context =
            || with(context(), &json!({ "guard": guard, "why": why, "to": stable.other() }));
        // Without a weight nothing is taken back; only the door is shut behind which the arm waits
        // for the other one to fail.
        let event = if weight == 0 { "shut" } else { "revert" };
        // What takes work away needs no record to be done.
        let _ = self.commit(&actor, event, context, next, Order::ActFirst);
        let took = self.acted.saturating_duration_since(began);
        (weight > 0).then_some(Reverted { guard, took })
    }

    /// The state after what the machine wants.
    fn after(&self, actor: &Actor, rollout: Rollout, effect: Option<Effect>) -> State {
        let (to, stable) = (rollout.to, rollout.to.other());
        let closed = Closed { arm: to, sessions: rollout.plan.on_revert };
        let mut next = match effect {
            None => self.state.clone(),
            Some(Effect::SetWeight(weight)) => self.steered(actor, split(to, weight), None),
            Some(Effect::Confirm) => self.steered(actor, Split::all(to), None),
            Some(Effect::Revert | Effect::Undo) => {
                self.steered(actor, Split::all(stable), Some(closed))
            }
        };
        match effect {
            Some(Effect::Confirm) => next.stable = to,
            Some(Effect::Undo) => next.stable = stable,
            None | Some(Effect::SetWeight(_) | Effect::Revert) => {}
        }
        next.rollout = Some(rollout);
        next
    }

    /// The state with another split.
    fn steered(&self, actor: &Actor, split: Split, closed: Option<Closed>) -> State {
        let configured = self.table().config.split;
        let mut next = self.state.next(split, configured, actor.clone());
        next.closed = closed;
        next
    }

    /// Makes a change and records it.
    pub(super) fn commit(
        &mut self,
        actor: &Actor,
        event: &str,
        context: impl FnOnce() -> Value,
        next: State,
        order: Order,
    ) -> Result<(), ChangeError> {
        let (before, rollout_before) = (self.state.split, self.state.rollout.clone());
        if order == Order::ActFirst {
            self.publish(next.clone());
        }
        // One that has long been over has nothing to do with it.
        let rollout = next.rollout.as_ref().filter(|it| Some(*it) != rollout_before.as_ref());
        // Why it began is no reason for what became of it.
        let starts = event == "rollout-start";
        let detail = with(
            context(),
            &json!({
                "before": before, "after": next.split,
                "rollout": rollout.map(|it| &it.id),
                "to": rollout.map(|it| it.to),
                "step": rollout.map(|it| it.step),
                "state": rollout.map(|it| it.state),
                "why": rollout.and_then(|it| if starts { it.reason.as_ref() } else { it.why.as_ref() }),
                "guard": rollout.and_then(|it| it.guard),
            }),
        );
        if order == Order::RecordFirst {
            self.journal.write(event, actor, detail, &next, Sync::Now)?;
            self.publish(next);
        } else {
            self.journal.write_or_keep(event, actor, detail, &self.state);
        }
        self.clock_kept = self.acted;
        Ok(())
    }

    /// Puts a state in force.
    fn publish(&mut self, next: State) {
        let table = self.live.load();
        if table.course() != next.course() {
            self.live.publish(table.with_course(next.course()));
        }
        self.acted = Instant::now();
        self.state = next;
    }

    /// Writes the hold clock down now and then.
    fn keep_clock(&mut self) {
        let runs = self.running().filter(|rollout| rollout.state != RolloutState::Paused);
        let Some(rollout) = runs else { return };
        if self.clock_kept.elapsed() < CLOCK_EVERY.max(rollout.elapsed / CLOCK_SHARE) {
            return;
        }
        let detail = json!({ "rollout": rollout.id });
        self.clock_kept = Instant::now();
        // The next one comes soon, and a decision waits for the disk anyway.
        if let Err(error) =
            self.journal.write("clock", &Actor::Rollout, detail, &self.state, Sync::Later)
        {
            tracing::error!(%error, "the hold clock could not be written down");
        }
    }
}

/// What a change gives the candidate decides what comes first.
fn order(effect: Option<Effect>) -> Order {
    Order::of_raise(matches!(effect, Some(Effect::SetWeight(_) | Effect::Confirm)))
}

/// The split with this weight for an arm.
fn split(arm: Arm, weight: u8) -> Split {
    let (primary, secondary) = match arm {
        Arm::Primary => (weight, 100 - weight),
        Arm::Secondary => (100 - weight, weight),
    };
    Split::new(primary, secondary).expect("a weight and the rest are 100")
}

/// One object of two; the second wins, and has no empty members.
fn with(mut context: Value, more: &Value) -> Value {
    if !context.is_object() {
        context = json!({});
    }
    for (key, value) in more.as_object().into_iter().flatten() {
        if !value.is_null() {
            context[key] = value.clone();
        }
    }
    context
}
