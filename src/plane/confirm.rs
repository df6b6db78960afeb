//! The final confirmation of a rollout: what has to be true before its candidate becomes the stable
//! arm, each with its figures.
//!
//! A person confirms by it; a plan that promotes by itself waits while any of it is not met. What
//! cannot be told is shown and stops nobody, but for the evidence and the performance, which are
//! what a person is asked about. Does not know: how a rollout goes, HTTP.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::Confirmation;
use crate::control::ChangeError;
use crate::health::state;
use crate::judge::sequential::HOLD;
use crate::judge::{GuardState, Judgement, Opinion, short};
use crate::names::Arm;
use crate::records::baselines::Baseline;
use crate::records::journal::Actor;
use crate::rollout::{Effect, Look, Rollout, Verb};

use super::Plane;
use super::compare::{CALLS_MIN, Comparison, Finding, Verdict};

/// Evidence from which on a guard is near: where a rollout waits.
const NEAR: f64 = HOLD;
/// The share of calls that may fail.
const FAILED_MAX: f64 = 0.05;

/// What has to be true, and whether it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checklist {
    /// The rollout; nothing where a person has set the split.
    pub rollout: Option<String>,
    /// The arm that would become the stable one.
    pub candidate: Arm,
    /// The revision of the split that this is about.
    pub revision: u64,
    /// In all: `fail` if a criterion is not met, `inconclusive` if evidence or performance is not
    /// known.
    pub verdict: Verdict,
    /// Each criterion.
    pub criteria: Vec<Criterion>,
}

/// One criterion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Criterion {
    /// A word for it that stays.
    pub id: String,
    /// What has to be true.
    pub what: String,
    /// Whether it is.
    pub met: Met,
    /// Its figures, in a sentence.
    pub figures: String,
}

/// Whether a criterion is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Met {
    /// It is.
    Met,
    /// It is not.
    NotMet,
    /// It cannot be told.
    Unknown,
    /// It is said for information.
    Info,
}

/// Whom it is about.
#[derive(Clone, Debug)]
struct Subject {
    rollout: Option<Rollout>,
    candidate: Arm,
    revision: u64,
    /// What the critical alert says that is open.
    alert: Option<String>,
}

/// Whether it is met, and the figures.
type Found = (Met, String);

impl Checklist {
    fn new(subject: &Subject, found: Vec<(&str, String, Found)>) -> Checklist {
        let one = |(id, what, (met, figures)): (&str, String, Found)| Criterion {
            id: id.to_owned(),
            what,
            met,
            figures,
        };
        let criteria: Vec<_> = found.into_iter().map(one).collect();
        let is_needed = |it: &Criterion| ["evidence", "performance"].contains(&it.id.as_str());
        let verdict = if criteria.iter().any(|it| it.met == Met::NotMet) {
            Verdict::Fail
        } else if criteria.iter().any(|it| it.met == Met::Unknown && is_needed(it)) {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        };
        let rollout = subject.rollout.as_ref().map(|it| it.id.clone());
        let Subject { candidate, revision, .. } = *subject;
        Checklist { rollout, candidate, revision, verdict, criteria }
    }

    /// What stands in the way, a sentence each.
    pub fn missing(&self) -> Vec<String> {
        let stands = match self.verdict {
            Verdict::Pass => return Vec::new(),
            Verdict::Fail => Met::NotMet,
            Verdict::Inconclusive => Met::Unknown,
        };
        let missing = self.criteria.iter().filter(|it| it.met == stands);
        missing.map(|it| format!("{}: {}", it.what, it.figures)).collect()
    }
}

impl Plane {
    /// What has to be true before the candidate becomes the stable arm; `None` while that cannot
    /// be: before the last step of a rollout, and without one before the candidate has everything.
    /// `other` is the baseline for where there is no rollout.
    pub fn confirmation(&self, other: Option<&Baseline>) -> Option<Checklist> {
        let subject = self.subject()?;
        Some(self.checklist(&subject, self.judgement.borrow().as_ref(), other))
    }

