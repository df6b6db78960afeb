//! One look at the evidence, and what follows from it: the closing of the loop.
//!
//! Once a second, and at once when a handshake or an alert says something new. Does not know: how a
//! verdict is come by, how a change is carried out.

use std::cell::Ref;
use std::collections::HashSet;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::alerts::{Report, Severity};
use crate::control::ChangeError;
use crate::control::rollouts::{Reverted, Start};
use crate::health::catalogue::Catalogue;
use crate::health::diff::{Class, diff};
use crate::judge::{GuardState, Judgement, METHODS, Opinion, Standing, Surroundings, forecast};
use crate::names::{Arm, Guard, PerArm};
use crate::records::journal::Actor;
use crate::rollout::{Look, Readiness, Verb};
use crate::route::RoutingTable;

use super::Plane;

/// Differences between the catalogues that a record has.
const CHANGES_MAX: usize = 30;

/// What has been said already.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    /// The candidate refuses callers.
    denied: bool,
    /// Guards that found the same fault on both arms.
    common: HashSet<Guard>,
}

impl Plane {
    /// Looks, and does what has to be done.
    pub fn decide(&self) {
        if self.control.borrow().is_handed_over() {
            // Another process does, or is about to.
            return;
        }
        let now = Instant::now();
        let around = self.surroundings();
        let judgement = self.measures.borrow_mut().judge.look(now, &around);
        let reverted = self.act(now, &around, &judgement);
        if let Some(Reverted { guard, took }) = reverted {
            tracing::error!(%guard, ?took, "reverted");
            self.measures.borrow().metrics.count_revert(guard);
        }
        self.alarm(&judgement);
        *self.judgement.borrow_mut() = Some(judgement.clone());
        if reverted.is_some() {
            self.show_table();
        }
        self.show_decisions();
        self.keep_baseline(now);
        self.keep_due(now, &self.follow_journal());
        self.keep_history(now);
        self.tell_denied(&judgement);
        self.tell_drained();
    }

    fn act(&self, now: Instant, around: &Surroundings, judgement: &Judgement) -> Option<Reverted> {
        let passed = now.saturating_duration_since(self.looked.replace(now));
        let table = self.table();
        let revert = judgement.revert();
        if self.control.borrow().running().is_none() {
            let opinion = revert?;
            let context = || self.context(&table, Some(judgement));
            return self.control.borrow_mut().shut(now, opinion.guard, &opinion.why, context);
        }
        let hold =
            judgement.hold.clone().or_else(|| self.doubts(around.candidate).into_iter().next());
        let promotion = judgement.promotion();
        let look = Look {
            passed,
            revert: revert.map(|opinion| (opinion.guard, opinion.why.as_str())),
            hold: hold.as_deref(),
            promotion: if promotion.passes {
                Readiness::Passes
            } else {
                Readiness::Inconclusive { more_calls: promotion.more_calls }
            },
        };
        let checklist = self.at_its_end(&look, judgement);
        let waits = checklist.as_ref().and_then(|it| self.waits(it));
        let look = Look { hold: look.hold.or(waits.as_deref()), ..look };
        let context = || {
            let mut context = self.context(&table, Some(judgement));
            if let Some(checklist) = checklist {
                context["checklist"] = json!(checklist);
            }
            context
        };
        self.control.borrow_mut().tick(now, &look, context)
    }

    /// Starts a rollout, if nothing speaks against it.
    pub fn start_rollout(&self, actor: &Actor, start: Start) -> Result<(), ChangeError> {
        let to = start.to;
        if let Some(alert) = self.control.borrow().latch() {
            return Err(ChangeError::AlertOpen(alert));
        }
        let mut doubts = Vec::from_iter(self.is_down(to));
        doubts.extend(self.control.borrow().unfit(to));
        if !start.allow_breaking {
            doubts.extend(self.breaks(to));
        }
        if !doubts.is_empty() && self.control.borrow().state().stable != to {
            return Err(ChangeError::Gates(doubts));
        }
        let mut context = self.context(&self.table(), None);
        context["allow_breaking"] = json!(start.allow_breaking);
        context["catalogue_changes"] = self.changes(to);
        self.control.borrow_mut().start_rollout(actor, start, context)?;
        self.steered();
        Ok(())
    }

