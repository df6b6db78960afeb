//! How the rollout has come to where it is, and which arms were validated, followed in the journal.
//!
//! The journal has it all; this is the part that a decision needs at once, without reading files.
//! Does not know: what is decided by it.

use std::path::Path;

use serde_json::Value;

use crate::names::{Arm, PerArm};
use crate::records::journal::{self, Actor, Order, Record};

use super::Plane;

/// Lines that are looked at when the process begins.
const LINES_MAX: usize = 5000;

/// What is known of the past.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The number of the last line that was followed.
    seen: u64,
    rollout: Option<String>,
    passages: Vec<Passage>,
    validated: PerArm<Option<Validated>>,
}

/// The way to a step of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    /// The step that was left, from 0.
    pub(super) from: usize,
    /// The step that it led to.
    pub(super) to: usize,
    /// Who went it; `None`: the rollout by its plan.
    pub(super) by: Option<String>,
}

/// What the last validation of an arm has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validated {
    pub(super) at: String,
    /// The arm can be given work.
    pub(super) is_fit: bool,
    /// Checks that failed; without any it may be that some could not tell.
    pub(super) failed: u64,
}

/// What matters to baselines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// A rollout has begun.
    Began { rollout: String, to: Arm },
    /// It has ended well.
    Promoted { rollout: String, to: Arm },
    /// An arm gets another version.
    Replaced(Arm),
}

impl Progress {
    /// What the journal knows when the process begins, with this rollout running.
    pub(super) fn find(state_dir: &Path, running: Option<&str>) -> Progress {
        let mut progress = Progress { rollout: running.map(str::to_owned), ..Progress::default() };
        let Ok(records) = journal::read(state_dir, Order::NewestFirst) else { return progress };
        // Without the states, which are most of it and are not asked for here.
        let bare = |it: Record| matters(&it.event).then_some(Record { state: None, ..it });
        let newest = records.take(LINES_MAX).filter_map(Result::ok);
        let newest: Vec<_> = newest.filter_map(bare).collect();
        for record in newest.iter().rev() {
            progress.take(&record.event, &record.actor, &record.at, &record.detail);
        }
        // Of the rollout before nobody asks.
        if progress.rollout.as_deref() != running {
            (progress.rollout, progress.passages) = (running.map(str::to_owned), Vec::new());
        }
        progress
    }

    /// Takes a line of the journal.
    fn take(&mut self, event: &str, actor: &Actor, at: &str, detail: &Value) -> Option<News> {
        let rollout = detail["rollout"].as_str();
        let arm = |key: &str| detail[key].as_str().and_then(|text| text.parse::<Arm>().ok());
        match event {
            "validation" => {
                let is_fit = detail["fit"] == true;
                let failed = detail["failed"].as_u64().unwrap_or(0);
                *self.validated.get_mut(arm("arm")?) =
                    Some(Validated { at: at.to_owned(), is_fit, failed });
                None
            }
            // Another version from now on; it is validated before the deploy ends.
            "deploy" | "rollback" => {
                let arm = arm("arm")?;
                *self.validated.get_mut(arm) = None;
                Some(News::Replaced(arm))
            }
            "rollout-start" => {
                let (rollout, to) = (rollout?.to_owned(), arm("to")?);
                (self.rollout, self.passages) = (Some(rollout.clone()), Vec::new());
                Some(News::Began { rollout, to })
            }
            "step" | "promote" | "promote --full" | "promoted" => {
                let (rollout, to) = (rollout?.to_owned(), arm("to")?);
                if detail["state"] == "promoted" {
                    return Some(News::Promoted { rollout, to });
                }
                let step = detail["step"].as_u64()? as usize;
                let by = (*actor != Actor::Rollout).then(|| format!("{actor} ({event})"));
                let from = self.passages.last().map_or(0, |it| it.to);
                if self.rollout.as_ref() == Some(&rollout) {
                    self.passages.push(Passage { from, to: step, by });
                }
                None
            }
            _ => None,
        }
    }

