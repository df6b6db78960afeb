//! What has been seen so far, and what follows from it: what is shown, and how the command ends.
//!
//! Pure: answers of the router and the time go in. Does not know: terminals, sockets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::admin::wire::Status;
use crate::admin::wire::operate::{Event, Events};
use crate::cli::{Exit, decide};
use crate::judge::GuardState;
use crate::names::{Arm, Guard, PerArm};
use crate::records::journal::Actor;
use crate::rollout::RolloutState;

use super::figures::{self, Kind, Row};

/// Looks that are kept for the sparklines; with one a second, two minutes.
pub(super) const SAMPLES: usize = 120;
/// Lines of events that are kept; no terminal is higher.
const LINES: usize = 200;
/// For so long a router that is silent at the end may come back.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What has been seen so far.
#[derive(Debug)]
pub(super) struct Model {
    /// The arm that was asked for.
    pub(super) focus: Option<Arm>,
    /// What the router said last.
    pub(super) status: Status,
    /// Why it says nothing, if it does not.
    pub(super) silence: Option<Silence>,
    /// What has happened, the newest last.
    pub(super) lines: VecDeque<String>,
    /// What would shut the gate, or did, while we watched.
    pub(super) verdict: Option<Verdict>,
    samples: VecDeque<Sample>,
    began: Instant,
    limit: Option<Duration>,
    /// When the last look began that was answered.
    looked: Instant,
    /// Guards that had fired before.
    old: BTreeSet<Guard>,
}

/// One look.
#[derive(Debug)]
struct Sample {
    rate: PerArm<f64>,
    ratio: BTreeMap<Kind, f64>,
}

/// The router does not answer.
#[derive(Debug)]
pub(super) struct Silence {
    since: Instant,
    /// The same on the clock.
    pub(super) at: String,
    /// Why not.
    pub(super) why: String,
}

/// Something would shut the gate, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What, in a sentence.
    pub(super) why: String,
    /// Whoever watches did it with a key.
    pub(super) ours: bool,
}

impl Model {
    /// Begins with a first look. What happened before it is shown and not judged.
    pub(super) fn new(
        focus: Option<Arm>,
        limit: Option<Duration>,
        now: Instant,
        (status, events): (Status, Events),
    ) -> Model {
        let mut model = Model {
            focus,
            silence: None,
            lines: VecDeque::new(),
            verdict: None,
            samples: VecDeque::from([Sample::of(&status)]),
            began: now,
            limit,
            looked: now,
            old: fired(&status).map(|(guard, _)| guard).collect(),
            status,
        };
        for event in &events.events {
            for line in lines(event) {
                model.line(line);
            }
        }
        for line in model.before() {
            model.line(line);
        }
        model
    }

    /// What was so before anybody watched, and is therefore not judged.
    pub(super) fn before(&self) -> Vec<String> {
        let decisions = &self.status.decisions;
        let shut = decisions.closed.map(|arm| {
            let why = if decisions.drained == Some(arm) { "is drained" } else { "is shut out" };
            format!("the {arm} {why} since before this watch: that is not judged")
        });
        let guards = fired(&self.status)
            .map(|(guard, why)| format!("guard {guard} had fired before: not judged: {why}"));
        shut.into_iter().chain(guards).collect()
    }

    /// Takes in a look that began then; gives the lines of what has happened since the one before.
    pub(super) fn take(&mut self, looked: Instant, status: Status, events: &Events) -> Vec<String> {
        (self.looked, self.silence) = (looked, None);
        // The journal has the better words, and knows what was over between two looks.
        let told = events.events.iter().find_map(against);
        let found = told.or_else(|| self.against(&status));
        if self.verdict.is_none() {
            self.verdict = found;
        }
        let fires: BTreeSet<_> = fired(&status).map(|(guard, _)| guard).collect();
        // Right after its start a router has not looked yet.
        if self.status.decisions.guards.is_empty() {
            self.old = fires;
        } else if !status.decisions.guards.is_empty() {
            self.old.retain(|guard| fires.contains(guard));
        }
        self.samples.push_back(Sample::of(&status));
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        self.status = status;
        let new: Vec<_> = events.events.iter().flat_map(lines).collect();
        for line in &new {
            self.line(line.clone());
        }
        new
    }

    /// The router did not answer who asked then; whether that is new.
    pub(super) fn silent(&mut self, asked: Instant, at: &str, why: String) -> bool {
        let since = self.silence.as_ref().map(|it| (it.since, it.at.clone()));
        let is_new = since.is_none();
        let (since, at) = since.unwrap_or_else(|| (asked, at.to_owned()));
        self.silence = Some(Silence { since, at, why });
        is_new
    }

    /// Adds a line to the events.
    pub(super) fn line(&mut self, line: String) {
        self.lines.push_back(line);
        if self.lines.len() > LINES {
            self.lines.pop_front();
        }
    }

