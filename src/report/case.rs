//! Puts together what the records and the history say of a rollout.
//!
//! Does not know: how the records were found, how a report looks.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::names::{Arm, PerArm, Split};
use crate::records::figures::{Figures, Kind};
use crate::records::history::{Line, Row};
use crate::records::journal::Record;

use super::search::{Found, is_deploy, is_over};
use super::thin::Thin;
use super::words;
use super::{Case, Catalogue, Decision, Deed, Ending, Numbers, ToolRow, VERSION, Verdict, Weights};

/// Decisions that are told: so many of the first, and of the last.
const DECISIONS_MAX: (usize, usize) = (100, 200);
/// Milliseconds after its end in which something is told with it: records are not as exact as that.
const AFTER: u64 = 1_000;
/// Lines of any other list.
const DEEDS_MAX: usize = 500;
/// What a record of a decision says that is told in its own place.
const TOLD: [&str; 15] = [
    "before",
    "after",
    "rollout",
    "to",
    "step",
    "state",
    "why",
    "guard",
    "verdicts",
    "versions",
    "catalogues",
    "config",
    "catalogue_changes",
    "allow_breaking",
    "revision",
];

/// What is known when the report is made.
#[derive(Clone, Debug)]
pub struct Now {
    /// In milliseconds since 1970.
    pub at: u64,
    /// The rollout that is running.
    pub running: Option<String>,
}

/// The history of a rollout, as it is read.
#[derive(Debug)]
pub struct Filling {
    found: Found,
    now: Now,
    ending: Ending,
    ended: u64,
    thin: Thin,
    tools: BTreeMap<Kind, PerArm<Figures>>,
    versions: PerArm<Option<String>>,
}

impl Found {
    /// Goes on to the history between [`Filling::span`].
    pub fn fill(self, now: Now) -> Filling {
        let over = self.own().find(|record| is_over(record)).and_then(words::at);
        let (ending, ended) = match over {
            // A clock that was set back meanwhile makes no time run backwards.
            Some(at) => (Ending::Over, at.max(self.began)),
            None if now.running.as_ref() == Some(&self.id) => {
                (Ending::Running, now.at.max(self.began))
            }
            None => (Ending::Lost, self.last_heard),
        };
        Filling {
            thin: Thin::new(self.began, ended),
            found: self,
            now,
            ending,
            ended,
            tools: BTreeMap::new(),
            versions: PerArm::default(),
        }
    }
}

impl Filling {
    /// The time whose history is wanted, in milliseconds since 1970.
    pub fn span(&self) -> (u64, u64) {
        (self.found.began, self.ended)
    }

    /// Takes a line of the history.
    pub fn add(&mut self, line: Line) {
        match line {
            Line::Minute(minute) => {
                for arm in Arm::ALL {
                    let version = self.versions.get_mut(arm);
                    *version = minute.arms.get(arm).version.clone().or(version.take());
                }
                // The one that was running when it began has the weights from before.
                if minute.at.saturating_sub(minute.span / 2) >= self.found.began {
                    self.thin.add(&minute);
                }
            }
            Line::Tools(tools) => {
                let is_its = match self.found.revision {
                    Some(revision) => tools.rollout.is_none() && tools.revision == revision,
                    None => tools.rollout.as_ref() == Some(&self.found.id),
                };
                for arm in Arm::ALL.into_iter().filter(|_| is_its) {
                    for Row { kind, figures } in tools.arms.get(arm) {
                        let sums = self.tools.entry(kind.clone()).or_default();
                        sums.get_mut(arm).merge(figures);
                    }
                }
            }
        }
    }

