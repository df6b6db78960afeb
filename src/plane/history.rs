//! Keeps what reports are made of: every minute how the arms fare, every quarter of an hour what
//! became of each kind of work, and both at once where the weights change, so that what was counted
//! in a step of a rollout is that step's own.
//!
//! Does not know: what a report says, files.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::health::state::Standing;
use crate::judge::window::{Cell, Counts};
use crate::mcp::Method;
use crate::mcp::shown::plain;
use crate::names::{Arm, PerArm};
use crate::observe::tally::Tally;
use crate::records::history::{ArmMinute, Line, Minute, Row, Tools, Writer, millis};
use crate::route;

use super::Plane;
use super::figures::{figures, kind};

/// How often it is written how the arms fare.
const MINUTE: Duration = Duration::from_secs(60);
/// How often the figures of each kind of work are written.
const QUARTER: Duration = Duration::from_secs(900);
/// How long the end of the router waits for the disk.
const LAST_MAX: Duration = Duration::from_secs(2);

/// What is there at a moment, and whose time it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scene {
    /// The rollout that is running, and its step.
    rollout: Option<(String, usize)>,
    revision: u64,
    /// Gauges; the counts in it are not used.
    arms: PerArm<ArmMinute>,
    connections: u64,
    connections_max: u64,
}

impl Scene {
    /// Whether the weights are still the same decision.
    fn goes_on(&self, next: &Scene) -> bool {
        (&self.rollout, self.revision) == (&next.rollout, next.revision)
    }

    /// Adds what is there a little later: the most of everything, and the fewest servers that work.
    fn extend(&mut self, next: Scene) {
        let before = std::mem::replace(self, next);
        self.connections = self.connections.max(before.connections);
        for arm in Arm::ALL {
            let (now, before) = (self.arms.get_mut(arm), before.arms.get(arm));
            now.sessions = now.sessions.max(before.sessions);
            now.streams = now.streams.max(before.streams);
            now.up = now.up.or(before.up).map(|up| up.min(before.up.unwrap_or(up)));
        }
    }
}

/// Collects what the next lines say.
#[derive(Debug)]
pub(super) struct Recorder {
    writer: Writer,
    /// Since the last line of a minute, and of figures before that.
    minute: Counts,
    quarter: Counts,
    minute_began: Instant,
    quarter_began: Instant,
    scene: Option<Scene>,
    change: Change,
}

/// Whether the weights have changed since the last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    /// Yes, and the workers have counts from before that.
    Uncounted,
    /// Yes, and what they had has come in.
    Counted,
}

/// What a look leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// Nothing.
    Nothing,
    /// The weights have changed, and the workers have counts from before that.
    Collect,
    /// There is something to write.
    Write,
}

impl Recorder {
    pub(super) fn new(writer: Writer, now: Instant) -> Recorder {
        Recorder {
            writer,
            minute: Counts::default(),
            quarter: Counts::default(),
            minute_began: now,
            quarter_began: now,
            scene: None,
            change: Change::None,
        }
    }

    /// The workers' counts come in now.
    pub(super) fn collect(&mut self) {
        if self.change == Change::Uncounted {
            self.change = Change::Counted;
        }
    }

    /// Adds what a worker has counted.
    pub(super) fn add(&mut self, tally: &Tally) {
        self.minute.add(tally);
    }

    /// Looks at what is there.
    pub(super) fn look(
        &mut self,
        now: Instant,
        at: SystemTime,
        next: Scene,
        tools: &route::Tools,
    ) -> Looked {
        let since = |began: Instant| now.saturating_duration_since(began);
        let is_over = self.scene.as_ref().is_some_and(|scene| !scene.goes_on(&next));
        match &mut self.scene {
            // What was counted belongs to what was in force until now.
            Some(scene) if !is_over => scene.extend(next.clone()),
            Some(_) => {}
            None => self.scene = Some(next.clone()),
        }
        match self.change {
            Change::None if is_over => {
                self.change = Change::Uncounted;
                return Looked::Collect;
            }
            Change::Uncounted => return Looked::Nothing,
            Change::None | Change::Counted => self.change = Change::None,
        }
        let is_quarter = is_over || since(self.quarter_began) >= QUARTER;
        if !is_quarter && since(self.minute_began) < MINUTE {
            return Looked::Nothing;
        }
        let [minute, quarter] = self.lines(now, at, tools);
        if let Some(line) = minute {
            self.writer.push(line);
        }
        self.quarter.merge(&std::mem::take(&mut self.minute));
        self.minute_began = now;
        if is_quarter {
            if let Some(line) = quarter {
                self.writer.push(line);
            }
            self.quarter = Counts::default();
            self.quarter_began = now;
        }
        self.scene = Some(next);
        Looked::Write
    }

