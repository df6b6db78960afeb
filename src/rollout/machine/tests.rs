//! The whole life of rollouts, second by second, without a clock.

use proptest::prelude::*;

use super::*;
use crate::config::{Confirmation, OnRevert};

const SECOND: Duration = Duration::from_secs(1);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Shares with holds in seconds; two minutes of waiting for evidence.
fn plan(steps: &[(u8, u64)]) -> Plan {
    Plan {
        steps: steps.iter().map(|&(weight, s)| Step { weight, hold: seconds(s) }).collect(),
        gate: Gate::Evidence,
        max_hold: seconds(120),
        on_inconclusive: OnInconclusive::Abort,
        on_revert: OnRevert::Keep,
        confirm: Confirmation::Auto,
    }
}

fn started(plan: Plan) -> Rollout {
    Rollout::start("r-1".into(), Arm::Secondary, plan, Some("new search".into()))
}

fn three_steps() -> Rollout {
    started(plan(&[(10, 60), (50, 120), (100, 30)]))
}

/// All is well and a second has passed.
const WELL: Look<'_> =
    Look { passed: SECOND, revert: None, hold: None, promotion: Readiness::Passes };
/// There is not enough evidence.
const UNSURE: Look<'_> =
    Look { promotion: Readiness::Inconclusive { more_calls: Some(73) }, ..WELL };
/// Something is in doubt.
const DOUBT: Look<'_> = Look { hold: Some("breaking: tool `add` is gone"), ..WELL };
/// The candidate has to go.
const BAD: Look<'_> = Look { revert: Some((Guard::ErrorRate, "7.1 % of 240 calls")), ..WELL };

/// So many ticks; what they asked for, each with the tick, from 1.
fn run(rollout: &mut Rollout, look: &Look<'_>, ticks: u64) -> Vec<(u64, Effect)> {
    (1..=ticks).filter_map(|tick| Some((tick, rollout.tick(look)?))).collect()
}

/// A rollout in each state, brought there as it comes there.
fn in_state(state: RolloutState) -> Rollout {
    let mut rollout = three_steps();
    let abort = Verb::Abort { reason: Some("lunch".into()) };
    let verbs = match state {
        RolloutState::Progressing | RolloutState::Holding | RolloutState::Reverted => vec![],
        RolloutState::Paused => vec![Verb::Pause],
        RolloutState::Baking => vec![Verb::PromoteFull],
        RolloutState::Promoted => vec![Verb::PromoteFull, Verb::Promote],
        RolloutState::Aborted => vec![abort],
        RolloutState::Undone => {
            vec![Verb::PromoteFull, Verb::Promote, Verb::Undo { reason: Some("slow".into()) }]
        }
    };
    run(&mut rollout, &WELL, 7);
    for verb in verbs {
        rollout.apply(verb).unwrap();
    }
    match state {
        RolloutState::Holding => run(&mut rollout, &DOUBT, 60),
        RolloutState::Reverted => run(&mut rollout, &BAD, 1),
        _ => vec![],
    };
    assert_eq!(rollout.state, state);
    rollout
}

fn live() -> impl Iterator<Item = RolloutState> {
    RolloutState::ALL.into_iter().filter(|state| !state.is_over())
}

#[test]
fn the_whole_ladder() {
    let mut rollout = three_steps();
    assert_eq!((rollout.weight(), rollout.state), (10, RolloutState::Progressing));
    let effects = run(&mut rollout, &WELL, 179);
    assert_eq!(effects, [(60, Effect::SetWeight(50))]);
    assert_eq!((rollout.step, rollout.elapsed, rollout.weight()), (1, seconds(119), 50));
    assert_eq!(rollout.tick(&WELL), Some(Effect::SetWeight(100)));
    assert_eq!((rollout.state, rollout.elapsed), (RolloutState::Baking, Duration::ZERO));
    assert_eq!(run(&mut rollout, &WELL, 1000), [(30, Effect::Confirm)]);
    assert_eq!((rollout.state, rollout.weight()), (RolloutState::Promoted, 100));
    assert_eq!((&rollout.why, rollout.guard), (&None, None));
}