    /// Makes the candidate the stable arm if all is met, or if it is forced.
    pub fn confirm(
        &self,
        actor: &Actor,
        expected_revision: Option<u64>,
        force: bool,
        other: Option<&Baseline>,
    ) -> Result<(), ChangeError> {
        let state = self.control.borrow().state().clone();
        if expected_revision.is_some_and(|expected| expected != state.revision) {
            return Err(ChangeError::Stale(Box::new(state)));
        }
        let Some(checklist) = self.confirmation(other) else {
            return Err(ChangeError::Gates(vec![self.why_not()]));
        };
        if checklist.verdict != Verdict::Pass && !force {
            return Err(ChangeError::Gates(checklist.missing()));
        }
        if let Some(alert) = self.control.borrow().latch() {
            return Err(ChangeError::AlertOpen(alert));
        }
        let mut context = self.context(&self.table(), self.judgement.borrow().as_ref());
        context["forced"] = json!(force && checklist.verdict != Verdict::Pass);
        context["checklist"] = json!(checklist);
        if checklist.rollout.is_some() {
            self.control.borrow_mut().steer(actor, Verb::Promote, context)?;
        } else {
            self.control.borrow_mut().confirm_split(actor, context)?;
        }
        self.steered();
        Ok(())
    }

    /// Why there is nothing to confirm now, and what to do.
    pub fn why_not(&self) -> String {
        let control = self.control.borrow();
        let candidate = control.state().stable.other();
        match control.running() {
            Some(Rollout { id, step, plan, .. }) => format!(
                "rollout {id} is in step {} of {} and is confirmed in the last one: wait for it, or \
                 go on with `tidegate rollout promote`",
                step + 1,
                plan.steps.len()
            ),
            None => format!(
                "there is nothing to confirm: no rollout is running, and the {candidate} has {} % of \
                 new work; begin with `tidegate rollout start`",
                control.state().split.weight(candidate)
            ),
        }
    }

    /// Whom a confirmation is about, if there can be one.
    fn subject(&self) -> Option<Subject> {
        let control = self.control.borrow();
        let state = control.state();
        let candidate = state.stable.other();
        let rollout = control.running();
        let can_be = match rollout {
            Some(rollout) => rollout.step + 1 == rollout.plan.steps.len(),
            None => state.split.weight(candidate) == 100,
        };
        can_be.then(|| Subject {
            rollout: rollout.cloned(),
            candidate,
            revision: state.revision,
            alert: state.alerts.critical().map(|it| format!("{}: {}", it.source, it.reason)),
        })
    }

    /// What is confirmed when the plan promotes by itself at this look.
    pub(super) fn at_its_end(&self, look: &Look<'_>, judgement: &Judgement) -> Option<Checklist> {
        let mut rollout = self.control.borrow().running()?.clone();
        let is_end = rollout.tick(look) == Some(Effect::Confirm);
        let subject = self.subject().filter(|_| is_end)?;
        // As it is with the time of this look.
        let subject = Subject { rollout: Some(rollout), ..subject };
        Some(self.checklist(&subject, Some(judgement), None))
    }

    /// Why a rollout whose last step is over waits nonetheless.
    pub(super) fn waits(&self, checklist: &Checklist) -> Option<String> {
        if checklist.verdict == Verdict::Fail {
            return Some(format!("not confirmed: {}", checklist.missing().join("; ")));
        }
        let by_hand = self.control.borrow().running()?.plan.confirm == Confirmation::Manual;
        by_hand.then(|| "it waits for a person: `tidegate rollout confirm`".to_owned())
    }

