//! Puts together what the journal and the history say of some days.
//!
//! Lines of the history are added up as they come: a month of them is not kept. Does not know: how
//! a report looks.

use std::collections::BTreeMap;

use crate::names::{Arm, PerArm};
use crate::records::figures::Figures;
use crate::records::history::{DAY, Line, Minute, Row, Tools, day};
use crate::records::journal::Record;

use super::case::{Now, deed};
use super::search::{id_of, is_over};
use super::thin::Thin;
use super::words;
use super::{DAYS_MAX, DayPeaks, Deed, Health, Numbers, Outage, Past, Period, Trend, VERSION};

/// Tools that are told.
const TOOLS_MAX: usize = 10;
/// Lines of a list.
const LIST_MAX: usize = 300;
/// Minutes that are no further apart than this follow one on the other.
const NEIGHBOUR: u64 = 5_000;
/// So many older records in a row are the end of the time; fewer were written while a clock was wrong.
const OLDER_MAX: u32 = 1_000;
/// A shorter line says nothing about a whole minute.
const MINUTE_MIN: u64 = 30_000;

/// Some days, as they are read.
#[derive(Debug)]
pub struct Days {
    now: Now,
    from: u64,
    /// Older records, one after the other.
    older: u32,
    incidents: Vec<Deed>,
    reloads: Vec<Deed>,
    left_out: u64,
    rollouts: Vec<Past>,
    thin: Thin,
    health: PerArm<Health>,
    peaks: BTreeMap<String, DayPeaks>,
    tools: BTreeMap<String, BTreeMap<String, PerArm<Figures>>>,
}

impl Days {
    /// So many days until now, 1 to 35.
    pub fn new(now: Now, days: u64) -> Days {
        let from = now.at.saturating_sub(days.clamp(1, DAYS_MAX) * DAY);
        Days {
            thin: Thin::new(from, now.at),
            now,
            from,
            older: 0,
            incidents: Vec::new(),
            reloads: Vec::new(),
            left_out: 0,
            rollouts: Vec::new(),
            health: PerArm::default(),
            peaks: BTreeMap::new(),
            tools: BTreeMap::new(),
        }
    }

    /// The time whose history is wanted, in milliseconds since 1970.
    pub fn span(&self) -> (u64, u64) {
        (self.from, self.now.at)
    }

    /// Takes the next older record, the newest first; `false` once older ones do not matter.
    pub fn record(&mut self, record: &Record) -> bool {
        let Some(at) = words::at(record) else { return true };
        if at < self.from {
            self.older += 1;
            return self.older < OLDER_MAX;
        }
        self.older = 0;
        if record.event == "reload" {
            self.left_out += push(&mut self.reloads, deed(record));
        }
        if is_incident(record) {
            self.left_out += push(&mut self.incidents, deed(record));
        }
        if let Some(id) = id_of(record) {
            self.past(id, at, record);
        }
        true
    }

    fn past(&mut self, id: String, at: u64, record: &Record) {
        let known = self.rollouts.iter().rposition(|past| past.id == id);
        if known.is_none() && self.rollouts.len() >= LIST_MAX {
            return;
        }
        let place = known.unwrap_or(self.rollouts.len());
        if known.is_none() {
            let state = words::text(&record.detail, "state");
            self.rollouts.push(Past {
                id,
                began: None,
                ended: None,
                to: None,
                by: None,
                state: state.unwrap_or_else(|| "reverted".to_owned()),
                why: words::text(&record.detail, "why"),
            });
        }
        let past = &mut self.rollouts[place];
        past.to = past.to.or_else(|| record.detail["to"].as_str()?.parse().ok());
        if is_over(record) {
            past.ended = Some(at);
        }
        if record.event == "rollout-start" || record.detail["rollout"].is_null() {
            past.began = Some(at);
            past.by = Some(record.actor.to_string());
        }
    }

    /// Takes a line of the history, the oldest first.
    pub fn add(&mut self, line: &Line) {
        match line {
            Line::Minute(minute) => self.minute(minute),
            Line::Tools(tools) => self.tools(tools),
        }
    }