#[test]
fn a_plan_of_one_step_bakes_at_once() {
    let mut rollout = started(plan(&[(100, 5)]));
    assert_eq!((rollout.state, rollout.weight()), (RolloutState::Baking, 100));
    assert_eq!(run(&mut rollout, &WELL, 9), [(5, Effect::Confirm)]);
}

#[test]
fn every_verb_in_every_state() {
    use Effect::{Confirm, Revert, SetWeight, Undo};
    use RolloutState::{Aborted, Baking, Paused, Progressing, Promoted, Undone};
    let to = |state, effect| Some((state, effect));
    let (none, aborted) = (None::<(RolloutState, Option<Effect>)>, to(Aborted, Some(Revert)));
    let (next, full) = (to(Progressing, Some(SetWeight(50))), to(Baking, Some(SetWeight(100))));
    let (confirmed, undone) = (to(Promoted, Some(Confirm)), to(Undone, Some(Undo)));
    let (pause, resume) = (to(Paused, None), to(Progressing, None));
    // pause, resume, promote, promote --full, abort, undo
    let table = [
        ("progressing", [pause, none, next, full, aborted, none]),
        ("holding", [pause, none, next, full, aborted, none]),
        ("paused", [none, resume, next, full, aborted, none]),
        ("baking", [pause, none, confirmed, none, aborted, none]),
        ("promoted", [none, none, none, none, none, undone]),
        ("reverted", [none; 6]),
        ("aborted", [none; 6]),
        ("undone", [none; 6]),
    ];
    for ((name, row), state) in table.into_iter().zip(RolloutState::ALL) {
        assert_eq!(name, state.as_str());
        for (verb, wanted) in verbs().into_iter().zip(row) {
            let mut rollout = in_state(state);
            let before = rollout.clone();
            let word = verb.as_str();
            let got = rollout.apply(verb);
            let fits = before.verbs().contains(&word);
            assert_eq!(fits, wanted.is_some(), "{word} in {state}");
            match (got, wanted) {
                (Ok(effect), Some(wanted)) => assert_eq!((rollout.state, effect), wanted),
                (Err(refused), None) => {
                    assert_eq!(rollout, before, "{word} in {state}");
                    assert_eq!((refused.state, refused.verb), (state, word));
                    assert_eq!(refused.verbs, before.verbs());
                }
                (got, wanted) => panic!("{word} in {state}: {got:?}, not {wanted:?}"),
            }
        }
    }
}

/// Each verb, in the order of the table.
fn verbs() -> [Verb; 6] {
    let reason = Some("because".to_owned());
    let (abort, undo) = (Verb::Abort { reason: reason.clone() }, Verb::Undo { reason });
    [Verb::Pause, Verb::Resume, Verb::Promote, Verb::PromoteFull, abort, undo]
}

#[test]
fn a_refusal_says_what_can_be_done() {
    let refused = |state, verb| in_state(state).apply(verb).unwrap_err().to_string();
    assert_eq!(
        refused(RolloutState::Progressing, Verb::Resume),
        "cannot resume: the rollout is progressing; what can be done now: pause, promote, \
         promote --full, abort"
    );
    assert_eq!(
        refused(RolloutState::Baking, Verb::PromoteFull),
        "cannot promote --full: the rollout is baking; what can be done now: pause, promote, abort"
    );
    assert_eq!(
        refused(RolloutState::Promoted, Verb::Abort { reason: None }),
        "cannot abort: the rollout is promoted; what can be done now: undo, start"
    );
    assert_eq!(
        refused(RolloutState::Reverted, Verb::Promote),
        "cannot promote: the rollout is reverted; what can be done now: start"
    );
}