    /// Every criterion.
    fn checklist(
        &self,
        subject: &Subject,
        judgement: Option<&Judgement>,
        other: Option<&Baseline>,
    ) -> Checklist {
        let candidate = subject.candidate;
        let before = subject.rollout.as_ref().and_then(|it| self.before(&it.id));
        let baseline = before.as_deref().or(other.filter(|_| subject.rollout.is_none()));
        let compared = baseline.map(|it| self.compare_with(it, candidate));
        let asked = self.table().config.validation.performance;
        let mut found = Vec::new();
        let mut add =
            |id: &'static str, what: &str, it: Found| found.push((id, what.to_owned(), it));
        if let Some(rollout) = &subject.rollout {
            add("steps", "every step is done", self.steps(rollout));
            add("bake", "the time of the last step is over", bake(rollout));
        }
        add("evidence", "less than 5 % of its calls fail", evidence(judgement));
        add("guards", "no guard fires or is near to it", guards(judgement));
        let fast = format!("at least {:.0} % as fast as the baseline", asked * 100.0);
        add("performance", &fast, performance(compared.as_ref(), judgement, asked));
        add("errors", "no more errors than in the baseline", errors(compared.as_ref()));
        add("health", "every server of it works", self.servers(candidate));
        add("alerts", "no critical alert is open", alerts(subject.alert.as_deref()));
        add("catalogue", "what it offers breaks no client", self.catalogue(subject));
        add("validation", "it was validated since its last deploy", self.validation(candidate));
        let left = *self.measures.borrow().join.sessions().get(candidate.other());
        let what = format!("sessions left on the {}", candidate.other());
        add("sessions", &what, (Met::Info, left.to_string()));
        Checklist::new(subject, found)
    }

    fn steps(&self, rollout: &Rollout) -> Found {
        let progress = self.progress.borrow();
        let passages = progress.passages(&rollout.id);
        let weight = |step: usize| rollout.plan.steps.get(step).map_or(0, |it| it.weight);
        let mut told = Vec::new();
        for step in 0..rollout.step {
            let left = passages.iter().find(|it| it.from <= step && step < it.to);
            let how = match left {
                None => "it is not known how".to_owned(),
                Some(passage) => match (&passage.by, passage.from == step) {
                    (None, _) => "by plan".to_owned(),
                    (Some(by), true) => format!("ended by {by}"),
                    (Some(by), false) => format!("left out by {by}"),
                },
            };
            told.push(format!("{} % {how}", weight(step)));
        }
        if told.is_empty() {
            told.push("there is only one".to_owned());
        }
        let is_known =
            (0..rollout.step).all(|step| passages.iter().any(|it| it.from <= step && step < it.to));
        (if is_known { Met::Met } else { Met::Unknown }, told.join(", "))
    }

    fn servers(&self, candidate: Arm) -> Found {
        let table = self.table();
        if table.config.health.interval.is_none() {
            return (Met::Unknown, "handshakes are switched off: health.interval".to_owned());
        }
        let endpoints = &table.arms.get(candidate).endpoints;
        let views = endpoints.iter().map(|it| (it, self.board.view(it.id).unwrap_or_default()));
        let views: Vec<_> = views.collect();
        let any = |wanted| views.iter().any(|(_, view)| view.state.standing() == wanted);
        let met = if any(state::Standing::Down) {
            Met::NotMet
        } else if any(state::Standing::Unknown) {
            Met::Unknown
        } else {
            Met::Met
        };
        let told = views.iter().map(|(endpoint, view)| {
            let verdict = view.last.as_ref().map(|probe| probe.verdict.label());
            let (url, standing) = (&endpoint.url, view.state.standing().as_str());
            format!("{url} is {standing} ({})", verdict.unwrap_or("no handshake yet"))
        });
        (met, told.collect::<Vec<_>>().join(", "))
    }

    fn catalogue(&self, subject: &Subject) -> Found {
        if self.table().config.health.interval.is_none() {
            return (Met::Unknown, "handshakes are switched off: health.interval".to_owned());
        }
        let is_accepted = subject.rollout.as_ref().is_some_and(|it| it.allow_breaking);
        let is_known = self.offers.borrow().diff.is_some();
        match self.breaks(subject.candidate) {
            None => (Met::Met, "nothing of it is breaking or suspicious".to_owned()),
            Some(why) if !is_known => (Met::Unknown, why),
            Some(why) if is_accepted => (Met::Met, format!("accepted at the start: {why}")),
            Some(why) => (Met::NotMet, why),
        }
    }

