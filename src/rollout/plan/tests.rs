//! Plans as people write them, and as they are stored.

use super::*;

fn read(text: &str) -> Result<Plan, Vec<String>> {
    let found = Plan::parse(text, &RolloutConfig::default());
    found.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn what_a_plan_leaves_out_is_as_configured() {
    let configured = RolloutConfig {
        gate: Gate::Time,
        max_hold: Duration::from_secs(60),
        on_inconclusive: OnInconclusive::Proceed,
        on_revert: OnRevert::End,
        ..RolloutConfig::default()
    };
    let parse = |text: &str| Plan::parse(text, &configured).unwrap();
    assert_eq!(parse(""), Plan::from_config(&configured));
    let step = |weight, seconds| Step { weight, hold: Duration::from_secs(seconds) };
    let plan = parse(
        "steps = [{ weight = 5, hold = '90s' }, { weight = '100%', hold = '1h' }]\n\
         gate = 'evidence'\nmax_hold = '2h'\non_inconclusive = 'abort'\non_revert = 'keep'\n\
         confirm = 'manual'",
    );
    let wanted = Plan {
        steps: vec![step(5, 90), step(100, 3600)],
        gate: Gate::Evidence,
        max_hold: Duration::from_secs(7200),
        on_inconclusive: OnInconclusive::Abort,
        on_revert: OnRevert::Keep,
        confirm: Confirmation::Manual,
    };
    assert_eq!(plan, wanted);
    assert!(plan.is_sound());
    let stored = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&stored).unwrap(), plan);
}

#[test]
fn a_plan_of_before_there_was_a_choice_is_stored_as_it_was() {
    let plan = Plan::from_config(&RolloutConfig::default());
    assert!(!serde_json::to_string(&plan).unwrap().contains("confirm"));
    let manual = Plan { confirm: Confirmation::Manual, ..plan };
    assert!(serde_json::to_string(&manual).unwrap().contains("confirm"));
}

#[test]
fn weights_of_a_sound_plan_rise_to_all() {
    for (weights, is_sound) in [
        (&[1, 50, 100][..], true),
        (&[100], true),
        (&[], false),
        (&[50], false),
        (&[0, 100], false),
        (&[50, 50, 100], false),
        (&[60, 50, 100], false),
        (&[50, 101], false),
    ] {
        let hold = Duration::from_secs(1);
        let steps = weights.iter().map(|&weight| Step { weight, hold }).collect();
        let plan = Plan { steps, ..Plan::from_config(&RolloutConfig::default()) };
        assert_eq!(plan.is_sound(), is_sound, "{weights:?}");
    }
    let mut plan = Plan::from_config(&RolloutConfig::default());
    plan.steps[0].hold = Duration::ZERO;
    assert!(!plan.is_sound());
}

#[test]
fn plans_that_cannot_be() {
    let many: Vec<_> = (1..=21).map(|w| format!("{{ weight = {w}, hold = '1m' }}")).collect();
    let many = format!("steps = [{}]", many.join(", "));
    let steps = |steps: &str| format!("steps = [{steps}]");
    let two = |one: &str| steps(&format!("{one}, {{ weight = 100, hold = '1m' }}"));
    for (text, wanted) in [
        (steps(""), "plan:1:9: steps: must hold at least one"),
        (two("{ weight = 100, hold = '1m' }"), "steps[1]: weights have to rise: this one is"),
        (two("{ weight = 0, hold = '1m' }"), "steps[0].weight: must be from 1 to 100"),
        (two("{ weight = 101, hold = '1m' }"), "steps[0].weight: `101` is more than 100 %"),
        (two("{ weight = -1, hold = '1m' }"), "steps[0].weight: `-1` is not a whole"),
        (two("{ weight = 2.5, hold = '1m' }"), "steps[0].weight: must be a string, not a frac"),
        (steps("{ weight = 50, hold = '1m' }"), "steps: the last step has to have weight 100"),
        (two("{ weight = 1, hold = '0s' }"), "steps[0].hold: must be more than 0s and at most"),
        (two("{ weight = 1, hold = '721h' }"), "steps[0].hold: must be more than 0s and at"),
        (two("{ weight = 1, hold = 10 }"), "steps[0].hold: `10` has no unit: write `10s`"),
        (two("{ weight = 1 }"), "steps[0]: has no `hold`: a step is { weight = 10, hold ="),
        (two("{ hold = '1m' }"), "steps[0]: has no `weight`: a step is { weight = 10, hold"),
        (steps("{ weight = 100, hold = '0s' }"), "plan:1:33: steps[0].hold: must be more"),
        (many, "steps[20]: is one too many: at most 20"),
        ("steps = 10".into(), "steps: must be a table, not an integer"),
        ("gate = 'tiem'".into(), "gate: `tiem` is none of `evidence`, `time`"),
        ("max_hold = '0s'".into(), "max_hold: must be more than 0s"),
        ("on_inconclusive = 'hold'".into(), "`hold` is none of `abort`, `proceed`"),
        ("on_revert = 'drop'".into(), "on_revert: `drop` is none of `keep`, `end`"),
        ("stesp = []".into(), "stesp: unknown key `stesp`; did you mean `steps`?"),
        ("weight = 10".into(), "plan:1:1: weight: unknown key `weight`"),
        ("profile = 'p'".into(), "profile: unknown key `profile`"),
        ("profiles.p = {}".into(), "profiles: neither a profile nor a plan can hold"),
        ("[rollout]\ngate = 'time'".into(), "plan:1:2: rollout: the keys of a plan stand at"),
        ("gate = '${HOME}'".into(), "gate: the environment variable `HOME` is not set"),
    ] {
        let found = read(&text).unwrap_err();
        let one = found.iter().filter(|line| line.contains(wanted)).count();
        assert!(one == 1, "{text}\n{found:#?}");
        assert!(found.len() <= 2, "{text}\n{found:#?}");
    }
}

#[test]
fn every_problem_of_a_plan_is_found_at_once() {
    let text = "steps = [\n  { weight = 0, hold = '1m', hlod = 1 },\n  { weight = 20, hold = \
                '0s' },\n]\nmax_hold = 5\n= broken";
    let wanted = [
        "plan:2:14: steps[0].weight: must be from 1 to 100",
        "plan:2:30: steps[0].hlod: unknown key `hlod`; did you mean `hold`?",
        "plan:3:25: steps[1].hold: must be more than 0s and at most 720h",
        "plan:5:12: max_hold: `5` has no unit: write `5s` or `5ms`",
        "plan:6:1: ",
    ];
    let found = read(text).unwrap_err();
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "\n{found}\n{wanted}");
    }
}