#[test]
fn a_person_gives_a_reason_to_an_end() {
    assert_eq!(in_state(RolloutState::Aborted).why.as_deref(), Some("lunch"));
    assert_eq!(in_state(RolloutState::Undone).why.as_deref(), Some("slow"));
    assert_eq!(in_state(RolloutState::Undone).weight(), 0);
}

#[test]
fn a_guard_reverts_in_every_live_state() {
    for state in live() {
        // Doubts, missing evidence and missing time keep no guard from it.
        let looks = [BAD, Look { hold: Some("x"), ..BAD }, Look { passed: Duration::ZERO, ..BAD }];
        for look in looks {
            let mut rollout = in_state(state);
            assert_eq!(rollout.tick(&look), Some(Effect::Revert), "{state}");
            assert_eq!((rollout.state, rollout.weight()), (RolloutState::Reverted, 0));
            assert_eq!(rollout.guard, Some(Guard::ErrorRate));
            assert_eq!(rollout.why.as_deref(), Some("7.1 % of 240 calls"));
            assert_eq!(run(&mut rollout, &WELL, 1000), [], "never again");
        }
    }
}

#[test]
fn a_guard_goes_before_the_end_of_a_step() {
    let mut rollout = three_steps();
    run(&mut rollout, &WELL, 59);
    assert_eq!(rollout.tick(&BAD), Some(Effect::Revert));
}

#[test]
fn what_is_over_stays_over() {
    for state in RolloutState::ALL.into_iter().filter(|state| state.is_over()) {
        for look in [WELL, UNSURE, DOUBT, BAD] {
            let (mut rollout, before) = (in_state(state), in_state(state));
            assert_eq!(run(&mut rollout, &look, 500), []);
            assert_eq!(rollout, before);
        }
    }
}

#[test]
fn a_pause_stops_the_clock_and_keeps_the_share() {
    let mut rollout = in_state(RolloutState::Paused);
    assert_eq!(run(&mut rollout, &WELL, 1000), []);
    assert_eq!((rollout.weight(), rollout.elapsed), (10, seconds(7)));
    rollout.apply(Verb::Resume).unwrap();
    assert_eq!(run(&mut rollout, &WELL, 53), [(53, Effect::SetWeight(50))]);
    // A bake goes on as a bake, a wait as a wait.
    let mut baking = in_state(RolloutState::Baking);
    baking.apply(Verb::Pause).unwrap();
    baking.apply(Verb::Resume).unwrap();
    assert_eq!(baking.state, RolloutState::Baking);
    let mut holding = in_state(RolloutState::Holding);
    holding.apply(Verb::Pause).unwrap();
    assert_eq!(holding.why, None);
    holding.apply(Verb::Resume).unwrap();
    run(&mut holding, &DOUBT, 1);
    assert_eq!((holding.state, holding.held()), (RolloutState::Holding, seconds(8)));
}

#[test]
fn a_promotion_out_of_a_pause_or_a_wait_starts_the_next_clock() {
    for state in [RolloutState::Paused, RolloutState::Holding] {
        let mut rollout = in_state(state);
        assert_eq!(rollout.apply(Verb::Promote), Ok(Some(Effect::SetWeight(50))));
        assert_eq!((rollout.state, &rollout.why), (RolloutState::Progressing, &None));
        assert_eq!((rollout.step, rollout.elapsed), (1, Duration::ZERO));
        assert_eq!(run(&mut rollout, &WELL, 121), [(120, Effect::SetWeight(100))]);
    }
    // In the last step it confirms, whatever the state.
    for look in [UNSURE, DOUBT] {
        let mut rollout = in_state(RolloutState::Baking);
        run(&mut rollout, &look, 31);
        assert_eq!((rollout.state, rollout.weight()), (RolloutState::Holding, 100));
        assert_eq!(rollout.verbs(), ["pause", "promote", "abort"]);
        rollout.apply(Verb::Pause).unwrap();
        assert_eq!(rollout.apply(Verb::Promote), Ok(Some(Effect::Confirm)));
    }
}