    fn minute(&mut self, minute: &Minute) {
        self.thin.add(minute);
        let day = day(minute.at);
        let peaks = self.peaks.entry(day.clone()).or_default();
        let sum = |of: fn(&crate::records::history::ArmMinute) -> u64| {
            Arm::ALL.into_iter().map(|arm| of(minute.arms.get(arm))).sum::<u64>()
        };
        let exchanges = sum(|arm| arm.exchanges);
        let a_minute = exchanges as f64 * 60_000.0 / minute.span.max(MINUTE_MIN) as f64;
        peaks.day = day;
        peaks.exchanges += exchanges;
        peaks.a_minute = peaks.a_minute.max(a_minute.round() as u64);
        peaks.sessions = peaks.sessions.max(sum(|arm| arm.sessions));
        peaks.streams = peaks.streams.max(sum(|arm| arm.streams));
        peaks.connections = peaks.connections.max(minute.connections);
        peaks.connections_max = minute.connections_max;
        for arm in Arm::ALL {
            let own = minute.arms.get(arm);
            if let Some(up) = own.up {
                health(self.health.get_mut(arm), minute, up, own.endpoints);
            }
        }
    }

    fn tools(&mut self, tools: &Tools) {
        let day = day(tools.at);
        for arm in Arm::ALL {
            for Row { kind, figures } in
                tools.arms.get(arm).iter().filter(|it| !it.kind.tool.is_empty())
            {
                let days = self.tools.entry(kind.tool.clone()).or_default();
                days.entry(day.clone()).or_default().get_mut(arm).merge(figures);
            }
        }
    }

    /// The report; `unreadable` lines of the history are missing in it.
    pub fn finish(self, unreadable: u64) -> Period {
        let Days { now, from, thin, .. } = self;
        let trend = |(tool, days): (String, BTreeMap<String, PerArm<Figures>>)| {
            let short =
                |figures: &PerArm<Figures>| PerArm::from_fn(|arm| Numbers::of(figures.get(arm)));
            let days: Vec<_> = days.iter().map(|(day, it)| (day.clone(), short(it))).collect();
            let calls = days.iter().map(|(_, it)| it.primary.calls + it.secondary.calls).sum();
            Trend { name: words::line(&tool), calls, days }
        };
        let mut trends: Vec<_> = self.tools.into_iter().map(trend).collect();
        trends.sort_by_key(|trend| std::cmp::Reverse(trend.calls));
        trends.truncate(TOOLS_MAX);
        Period {
            version: VERSION,
            made: words::stamp(now.at),
            from,
            to: now.at,
            covered: thin.covers(now.at.saturating_sub(from)),
            unreadable,
            points: thin.points(),
            health: self.health,
            trends,
            incidents: self.incidents,
            rollouts: self.rollouts,
            days: self.peaks.into_values().collect(),
            reloads: self.reloads,
            left_out: self.left_out,
        }
    }
}

/// Adds a line to a list; returns 1 if there is no room for it.
fn push(list: &mut Vec<Deed>, deed: Deed) -> u64 {
    if list.len() >= LIST_MAX {
        return 1;
    }
    list.push(deed);
    0
}

/// Adds a minute in which so many servers worked.
fn health(health: &mut Health, minute: &Minute, up: u32, endpoints: u32) {
    health.known += minute.span;
    if up >= endpoints {
        health.up += minute.span;
        return;
    }
    let began = minute.at.saturating_sub(minute.span);
    if let Some(last) = health.outages.last_mut()
        && began <= last.ended + NEIGHBOUR
    {
        last.ended = minute.at;
        (last.up, last.endpoints) = (last.up.min(up), endpoints);
        return;
    }
    health.outages.push(Outage { began, ended: minute.at, up, endpoints });
    if health.outages.len() > LIST_MAX {
        health.outages.remove(0);
        health.left_out += 1;
    }
}

/// Whether somebody should look into it.
fn is_incident(record: &Record) -> bool {
    let detail = &record.detail;
    match record.event.as_str() {
        "revert" | "abort" | "shut" | "common-cause" | "lost" | "state" | "undo" => true,
        "start" => detail["damaged"].is_string() || detail["torn"] == true,
        "alert-raise" | "alert-notification" => {
            let raised = detail["raised"].as_array().into_iter().flatten();
            raised.into_iter().any(|alert| alert["severity"] == "critical")
        }
        _ => false,
    }
}