    /// Does what a person wants of the rollout.
    pub fn steer(&self, actor: &Actor, verb: Verb) -> Result<(), ChangeError> {
        let raises = matches!(verb, Verb::Promote | Verb::PromoteFull | Verb::Resume);
        // Of one that is over it is no alert that forbids this.
        let raises = raises && self.control.borrow().running().is_some();
        if let (true, Some(alert)) = (raises, self.control.borrow().latch()) {
            return Err(ChangeError::AlertOpen(alert));
        }
        if let Verb::Undo { .. } = verb {
            let back = self.control.borrow().rollout().map(|rollout| rollout.to.other());
            if let Some(doubt) = back.and_then(|arm| self.is_down(arm)) {
                return Err(ChangeError::Gates(vec![doubt]));
            }
        }
        let mut context = self.context(&self.table(), self.judgement.borrow().as_ref());
        let is_promoted = verb == Verb::Promote && self.control.borrow().running().is_some();
        // Of a step before the last there is none.
        if let Some(checklist) = self.confirmation(None).filter(|_| is_promoted) {
            context["checklist"] = json!(checklist);
        }
        self.control.borrow_mut().steer(actor, verb, context)?;
        self.steered();
        Ok(())
    }

    /// Records that the router stops, with the hold clock as it is.
    pub fn keep_clock(&self) {
        self.control.borrow_mut().note("stop", &Actor::Router, json!({}));
    }

    /// What a change of course changes at once.
    pub(super) fn steered(&self) {
        self.show_table();
        self.decide();
    }

    /// What speaks against more work for an arm, apart from the evidence.
    fn doubts(&self, arm: Arm) -> Vec<String> {
        let control = self.control.borrow();
        let mut doubts = Vec::from_iter(self.is_down(arm));
        if control.running().is_some_and(|rollout| !rollout.allow_breaking) {
            doubts.extend(self.breaks(arm));
        }
        if control.journal().pending() > 0 {
            doubts.push("the disk does not take the journal".to_owned());
        }
        doubts
    }

    /// Why an arm's servers cannot take work, if they cannot.
    pub(super) fn is_down(&self, arm: Arm) -> Option<String> {
        let table = self.table();
        table.config.health.interval?;
        match self.standing(arm) {
            Standing::Up => None,
            Standing::Unknown => Some(format!("no handshake with the {arm} has succeeded yet")),
            Standing::Down => {
                let endpoints = &table.arms.get(arm).endpoints;
                let why = endpoints.iter().find_map(|it| self.board.view(it.id)?.last);
                let why = why.map(|probe| probe.verdict.to_string()).unwrap_or_default();
                Some(format!("no server of the {arm} works: {why}"))
            }
        }
    }

    /// Why clients that know the other arm could not work with this one, if that is so.
    pub(super) fn breaks(&self, arm: Arm) -> Option<String> {
        self.table().config.health.interval?;
        let offers = self.offers.borrow();
        if offers.diff.is_none() {
            return Some("what the arms offer is not known yet: see `tidegate diff`".to_owned());
        }
        let worst = (*offers.worst.get(arm))?;
        (worst >= Class::Suspicious).then(|| {
            format!(
                "what the {arm} offers differs from what the {} offers in a way that is {}: see \
                 `tidegate diff`",
                arm.other(),
                worst.as_str()
            )
        })
    }

    /// What clients of the other arm meet on this one, for the record: the gravest differences.
    fn changes(&self, arm: Arm) -> Value {
        let offers = self.offers.borrow();
        let found = match (arm, offers.catalogue(Arm::Primary), offers.catalogue(Arm::Secondary)) {
            (Arm::Primary, Some(to), Some(from)) => Some(diff(from, to)),
            _ => offers.diff.clone(),
        };
        let Some(found) = found else { return Value::Null };
        let mut changes: Vec<_> = found.changes.iter().collect();
        changes.sort_by_key(|change| std::cmp::Reverse(change.class));
        let left_out = changes.len().saturating_sub(CHANGES_MAX) + found.left_out;
        changes.truncate(CHANGES_MAX);
        json!({ "worst": found.worst(), "changes": changes, "left_out": left_out })
    }

    fn surroundings(&self) -> Surroundings {
        let table = self.table();
        let candidate = table.stable.other();
        let control = self.control.borrow();
        let sequential = table.config.guards.sequential;
        let steps = control.running().map_or(1, |rollout| rollout.plan.steps.len());
        Surroundings {
            candidate,
            weight: table.split.weight(candidate),
            rollout: control.running().map(|rollout| rollout.id.clone()),
            alpha: sequential.map_or(0.01, |it| it.alpha) / steps as f64,
            places: table.tools.labelled() + METHODS,
            probed: table.config.health.interval.is_some(),
            standing: self.standings(candidate),
            critical: control.latch(),
        }
    }