#[test]
fn a_doubt_waits_for_ever() {
    for gate in [Gate::Evidence, Gate::Time] {
        for on_inconclusive in [OnInconclusive::Abort, OnInconclusive::Proceed] {
            let plan = Plan { gate, on_inconclusive, ..plan(&[(10, 60), (100, 60)]) };
            let mut rollout = started(plan);
            // In the middle of a step it changes nothing.
            assert_eq!(run(&mut rollout, &DOUBT, 59), []);
            assert_eq!((rollout.state, &rollout.why), (RolloutState::Progressing, &None));
            let both = Look { hold: DOUBT.hold, ..UNSURE };
            assert_eq!(run(&mut rollout, &DOUBT, 100_000), []);
            assert_eq!(run(&mut rollout, &both, 1000), []);
            assert_eq!((rollout.state, rollout.weight()), (RolloutState::Holding, 10));
            assert_eq!(rollout.why.as_deref(), DOUBT.hold);
            assert_eq!(rollout.held(), seconds(59 + 101_000 - 60));
            // It ends, and the rollout goes on.
            assert_eq!(rollout.tick(&WELL), Some(Effect::SetWeight(100)));
            assert_eq!((rollout.why, rollout.elapsed), (None, Duration::ZERO));
        }
    }
}

#[test]
fn missing_evidence_waits_as_long_as_the_plan_says() {
    for (on_inconclusive, effect, state) in [
        (OnInconclusive::Abort, Effect::Revert, RolloutState::Aborted),
        (OnInconclusive::Proceed, Effect::SetWeight(100), RolloutState::Baking),
    ] {
        let plan = Plan { on_inconclusive, ..plan(&[(10, 60), (100, 60)]) };
        let mut rollout = started(plan);
        assert_eq!(run(&mut rollout, &UNSURE, 60), []);
        assert_eq!((rollout.state, rollout.held()), (RolloutState::Holding, Duration::ZERO));
        assert_eq!(rollout.why.as_deref(), Some("inconclusive; calls needed: 73"));
        assert_eq!(run(&mut rollout, &UNSURE, 120), [(120, effect)]);
        assert_eq!(rollout.state, state);
        let aborted = "still inconclusive 2m after the time of its step; calls needed: 73";
        let why = (state == RolloutState::Aborted).then_some(aborted);
        assert_eq!(rollout.why.as_deref(), why);
    }
}

#[test]
fn evidence_in_time_is_enough() {
    let mut rollout = three_steps();
    run(&mut rollout, &UNSURE, 179);
    assert_eq!(rollout.tick(&WELL), Some(Effect::SetWeight(50)));
    // Nobody can say how much is missing, and that says so.
    let nobody = Look { promotion: Readiness::Inconclusive { more_calls: None }, ..WELL };
    run(&mut rollout, &nobody, 120);
    assert_eq!(rollout.why.as_deref(), Some("inconclusive"));
}

#[test]
fn the_bake_waits_for_its_evidence_too() {
    let mut rollout = in_state(RolloutState::Baking);
    assert_eq!(run(&mut rollout, &UNSURE, 200), [(150, Effect::Revert)]);
    let on_inconclusive = OnInconclusive::Proceed;
    let mut rollout = started(Plan { on_inconclusive, ..plan(&[(100, 30)]) });
    assert_eq!(run(&mut rollout, &UNSURE, 200), [(150, Effect::Confirm)]);
}

#[test]
fn time_alone_is_enough_where_the_plan_says_so() {
    let mut rollout = started(Plan { gate: Gate::Time, ..plan(&[(10, 60), (100, 30)]) });
    let effects = run(&mut rollout, &UNSURE, 100);
    assert_eq!(effects, [(60, Effect::SetWeight(100)), (90, Effect::Confirm)]);
}