    fn validation(&self, candidate: Arm) -> Found {
        match self.progress.borrow().validated(candidate) {
            None => (Met::Unknown, format!("not on record: `tidegate validate {candidate}`")),
            Some(it) if it.is_fit => (Met::Met, format!("passed at {}", it.at)),
            Some(it) if it.failed == 0 => {
                (Met::Unknown, format!("not every check could tell at {}", it.at))
            }
            Some(it) => (Met::NotMet, format!("checks that failed at {}: {}", it.at, it.failed)),
        }
    }
}

fn bake(rollout: &Rollout) -> Found {
    let hold = rollout.plan.steps.get(rollout.step).map_or(Duration::ZERO, |step| step.hold);
    let time = |it: Duration| humantime::format_duration(Duration::from_secs(it.as_secs()));
    let met = if rollout.elapsed >= hold { Met::Met } else { Met::NotMet };
    (met, format!("{} of {}", time(rollout.elapsed), humantime::format_duration(hold)))
}

fn evidence(judgement: Option<&Judgement>) -> Found {
    let Some(told) = judgement.map(|it| &it.told) else {
        return (Met::Unknown, "nothing has been looked at yet".to_owned());
    };
    let interval = told.fault_rate.map(|(low, high)| {
        format!(", with 95 % from {:.1} to {:.1} % of them", low * 100.0, high * 100.0)
    });
    let why = format!("e-value {} of 20{}", short(told.promotion.e), interval.unwrap_or_default());
    if told.promotion.passes {
        return (Met::Met, why);
    }
    if told.fault_rate.is_some_and(|(low, _)| low > FAILED_MAX) {
        return (Met::NotMet, why);
    }
    let more = match told.promotion.more_calls {
        Some(calls) => format!("{calls} more calls like these would show it"),
        None => "calls like these will never show it".to_owned(),
    };
    (Met::Unknown, format!("{why}: {more}"))
}

fn guards(judgement: Option<&Judgement>) -> Found {
    let Some(judgement) = judgement else {
        return (Met::Unknown, "nothing has been looked at yet".to_owned());
    };
    let speaks = |it: &&Opinion| matches!(it.state, GuardState::Fired | GuardState::CommonCause);
    let e = judgement.told.total;
    let mut told: Vec<_> = judgement
        .guards
        .iter()
        .filter(speaks)
        .map(|it| format!("{} {}: {}", it.guard, it.state.as_str(), it.why))
        .collect();
    let met = if told.is_empty() && e < NEAR { Met::Met } else { Met::NotMet };
    told.push(format!("e-value {} against it, near from {NEAR:.0} on", short(e)));
    (met, told.join("; "))
}

/// By the baseline from before; where that says nothing, by what the guards compare.
fn performance(compared: Option<&Comparison>, judgement: Option<&Judgement>, asked: f64) -> Found {
    let why = match compared.map(|it| of_baseline(it, &it.all.performance)) {
        Some(found @ (Met::Met | Met::NotMet, _)) => return found,
        Some((_, why)) => why,
        None => "there is no baseline from before".to_owned(),
    };
    let Some(told) = judgement.map(|it| &it.told) else { return (Met::Unknown, why) };
    let has_enough = told.calls.primary.min(told.calls.secondary) >= CALLS_MIN;
    match told.performance.filter(|_| has_enough) {
        None => (Met::Unknown, why),
        Some(share) => {
            let met = if share >= asked { Met::Met } else { Met::NotMet };
            (met, format!("{:.0} % of the stable arm's speed in this step ({why})", share * 100.0))
        }
    }
}

fn errors(compared: Option<&Comparison>) -> Found {
    match compared {
        None => (Met::Unknown, "there is no baseline from before".to_owned()),
        Some(compared) => of_baseline(compared, &compared.all.errors),
    }
}

fn of_baseline(compared: &Comparison, finding: &Finding) -> Found {
    let met = match finding.verdict {
        Verdict::Pass => Met::Met,
        Verdict::Fail => Met::NotMet,
        Verdict::Inconclusive => Met::Unknown,
    };
    (met, format!("{} (baseline {})", finding.why, compared.baseline))
}

fn alerts(open: Option<&str>) -> Found {
    match open {
        None => (Met::Met, "none".to_owned()),
        Some(alert) => (Met::NotMet, format!("{alert}: see `tidegate alert list`")),
    }
}