    /// The report; `unreadable` lines of the history are missing in it.
    pub fn finish(self, unreadable: u64) -> Case {
        let Filling { found, now, ending, ended, thin, tools, versions } = self;
        let header = Header::of(&found);
        let (decisions, decisions_left_out) = decisions(&found, header.reason.as_deref());
        let said = |arm: Arm| {
            let own = |record: &Record| words::text(&record.detail["versions"], arm.as_str());
            found.own().find_map(own).or_else(|| versions.get(arm).as_deref().map(words::line))
        };
        let inside = |record: &&Record| words::at(record).is_none_or(|at| at <= ended + AFTER);
        let deeds = |is_meant: fn(&str) -> bool| -> Vec<Deed> {
            let meant = found.records.iter().filter(inside).filter(|it| is_meant(&it.event));
            meant.take(DEEDS_MAX).map(deed).collect()
        };
        let is_its = |deed: &Deed| {
            let arm = deed.facts.iter().find(|(key, _)| key == "arm");
            arm.zip(header.to).is_none_or(|((_, arm), to)| to.as_str() == arm)
        };
        Case {
            version: VERSION,
            made: words::stamp(now.at),
            id: found.id.clone(),
            ending,
            began: found.began,
            ended,
            versions: PerArm::from_fn(said),
            config: found.own().find_map(|it| words::text(&it.detail, "config")),
            plan: plan(&found),
            weights: weights(&found, ended),
            points: thin.points(),
            covered: thin.covers(ended.saturating_sub(found.began)),
            unreadable,
            tools: rows(&tools),
            decisions,
            decisions_left_out,
            catalogue: catalogue(&found),
            validations: deeds(|it| it == "validation").into_iter().filter(is_its).collect(),
            reloads: deeds(|it| it == "reload"),
            alerts: deeds(|it| it.starts_with("alert")),
            deploys: deeds(is_deploy),
            deeds: deeds(|_| true),
            deeds_left_out: found.records.len().saturating_sub(DEEDS_MAX) as u64 + found.left_out,
            to: header.to,
            by: header.by,
            reason: header.reason,
            state: header.state,
            why: header.why,
            guard: header.guard,
        }
    }
}

/// What the first and the last record of a rollout say.
struct Header {
    to: Option<Arm>,
    by: String,
    reason: Option<String>,
    state: String,
    why: Option<String>,
    guard: Option<String>,
}

impl Header {
    fn of(found: &Found) -> Header {
        let start = found.own().next();
        let last = found.own().filter(|record| record.detail["state"].is_string()).last();
        let revert = found.own().filter(|record| record.event == "revert").last();
        let told = |record: Option<&Record>, key: &str| words::text(&record?.detail, key);
        let reason = told(start.filter(|record| record.event == "rollout-start"), "why");
        let end = revert.or(last);
        let state = told(last, "state").or_else(|| revert.map(|_| "reverted".to_owned()));
        Header {
            to: found.own().find_map(|it| it.detail["to"].as_str()?.parse().ok()),
            by: start.map(|record| record.actor.to_string()).unwrap_or_default(),
            // Where nothing else is to be said, records repeat what it was started for.
            why: told(end, "why").filter(|why| Some(why) != reason.as_ref()),
            guard: told(end, "guard"),
            state: state.unwrap_or_else(|| "unknown".to_owned()),
            reason,
        }
    }
}

fn plan(found: &Found) -> Vec<(u8, u64)> {
    let start = found.own().find(|record| record.event == "rollout-start");
    let rollout = start.and_then(Record::state).and_then(|state| state.rollout);
    let steps = rollout.map(|rollout| rollout.plan.steps).unwrap_or_default();
    steps.iter().map(|step| (step.weight, step.hold.as_millis() as u64)).collect()
}

fn split(value: &Value) -> Option<Split> {
    serde_json::from_value(value.clone()).ok()
}

/// The weights: those before, and each change.
fn weights(found: &Found, ended: u64) -> Vec<Weights> {
    let mut weights: Vec<Weights> = Vec::new();
    let inside = found.records.iter().filter_map(|record| Some((words::at(record)?, record)));
    for (at, record) in inside.filter(|(at, _)| (found.began..=ended + AFTER).contains(at)) {
        let (before, after) = (split(&record.detail["before"]), split(&record.detail["after"]));
        if weights.is_empty()
            && let Some(split) = before
        {
            weights.push(Weights { at: found.began, split });
        }
        let last = weights.last().map(|it| it.split);
        if let Some(split) = after.filter(|after| Some(*after) != last) {
            weights.push(Weights { at, split });
        }
    }
    weights.truncate(DEEDS_MAX);
    weights
}

fn decisions(found: &Found, reason: Option<&str>) -> (Vec<Decision>, u64) {
    let mut all: Vec<_> = found.own().filter_map(decision).collect();
    for decision in all.iter_mut().filter(|it| it.event != "rollout-start") {
        decision.why.take_if(|why| Some(why.as_str()) == reason);
    }
    let (first, last) = DECISIONS_MAX;
    let left_out = all.len().saturating_sub(first + last);
    all.drain(first.min(all.len())..(first + left_out).min(all.len()));
    (all, left_out as u64)
}

