//! What an arm still has to do, and whether its servers can be stopped.
//!
//! Does not know: who stops them.

use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::time::Instant;

use crate::control::ChangeError;
use crate::names::{Arm, PerArm};
use crate::observe::join::LEFT_AFTER;
use crate::records::journal::Actor;

use super::Plane;

/// What an arm still has to do.
#[derive(Clone, Debug)]
pub struct Draining {
    /// Somebody drains it.
    pub drained: bool,
    /// Its share of new work in percent.
    pub weight: u8,
    /// Sessions that were used within the time asked for.
    pub sessions: usize,
    /// Sessions that were not, and that count as left.
    pub idle: usize,
    /// Event streams open to clients.
    pub streams: usize,
    /// Exchanges in flight, or waiting to be.
    pub in_flight: usize,
    /// When it last had something to do since the start of the router.
    pub last_activity: Option<SystemTime>,
    /// Why its servers should not be stopped yet, a sentence each.
    pub why: Vec<String>,
}

/// What was noticed of the arms as time went by.
#[derive(Debug, Default)]
pub(super) struct Activity {
    last: PerArm<Option<SystemTime>>,
    /// It was told that nothing is left on the arm that is drained.
    told: bool,
}

impl Plane {
    /// What an arm still has to do; sessions that were idle for `idle` count as left.
    pub fn draining(&self, arm: Arm, idle: Duration) -> Draining {
        let (table, control, measures) = (self.table(), self.control.borrow(), self.measures());
        let work = table.arms.get(arm).all().map(|it| it.in_flight() + it.room().waiting());
        let sessions = measures.join.busy(arm, Instant::now(), idle);
        let mut draining = Draining {
            drained: control.drained() == Some(arm),
            weight: table.split.weight(arm),
            sessions,
            idle: measures.join.sessions().get(arm).saturating_sub(sessions),
            streams: *measures.metrics.streams_open().get(arm),
            in_flight: work.sum(),
            last_activity: *self.activity.borrow().last.get(arm),
            why: Vec::new(),
        };
        if table.stable == arm {
            draining.why.push(format!("the {arm} is the stable arm"));
        } else if !draining.drained {
            draining.why.push(format!("the {arm} is not drained: it may get work at any time"));
        }
        for (count, what) in [
            (draining.in_flight, "in flight"),
            (draining.streams, "event streams open"),
            (draining.sessions, "sessions in use"),
        ] {
            if count > 0 {
                draining.why.push(format!("{count} {what}"));
            }
        }
        let seen = self.uptime();
        if control.is_continued() && seen < idle {
            let (seen, idle) = (whole(seen), whole(idle));
            draining.why.push(format!(
                "the router runs for {seen} only: sessions of before may come back until {idle} have passed"
            ));
        }
        draining
    }

    /// Gives an arm no new work.
    pub fn drain(&self, actor: &Actor, arm: Arm, reason: Option<&str>) -> Result<(), ChangeError> {
        self.control.borrow_mut().drain(actor, arm, reason)?;
        self.activity.borrow_mut().told = false;
        self.steered();
        Ok(())
    }

    /// Lets it get work again.
    pub fn undrain(&self, actor: &Actor, arm: Arm) -> Result<(), ChangeError> {
        self.control.borrow_mut().undrain(actor, arm)?;
        self.steered();
        Ok(())
    }

    /// Notes which arms have something to do.
    pub(super) fn note_activity(&self, active: &PerArm<bool>) {
        let mut activity = self.activity.borrow_mut();
        for arm in Arm::ALL.into_iter().filter(|arm| *active.get(*arm)) {
            *activity.last.get_mut(arm) = Some(SystemTime::now());
        }
    }

    /// Tells once that nothing is left on the arm that is drained.
    pub(super) fn tell_drained(&self) {
        let Some(arm) = self.control.borrow().drained() else { return };
        if self.activity.borrow().told || !self.draining(arm, LEFT_AFTER).why.is_empty() {
            return;
        }
        self.activity.borrow_mut().told = true;
        self.control.borrow_mut().note("drained", &Actor::Router, json!({ "arm": arm }));
    }
}

fn whole(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(time.as_secs()))
}