    /// What would be written now: a minute and figures, unless they would say nothing.
    pub(super) fn lines(
        &self,
        now: Instant,
        at: SystemTime,
        tools: &route::Tools,
    ) -> [Option<Line>; 2] {
        let Some(scene) = &self.scene else { return [None, None] };
        let at = millis(at);
        let span = |began| now.saturating_duration_since(began).as_millis() as u64;
        let minute = Minute {
            at,
            span: span(self.minute_began),
            arms: PerArm::from_fn(|arm| counted(scene.arms.get(arm), &self.minute, arm)),
            connections: scene.connections,
            connections_max: scene.connections_max,
        };
        let mut counts = self.quarter.clone();
        counts.merge(&self.minute);
        let figures = Tools {
            at,
            span: span(self.quarter_began),
            rollout: scene.rollout.as_ref().map(|(id, _)| id.clone()),
            step: scene.rollout.as_ref().map(|(_, step)| *step),
            revision: scene.revision,
            arms: PerArm::from_fn(|arm| rows(&counts, arm, tools)),
        };
        let has_time = minute.span > 0 || !self.minute.cells.is_empty();
        [
            has_time.then_some(Line::Minute(minute)),
            (!counts.cells.is_empty()).then_some(Line::Tools(figures)),
        ]
    }
}

/// An arm's gauges with its counts.
fn counted(gauges: &ArmMinute, counts: &Counts, arm: Arm) -> ArmMinute {
    let all = figures(&counts.of(arm, |_| true));
    let tools = counts.of(arm, |work| work.method == Method::CALL).latency;
    let quantile = |share| tools.quantile(share).map(|time| thousandths(time.as_secs_f64() * 1e3));
    ArmMinute {
        exchanges: all.exchanges(),
        faults: all.faults,
        errors: all.errors(),
        calls: tools.count(),
        p50: quantile(0.5),
        p95: quantile(0.95),
        ..gauges.clone()
    }
}

fn thousandths(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

fn rows(counts: &Counts, arm: Arm, tools: &route::Tools) -> Vec<Row> {
    let own = counts.cells.iter().filter(|(work, _)| work.arm == arm);
    let mut own: Vec<(_, &Cell)> = own.map(|(work, cell)| (kind(work, tools), cell)).collect();
    own.sort_unstable_by(|(one, _), (two, _)| one.cmp(two));
    own.into_iter().map(|(kind, cell)| Row { kind, figures: figures(cell) }).collect()
}

impl Plane {
    /// Goes on with the history; what is to be written is written elsewhere.
    pub(super) fn keep_history(&self, now: Instant) {
        let (scene, table) = (self.scene(), self.table());
        let recorder = &mut self.measures.borrow_mut().recorder;
        match recorder.look(now, SystemTime::now(), scene, &table.tools) {
            Looked::Nothing => {}
            Looked::Collect => self.uncounted.notify_one(),
            Looked::Write => {
                let writer = recorder.writer.clone();
                tokio::task::spawn_blocking(move || writer.flush());
            }
        }
    }

    /// Returns when the weights have changed and the workers have counts from before that, which
    /// should be brought in soon. For one that waits.
    pub async fn uncounted(&self) {
        self.uncounted.notified().await;
    }

    /// Writes what there is of the history, at the end of the router.
    pub async fn end_history(&self) {
        let writer = self.history_writer();
        self.history_so_far().into_iter().for_each(|line| writer.push(line));
        let written = tokio::task::spawn_blocking(move || writer.flush());
        if tokio::time::timeout(LAST_MAX, written).await.is_err() {
            tracing::warn!("the disk does not take the last minute of the history");
        }
    }

    /// Writes the history; a report flushes it, so that it finds what has just ended.
    pub fn history_writer(&self) -> Writer {
        self.measures.borrow().recorder.writer.clone()
    }

    /// What is counted and not yet due to be written.
    pub fn history_so_far(&self) -> Vec<Line> {
        let (table, measures) = (self.table(), self.measures.borrow());
        let lines = measures.recorder.lines(Instant::now(), SystemTime::now(), &table.tools);
        lines.into_iter().flatten().collect()
    }

    fn scene(&self) -> Scene {
        let (control, measures) = (self.control.borrow(), self.measures.borrow());
        let table = control.table();
        let (streams, sessions) = (measures.metrics.streams_open(), measures.join.sessions());
        let arm = |arm: Arm| {
            let endpoints = &table.arms.get(arm).endpoints;
            let views: Vec<_> = endpoints.iter().map(|it| self.board.view(it.id)).collect();
            let known = views.iter().flatten();
            let standings = known.clone().map(|view| view.state.standing());
            let told = standings.filter(|standing| *standing != Standing::Unknown);
            let (told, up) = told.fold((0, 0), |(told, up), standing| {
                (told + 1, up + u32::from(standing == Standing::Up))
            });
            let server = known.clone().find_map(|view| view.server.as_ref());
            ArmMinute {
                weight: table.split.weight(arm),
                effective: thousandths(table.effective.share(arm) * 100.0),
                sessions: *sessions.get(arm) as u64,
                streams: *streams.get(arm) as u64,
                endpoints: endpoints.len() as u32,
                up: (told > 0).then_some(up),
                version: server.map(|it| plain(&format!("{} {}", it.name, it.version))),
                ..ArmMinute::default()
            }
        };
        let state = control.state();
        Scene {
            rollout: control.running().map(|rollout| (rollout.id.clone(), rollout.step)),
            revision: state.revision,
            arms: PerArm::from_fn(arm),
            connections: measures.metrics.clients() as u64,
            connections_max: table.config.limits.connections as u64,
        }
    }
}

#[cfg(test)]
mod tests;