fn decision(record: &Record) -> Option<Decision> {
    let detail = &record.detail;
    let verdict = |it: &Value| Verdict {
        guard: words::text(it, "guard").unwrap_or_default(),
        state: words::text(it, "state").unwrap_or_default(),
        why: words::text(it, "why").unwrap_or_default(),
        evidence: it["evidence"].clone(),
    };
    let verdicts = detail["verdicts"].as_array().into_iter().flatten();
    Some(Decision {
        at: words::at(record)?,
        event: words::line(&record.event),
        by: record.actor.to_string(),
        before: split(&detail["before"]),
        after: split(&detail["after"]),
        step: detail["step"].as_u64().map(|step| step + 1),
        state: words::text(detail, "state"),
        why: words::text(detail, "why"),
        verdicts: verdicts.take(16).map(verdict).collect(),
        facts: words::facts(detail, &TOLD),
    })
}

fn catalogue(found: &Found) -> Catalogue {
    let digest =
        |record: &Record, arm: Arm| words::text(&record.detail["catalogues"], arm.as_str());
    let start = found.own().find(|record| record.detail["catalogues"].is_object());
    let last = found.own().filter(|record| record.detail["catalogues"].is_object()).last();
    let digests = PerArm::from_fn(|arm| digest(start?, arm));
    let changed = Arm::ALL.into_iter().filter(|arm| {
        let later = last.and_then(|record| digest(record, *arm));
        later.is_some() && later != *digests.get(*arm)
    });
    let detail = start.map_or(&Value::Null, |record| &record.detail);
    let told = &detail["catalogue_changes"];
    let change = |it: &Value| {
        let said = |key: &str| words::text(it, key).unwrap_or_default();
        let place = [said("list"), said("name"), said("path")];
        let place: Vec<_> = place.iter().map(String::as_str).filter(|it| !it.is_empty()).collect();
        (said("class"), place.join(" "), said("text"))
    };
    let changes = told["changes"].as_array().into_iter().flatten();
    Catalogue {
        changed: changed.collect(),
        digests,
        worst: words::text(told, "worst"),
        changes: changes.take(100).map(change).collect(),
        left_out: told["left_out"].as_u64().unwrap_or_default(),
        allowed: detail["allow_breaking"] == true,
    }
}

fn rows(tools: &BTreeMap<Kind, PerArm<Figures>>) -> Vec<ToolRow> {
    let row = |(kind, figures): (&Kind, &PerArm<Figures>)| ToolRow {
        name: words::line(kind.name()),
        is_tool: !kind.tool.is_empty(),
        arms: PerArm::from_fn(|arm| Numbers::of(figures.get(arm))),
    };
    let mut rows: Vec<_> = tools.iter().map(row).collect();
    let calls = |row: &ToolRow| row.arms.primary.calls + row.arms.secondary.calls;
    // Tools first: they are what clients come for.
    rows.sort_by_key(|row| (!row.is_tool, std::cmp::Reverse(calls(row))));
    rows
}

/// A record in words.
pub(super) fn deed(record: &Record) -> Deed {
    let mut facts = Vec::new();
    let (before, after) = (split(&record.detail["before"]), split(&record.detail["after"]));
    if let (Some(before), Some(after)) = (before, after) {
        facts.push(("weights".to_owned(), change(before, after)));
    }
    let mut but = vec!["before", "after", "verdicts", "catalogues", "catalogue_changes", "config"];
    if record.detail["catalogues"].is_object() {
        // A decision of the router: they are told with it.
        but.extend(["versions", "revision"]);
    }
    facts.extend(words::facts(&record.detail, &but));
    Deed {
        at: words::at(record).unwrap_or_default(),
        event: words::line(&record.event),
        by: record.actor.to_string(),
        facts,
    }
}

/// A change of the weights, primary first.
pub(super) fn change(before: Split, after: Split) -> String {
    let told = |it: Split| format!("{}:{}", it.weight(Arm::Primary), it.weight(Arm::Secondary));
    if before == after { told(after) } else { format!("{} → {}", told(before), told(after)) }
}
