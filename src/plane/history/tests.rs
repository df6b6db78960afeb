//! Lines of made-up time and counts.

use crate::mcp::Era;
use crate::names::{Blame, Outcome};
use crate::observe::latency::Sketch;
use crate::observe::tally::{Count, Labels};
use crate::records::history::read;
use crate::route::tools::ToolLabel;

use super::*;

fn calls(arm: Arm, tools: &route::Tools, count: u64) -> Tally {
    let labels = Labels {
        arm: Some(arm),
        endpoint: None,
        era: Era::Legacy,
        method: Method::CALL,
        tool: tools.known("get").unwrap_or(ToolLabel::OTHER),
        outcome: Outcome::Ok,
        blame: Blame::Nobody,
        status: 2,
    };
    let mut latency = Sketch::default();
    (0..count).for_each(|_| latency.add(Duration::from_millis(20)));
    let mut tally = Tally::default();
    tally.exchanges.insert(labels, Count { exchanges: count, bytes: 0, latency });
    tally
}

fn scene(rollout: Option<(&str, usize)>, revision: u64, sessions: u64, up: Option<u32>) -> Scene {
    let arm = ArmMinute { sessions, up, ..ArmMinute::default() };
    Scene {
        rollout: rollout.map(|(id, step)| (id.to_owned(), step)),
        revision,
        arms: PerArm::from_fn(|_| arm.clone()),
        connections: 1,
        connections_max: 10,
    }
}

/// A recorder, what it has to know of tools, and where its lines go.
fn recorder() -> (Recorder, route::Tools, tempfile::TempDir, Instant) {
    let dir = tempfile::tempdir().unwrap();
    let names = Some(vec!["get".to_owned()]);
    let tools = route::Tools::default().with(&PerArm { primary: names.clone(), secondary: names });
    let now = Instant::now();
    (Recorder::new(Writer::new(dir.path()), now), tools, dir, now)
}

fn written(recorder: &Recorder, dir: &tempfile::TempDir) -> (Vec<Minute>, Vec<Tools>) {
    recorder.writer.flush();
    let (mut minutes, mut figures) = (Vec::new(), Vec::new());
    let add = |line| match line {
        Line::Minute(minute) => minutes.push(minute),
        Line::Tools(tools) => figures.push(tools),
    };
    read(dir.path(), 0, millis(SystemTime::UNIX_EPOCH + Duration::from_secs(86_400)), add).unwrap();
    (minutes, figures)
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

#[test]
fn a_line_a_minute_and_figures_each_quarter() {
    let (mut recorder, tools, dir, start) = recorder();
    for second in 1..=1800 {
        let now = start + Duration::from_secs(second);
        recorder.collect();
        recorder.add(&calls(Arm::Primary, &tools, 2));
        // One busy second in the first minute, and one without a server.
        let odd = second == 30;
        let scene = scene(None, 1, if odd { 9 } else { 4 }, Some(u32::from(!odd)));
        recorder.look(now, at(second), scene, &tools);
    }
    let (minutes, figures) = written(&recorder, &dir);
    assert_eq!(minutes.len(), 30);
    assert!(minutes.iter().all(|it| it.span == 60_000 && it.arms.primary.exchanges == 120));
    assert_eq!((minutes[0].arms.primary.sessions, minutes[0].arms.primary.up), (9, Some(0)));
    assert_eq!((minutes[1].arms.primary.sessions, minutes[1].arms.primary.up), (4, Some(1)));
    let p50 = minutes[5].arms.primary.p50.unwrap();
    assert!((19.5..20.5).contains(&p50), "{p50}");
    assert_eq!((minutes[5].arms.secondary.exchanges, minutes[5].arms.secondary.p50), (0, None));
    let counts: Vec<_> = figures.iter().map(|it| it.arms.primary[0].figures.exchanges()).collect();
    assert_eq!(counts, [1800, 1800]);
    assert_eq!(figures[0].arms.primary[0].kind.name(), "get");
}

#[test]
fn what_a_step_has_counted_is_its_own() {
    let (mut recorder, tools, dir, start) = recorder();
    let plan = [(10, None, 1), (95, Some(("r2", 0)), 2), (130, Some(("r2", 1)), 3), (140, None, 4)];
    let mut second = 0;
    for (until, rollout, revision) in plan {
        // The look that finds the change comes after the counts of the second before it.
        while second < until {
            second += 1;
            let now = start + Duration::from_secs(second);
            recorder.collect();
            recorder.add(&calls(Arm::Secondary, &tools, 1));
            let scene = scene(rollout, revision, 0, None);
            if recorder.look(now, at(second), scene.clone(), &tools) == Looked::Collect {
                recorder.collect();
                recorder.look(now, at(second), scene, &tools);
            }
        }
    }
    let now = start + Duration::from_secs(second);
    let rest = recorder.lines(now, at(second), &tools);
    let (minutes, mut figures) = written(&recorder, &dir);
    for line in rest.into_iter().flatten() {
        if let Line::Tools(tools) = line {
            figures.push(tools);
        }
    }
    let told = |it: &Tools| (it.rollout.clone(), it.step, it.arms.secondary[0].figures.exchanges());
    let r2 = || Some("r2".to_owned());
    let told: Vec<_> = figures.iter().map(told).collect();
    assert_eq!(told, [(None, None, 11), (r2(), Some(0), 85), (r2(), Some(1), 35), (None, None, 9)]);
    assert_eq!(minutes.len(), 4, "{minutes:?}");
    assert_eq!(minutes.iter().map(|it| it.arms.secondary.exchanges).sum::<u64>(), 131);
}

#[test]
fn a_change_between_two_collections_waits_for_the_counts() {
    let (mut recorder, tools, dir, start) = recorder();
    let later = start + Duration::from_millis(600);
    let look = |recorder: &mut Recorder, now, rollout| {
        recorder.look(now, at(1), scene(rollout, 1, 0, None), &tools)
    };
    assert_eq!(look(&mut recorder, start, None), Looked::Nothing);
    let begun = Some(("r2", 0));
    assert_eq!(look(&mut recorder, later, begun), Looked::Collect);
    assert_eq!(look(&mut recorder, later, begun), Looked::Nothing);
    recorder.collect();
    recorder.add(&calls(Arm::Secondary, &tools, 3));
    assert_eq!(look(&mut recorder, later, begun), Looked::Write);
    assert_eq!(look(&mut recorder, later, begun), Looked::Nothing);
    let figures = written(&recorder, &dir).1;
    assert_eq!((figures.len(), figures[0].rollout.as_deref()), (1, None));
}

#[test]
fn silence_has_minutes_and_no_figures() {
    let (mut recorder, tools, dir, start) = recorder();
    for second in 0..=900 {
        let now = start + Duration::from_secs(second);
        recorder.look(now, at(second), scene(None, 1, 0, None), &tools);
    }
    let (minutes, figures) = written(&recorder, &dir);
    assert_eq!((minutes.len(), figures.len()), (15, 0));
}