    /// What a record says of the world around a decision.
    pub(super) fn context(&self, table: &RoutingTable, judgement: Option<&Judgement>) -> Value {
        let offers = self.offers.borrow();
        let verdicts = judgement.map(|judgement| {
            let one = |it: &Opinion| {
                json!({ "guard": it.guard, "state": it.state, "why": it.why, "evidence": it.evidence })
            };
            judgement.guards.iter().map(one).collect::<Vec<_>>()
        });
        json!({
            "versions": PerArm::from_fn(|arm| self.server_of(table, arm)),
            "catalogues": PerArm::from_fn(|arm| offers.catalogue(arm).map(Catalogue::fingerprint)),
            "config": table.config.fingerprint(),
            "verdicts": verdicts,
        })
    }

    /// What the server of an arm says it is: name and version.
    pub(super) fn server_of(&self, table: &RoutingTable, arm: Arm) -> Option<String> {
        let endpoints = &table.arms.get(arm).endpoints;
        let server = endpoints.iter().find_map(|it| self.board.view(it.id)?.server)?;
        Some(format!("{} {}", server.name, server.version))
    }

    /// Raises an alert, once a step, when the candidate refuses callers that the stable arm lets in.
    fn tell_denied(&self, judgement: &Judgement) {
        let was = std::mem::replace(&mut self.alarms.borrow_mut().denied, judgement.denied);
        if was || !judgement.denied {
            return;
        }
        let candidate = self.table().stable.other();
        let reason = format!(
            "the {candidate} answers 401 or 403 to far more of its callers than the {} does (e-value {:.0})",
            candidate.other(),
            judgement.told.denied
        );
        if let Ok(report) = Report::new(Severity::Warning, "tidegate", &reason) {
            self.raise_alert(&Actor::Router, report);
        }
    }

    /// Shouts when a guard finds the same fault on both arms, once each time.
    fn alarm(&self, judgement: &Judgement) {
        for opinion in &judgement.guards {
            let is_common = opinion.state == GuardState::CommonCause;
            let mut alarms = self.alarms.borrow_mut();
            if !is_common {
                alarms.common.remove(&opinion.guard);
            } else if alarms.common.insert(opinion.guard) {
                let (guard, why) = (opinion.guard, &opinion.why);
                tracing::error!(%guard, "common cause, not reverted: {why}");
                let detail = json!({ "guard": guard, "why": why, "evidence": opinion.evidence });
                let actor = Actor::Guard { guard };
                self.control.borrow_mut().note("common-cause", &actor, detail);
            }
        }
    }

    /// What the last look has found.
    pub fn judgement(&self) -> Ref<'_, Option<Judgement>> {
        self.judgement.borrow()
    }

    /// Why the rollout should not go on, whatever its evidence.
    pub fn doubt(&self) -> Option<String> {
        let running = self.control.borrow().running().map(|rollout| rollout.to);
        let held = self.judgement.borrow().as_ref().and_then(|it| it.hold.clone());
        held.or_else(|| self.doubts(running?).into_iter().next())
    }

    /// The e-value at which the gate shuts now.
    pub fn reverts_at(&self) -> f64 {
        1.0 / self.surroundings().alpha
    }

    /// What a rule is worth at the traffic of the last minutes, if that is not what one expects.
    pub fn forecast(&self, guard: Guard) -> Option<String> {
        let (table, measures) = (self.table(), self.measures.borrow());
        let candidate = table.stable.other();
        if table.split.weight(candidate) == 0 {
            return None;
        }
        let (per_minute, rate) = measures.judge.usual(candidate)?;
        let rules = &table.config.guards;
        match guard {
            Guard::ErrorRate => forecast::error_rate(per_minute, rate, &rules.error_rate?),
            Guard::Performance => forecast::performance(per_minute, &rules.performance?),
            Guard::HealthFailures | Guard::SecurityAlert | Guard::Sequential => None,
        }
    }

    fn show_decisions(&self) {
        let (control, measures) = (self.control.borrow(), self.measures.borrow());
        let judgement = self.judgement.borrow();
        let journal = control.journal();
        measures.metrics.set_decisions(control.rollout(), judgement.as_ref(), &control.table());
        measures.metrics.set_journal(journal.failures(), journal.pending());
    }
}