#[test]
fn a_clock_that_jumps_skips_nothing() {
    let mut rollout = three_steps();
    let jump = Look { passed: Duration::MAX, ..WELL };
    assert_eq!(run(&mut rollout, &jump, 1), []);
    assert_eq!(rollout.elapsed, PASSED_MAX);
    let effects = run(&mut rollout, &jump, 100);
    // 60, 120 and 30 seconds at ten a look; the first was above.
    let steps = [(5, Effect::SetWeight(50)), (17, Effect::SetWeight(100)), (20, Effect::Confirm)];
    assert_eq!(effects, steps);
    // One step at a time, even where a step is shorter than a look.
    let mut short = started(plan(&[(10, 1), (50, 1), (100, 1)]));
    assert_eq!(short.tick(&jump), Some(Effect::SetWeight(50)));
    assert_eq!((short.step, short.elapsed), (1, Duration::ZERO));
    // A clock that stands still raises nothing.
    let still = Look { passed: Duration::ZERO, ..WELL };
    assert_eq!(run(&mut three_steps(), &still, 10_000), []);
}

#[test]
fn a_restart_in_every_state_changes_nothing() {
    for state in RolloutState::ALL {
        let rollout = in_state(state);
        let stored = serde_json::to_string(&rollout).unwrap();
        let restored = serde_json::from_str::<Rollout>(&stored).unwrap().restored();
        assert_eq!(restored, rollout, "{stored}");
        assert!(stored.contains(&format!("\"state\":\"{state}\"")), "{stored}");
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
    let mut rollout = in_state(RolloutState::Progressing).restored();
    assert_eq!(run(&mut rollout, &WELL, 53), [(53, Effect::SetWeight(50))]);
}

#[test]
fn a_stored_rollout_that_cannot_be_is_aborted() {
    type Edit = fn(&mut Rollout);
    let edits: [(&str, Edit); 6] = [
        ("a step beyond the plan", |it| it.step = 3),
        ("no steps", |it| it.plan.steps.clear()),
        ("a share above all", |it| it.plan.steps[2].weight = 200),
        ("shares that fall", |it| it.plan.steps[0].weight = 60),
        ("an end below all", |it| it.plan.steps.truncate(2)),
        ("no hold", |it| it.plan.steps[1].hold = Duration::ZERO),
    ];
    for (what, edit) in edits {
        for state in RolloutState::ALL {
            let mut rollout = in_state(state);
            edit(&mut rollout);
            let restored = rollout.clone().restored();
            if state.is_over() {
                assert_eq!(restored, rollout, "{what}: what is over is history");
            } else {
                assert_eq!(restored.state, RolloutState::Aborted, "{what}");
                assert_eq!((restored.weight(), restored.why.is_some()), (0, true), "{what}");
            }
            // Whoever forgets to ask gets no panic.
            rollout.tick(&WELL);
            rollout.held();
        }
    }
    let mut beyond = three_steps();
    beyond.step = 3;
    assert_eq!((beyond.tick(&WELL), beyond.weight()), (None, 0));
}

#[test]
fn a_stored_rollout_with_a_strange_key_is_refused() {
    let mut stored = serde_json::to_value(three_steps()).unwrap();
    stored["wieght"] = 100.into();
    assert!(serde_json::from_value::<Rollout>(stored).is_err());
}

/// What happens to a rollout.
#[derive(Clone, Debug)]
enum Event {
    Tick { millis: u64, revert: bool, hold: bool, passes: bool },
    Verb(usize),
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let tick = (0u64..30_000, prop::bool::weighted(0.01), prop::bool::weighted(0.3), any::<bool>())
        .prop_map(|(millis, revert, hold, passes)| Event::Tick { millis, revert, hold, passes });
    let event =
        prop_oneof![20 => tick, 2 => (0usize..6).prop_map(Event::Verb), 1 => Just(Event::Restart)];
    prop::collection::vec(event, 0..200)
}

fn plans() -> impl Strategy<Value = Plan> {
    let steps = prop::collection::btree_map(1u8..100, 1u64..40, 0..5);
    (steps, 1u64..40, any::<bool>(), any::<bool>()).prop_map(|(steps, bake, time, proceed)| {
        let steps: Vec<_> = steps.into_iter().chain([(100, bake)]).collect();
        let gate = if time { Gate::Time } else { Gate::Evidence };
        let ends = [OnInconclusive::Abort, OnInconclusive::Proceed];
        Plan { gate, on_inconclusive: ends[usize::from(proceed)], ..plan(&steps) }
    })
}

/// Whether an effect says what happened between two states of one rollout.
fn tells(effect: Option<Effect>, before: &Rollout, after: &Rollout) -> bool {
    match effect {
        None => after.weight() == before.weight(),
        Some(Effect::SetWeight(weight)) => weight == after.weight() && weight > before.weight(),
        Some(Effect::Revert) => {
            matches!(after.state, RolloutState::Reverted | RolloutState::Aborted)
        }
        Some(Effect::Confirm) => after.state == RolloutState::Promoted && before.weight() == 100,
        Some(Effect::Undo) => {
            (before.state, after.state) == (RolloutState::Promoted, RolloutState::Undone)
        }
    }
}

proptest! {
    #[test]
    fn nothing_raises_a_share_but_the_plan_and_a_person(plan in plans(), events in events()) {
        let mut rollout = started(plan);
        let mut passed = Duration::ZERO;
        for event in events {
            let before = rollout.clone();
            match event.clone() {
                Event::Tick { millis, revert, hold, passes } => {
                    let look = Look {
                        passed: Duration::from_millis(millis),
                        revert: revert.then_some((Guard::Sequential, "worse")),
                        hold: hold.then_some("doubt"),
                        promotion: if passes { WELL.promotion } else { UNSURE.promotion },
                    };
                    passed += look.passed.min(PASSED_MAX);
                    let effect = rollout.tick(&look);
                    prop_assert!(tells(effect, &before, &rollout));
                    prop_assert!(!revert || before.state.is_over() || effect == Some(Effect::Revert));
                    if rollout.weight() > before.weight() || effect == Some(Effect::Confirm) {
                        let step = before.plan.steps[before.step];
                        prop_assert!(!revert && !hold && !before.state.is_over());
                        prop_assert!(before.state != RolloutState::Paused);
                        prop_assert!(before.elapsed + look.passed.min(PASSED_MAX) >= step.hold);
                        prop_assert!(effect == Some(Effect::Confirm) || rollout.step == before.step + 1);
                    }
                    prop_assert!(rollout.elapsed <= before.elapsed + look.passed);
                }
                Event::Verb(verb) => {
                    let verb = verbs()[verb].clone();
                    let raises = matches!(verb, Verb::Promote | Verb::PromoteFull);
                    if let Ok(effect) = rollout.apply(verb) {
                        prop_assert!(tells(effect, &before, &rollout));
                        prop_assert!(raises || rollout.weight() <= before.weight());
                    } else {
                        prop_assert_eq!(&rollout, &before);
                    }
                }
                Event::Restart => {
                    let stored = serde_json::to_vec(&rollout).unwrap();
                    rollout = serde_json::from_slice::<Rollout>(&stored).unwrap().restored();
                    prop_assert_eq!(&rollout, &before);
                }
            }
            prop_assert!(rollout.elapsed <= passed);
            if before.state.is_over() {
                let undone = before.state == RolloutState::Promoted
                    && rollout.state == RolloutState::Undone;
                prop_assert!(undone || rollout == before);
            } else {
                let weights: Vec<_> = rollout.plan.steps.iter().map(|step| step.weight).collect();
                let weight = rollout.weight();
                prop_assert!(weights.contains(&weight) || (weight == 0 && rollout.state.is_over()));
            }
        }
    }
}