    /// What a status says against the candidate that the one before did not.
    fn against(&self, status: &Status) -> Option<Verdict> {
        let over = |of: &Status| {
            let rollout = of.decisions.rollout.as_ref()?;
            let bad = matches!(
                rollout.state,
                RolloutState::Reverted | RolloutState::Aborted | RolloutState::Undone
            );
            bad.then(|| (rollout.id.clone(), rollout.state))
        };
        let why = match (over(status), over(&self.status)) {
            (Some(now), before) if before.as_ref() != Some(&now) => {
                let rollout = status.decisions.rollout.as_ref();
                let why = rollout.and_then(|it| it.why.as_deref()).unwrap_or("no reason is given");
                Some(format!("rollout {} is {}: {why}", now.0, now.1))
            }
            _ => None,
        };
        let shut = || {
            let (now, before) = (status.decisions.closed?, self.status.decisions.closed);
            // Whoever drains an arm has nothing against it.
            (status.decisions.drained != Some(now) && before != Some(now))
                .then(|| format!("the {now} is shut out"))
        };
        let guard = || {
            if self.status.decisions.guards.is_empty() {
                return None;
            }
            let (guard, why) = fired(status).find(|(guard, _)| !self.old.contains(guard))?;
            Some(format!("guard {guard} fires: {why}"))
        };
        let why = why.or_else(guard).or_else(shut)?;
        Some(Verdict { why, ours: false })
    }

    /// The time that is left, if it has an end.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        Some(self.limit?.saturating_sub(now.saturating_duration_since(self.began)))
    }

    /// How much of its time is over, 0 to 1.
    pub(super) fn progress(&self, now: Instant) -> Option<f64> {
        let limit = self.limit?.as_secs_f64();
        Some(1.0 - self.left(now)?.as_secs_f64() / limit)
    }

    /// How long it has watched.
    pub(super) fn watched(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// Whether the time is over, and all of it was looked at. A router that is silent then may come
    /// back for a while.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let waits = |silence: &Silence| now.saturating_duration_since(silence.since) < SILENCE_MAX;
        self.left(now).is_some_and(|left| left.is_zero())
            && !self.needs_last_look(now)
            && !self.silence.as_ref().is_some_and(waits)
    }

    /// Whether the time is over, and nobody has looked since.
    pub(super) fn needs_last_look(&self, now: Instant) -> bool {
        let is_unseen = |limit| self.watched(self.looked) < limit && self.watched(now) >= limit;
        self.silence.is_none() && self.limit.is_some_and(is_unseen)
    }

    /// How it ends if it ends now.
    pub(super) fn exit(&self) -> Exit {
        match (&self.verdict, &self.silence) {
            (Some(_), _) => Exit::No,
            (None, Some(_)) => Exit::Unknown,
            (None, None) => Exit::Yes,
        }
    }

    /// The candidate: whoever is not the stable arm.
    pub(super) fn candidate(&self) -> Arm {
        self.status.stable.other()
    }

    /// Every kind of work, the most used first.
    pub(super) fn rows(&self) -> Vec<Row> {
        figures::rows(&self.status, self.focus)
    }

    /// An arm's exchanges a second, look by look.
    pub(super) fn rates(&self, arm: Arm) -> Vec<Option<f64>> {
        self.samples.iter().map(|sample| Some(*sample.rate.get(arm))).collect()
    }

    /// How many times as long the candidate took for this, look by look.
    pub(super) fn ratios(&self, kind: &Kind) -> Vec<Option<f64>> {
        self.samples.iter().map(|sample| sample.ratio.get(kind).copied()).collect()
    }
}

impl Sample {
    fn of(status: &Status) -> Sample {
        let rows = figures::rows(status, None);
        Sample {
            rate: PerArm::from_fn(|arm| status.arms.get(arm).last_minute.per_second),
            ratio: rows.into_iter().filter_map(|row| row.ratio.map(|it| (row.kind, it))).collect(),
        }
    }
}

/// Guards that fire, and why.
fn fired(status: &Status) -> impl Iterator<Item = (Guard, &str)> {
    let guards = status.decisions.guards.iter();
    guards.filter(|it| it.state == GuardState::Fired).map(|it| (it.guard, it.why.as_str()))
}

/// What an event says against the candidate.
fn against(event: &Event) -> Option<Verdict> {
    let what = match event.happening.event.as_str() {
        "revert" => "was reverted",
        "shut" => "was shut out",
        "abort" => "was aborted",
        "undo" => "was taken back",
        _ => return None,
    };
    let detail = &event.happening.detail;
    let text = |key: &str| detail[key].as_str();
    let to = text("to").map(|to| format!("the {to}"));
    let subject = match (text("rollout"), to) {
        (Some(id), Some(to)) => format!("rollout {id} to {to}"),
        (None, Some(to)) => to,
        (_, None) => "the candidate".to_owned(),
    };
    let why = text("why").map(|why| format!(": {why}")).unwrap_or_default();
    let own = i32::try_from(std::process::id()).ok();
    let ours =
        matches!(event.happening.actor, Actor::Peer { pid: Some(pid), .. } if Some(pid) == own);
    Some(Verdict { why: format!("{subject} {what} by {}{why}", event.by), ours })
}

/// The lines of an event: the time of the day, what, who, why. The hold clock is no event.
fn lines(event: &Event) -> Vec<String> {
    if event.happening.event == "clock" {
        return Vec::new();
    }
    let mut value = serde_json::to_value(event).unwrap_or(Value::Null);
    let at = event.happening.at.get(11..19).unwrap_or(&event.happening.at).to_owned();
    value["at"] = at.into();
    // What each guard said is on the screen already.
    decide::record(&value).into_iter().take(1).collect()
}

#[cfg(test)]
mod tests;