    /// How this rollout has come to its step, if that is known.
    pub(super) fn passages(&self, rollout: &str) -> &[Passage] {
        if self.rollout.as_deref() == Some(rollout) { &self.passages } else { &[] }
    }

    /// What the last validation of an arm since its last deploy has found.
    pub(super) fn validated(&self, arm: Arm) -> Option<&Validated> {
        self.validated.get(arm).as_ref()
    }
}

/// Whether a line of this kind is taken.
fn matters(event: &str) -> bool {
    let ours = ["validation", "deploy", "rollback", "rollout-start", "step"];
    ours.contains(&event) || event.starts_with("promote")
}

impl Plane {
    /// Takes over what has happened since the last time; says what matters to baselines.
    pub(super) fn follow_journal(&self) -> Vec<News> {
        let (control, mut progress) = (self.control.borrow(), self.progress.borrow_mut());
        let mut news = Vec::new();
        for line in control.journal().happenings(progress.seen) {
            news.extend(progress.take(&line.event, &line.actor, &line.at, &line.detail));
        }
        progress.seen = control.journal().last_happening();
        news
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PEER: Actor = Actor::Peer { uid: 1, gid: 2, pid: None };

    fn of_rollout(step: usize, state: &str) -> Value {
        json!({ "rollout": "r2", "to": "secondary", "step": step, "state": state })
    }

    #[test]
    fn steps_are_followed_with_those_who_went_them() {
        let mut progress = Progress::default();
        let mut take = |event: &str, actor: &Actor, detail: Value| {
            assert!(matters(event) || event == "hold");
            progress.take(event, actor, "2026", &detail)
        };
        let (rollout, to) = ("r2".to_owned(), Arm::Secondary);
        let began = take("rollout-start", &PEER, of_rollout(0, "progressing"));
        assert_eq!(began, Some(News::Began { rollout: rollout.clone(), to }));
        assert_eq!(take("step", &Actor::Rollout, of_rollout(1, "progressing")), None);
        assert_eq!(take("hold", &Actor::Rollout, of_rollout(1, "holding")), None);
        assert_eq!(take("promote --full", &PEER, of_rollout(4, "baking")), None);
        let promoted = take("promote", &PEER, of_rollout(4, "promoted"));
        assert_eq!(promoted, Some(News::Promoted { rollout, to }));
        let by = Some("uid 1 gid 2 (promote --full)".to_owned());
        let wanted = [Passage { from: 0, to: 1, by: None }, Passage { from: 1, to: 4, by }];
        assert_eq!(progress.passages("r2"), wanted);
        assert_eq!(progress.passages("r3"), []);
    }

    #[test]
    fn a_deploy_makes_a_validation_old() {
        let mut progress = Progress::default();
        let mut take = |event: &str, detail: Value| {
            let news = progress.take(event, &PEER, "2026", &detail);
            assert_eq!(news, (event == "deploy").then_some(News::Replaced(Arm::Secondary)));
            progress.validated(Arm::Secondary).map(|it| (it.is_fit, it.failed))
        };
        let of = |arm: &str, fit, failed| json!({ "arm": arm, "fit": fit, "failed": failed });
        assert_eq!(take("validation", of("primary", true, 0)), None);
        assert_eq!(take("validation", of("secondary", true, 0)), Some((true, 0)));
        assert_eq!(take("validation", of("secondary", false, 0)), Some((false, 0)));
        assert_eq!(take("validation", of("secondary", false, 2)), Some((false, 2)));
        assert_eq!(take("validation", json!({ "arm": "secondary" })), Some((false, 0)));
        assert_eq!(take("deploy", json!({ "arm": "secondary" })), None);
        assert_eq!(take("deploy-done", json!({ "arm": "secondary" })), None);
        assert_eq!(take("validation", json!({ "nothing": 1 })), None);
    }
}
