//! `rollout simulate`, and what it takes thousands of simulated rollouts to show: that evidence
//! does not revert good versions more often than promised, and finds bad ones as soon as the plan
//! said it would. The thousands want an optimised build: `tests/run` makes it.

use std::process::{Command, Output};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use tidegate::config::{Guards, RolloutConfig, Sequential};
use tidegate::judge::sequential::{Evidence, Glance};
use tidegate::mcp::Method;
use tidegate::names::{Arm, Guard, PerArm};
use tidegate::observe::seen::{Grade, Seen, Unit};
use tidegate::observe::session::SessionKey;
use tidegate::rollout::Plan;
use tidegate::route::tools::{ToolLabel, Tools};
use tidegate::simulate::crowd::{Time, rollouts};
use tidegate::simulate::summary::{Quantiles, Summary};
use tidegate::simulate::traffic::{Change, Load};
use tidegate::simulate::{CANDIDATE, Setting};

use crate::support::router::PROGRAM;

const SEQUENTIAL: Sequential = Sequential { alpha: 0.01, cap: 1 };

fn simulate(arguments: &[&str], settings: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let (config, plan) = (dir.path().join("t.toml"), dir.path().join("plan.toml"));
    let (settings, text) = settings.split_once("PLAN\n").unwrap_or((settings, ""));
    std::fs::write(&config, settings).unwrap();
    std::fs::write(&plan, text).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["rollout", "simulate", "--config"]).arg(config).args(arguments);
    if !text.is_empty() {
        command.arg("--plan").arg(plan);
    }
    command.env_remove("TIDEGATE_PROFILE").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const SHORT: &str = "PLAN\ngate = 'time'\nsteps = [{ weight = 50, hold = '2m' }, { weight = 100, \
                     hold = '1m' }]\n";

#[test]
fn a_plan_is_tried_and_told_in_words() {
    let settings = format!("[guards]\nperformance = 'off'\n{SHORT}");
    let arguments = ["--rpm", "600", "--error-rate", "0.5%", "--runs", "3"];
    let output = simulate(&arguments, &settings);
    let told = text(&output.stdout);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{told}");
    for line in [
        "traffic    600 calls a minute over both arms, 0.5 % of them fail\n",
        "plan       50 % for 2m, 100 % for 1m; gate time\n",
        "simulated  3 + 3 + 3 + 3 + 3 + 3 rollouts, seed 1\n",
        "as good as the stable arm     100.0 %    0.0 %   0.0 %   0.0 %   -                 -\n",
        "failing twice as often (1 %) ",
        "failing all of its calls        0.0 %  100.0 %   0.0 %   0.0 %   ",
        "false reverts of a good version: 0.0 %  (95 %: ",
        "it is promoted after 3m in the middle, 9 of 10 within 3m; its calls until then: ",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    let again = simulate(&arguments, &settings);
    assert_eq!(text(&again.stdout), told, "the same seed, the same rollouts");
}

#[test]
fn all_of_it_is_there_for_machines() {
    let output = simulate(&["--rpm", "600", "--runs", "2", "--clustered", "--json"], SHORT);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["traffic"]["rpm"], 600.0);
    assert_eq!(told["plan"]["steps"][0]["weight"], 50);
    assert_eq!((&told["cut_short"], &told["seed"]), (&Value::Bool(false), &Value::from(1)));
    let versions: Vec<_> = (told["versions"].as_array().unwrap().iter())
        .map(|it| (it["version"].as_str().unwrap(), it["runs"].as_u64().unwrap()))
        .collect();
    let names =
        ["good", "errors_2x", "errors_25_percent", "errors_100_percent", "slower_2x", "slower_4x"];
    assert_eq!(versions, names.map(|name| (name, 2)));
    let all_fail = &told["versions"][3];
    assert_eq!(all_fail["reverted"]["share"], 1.0);
    assert_eq!(all_fail["guards"][0][1]["count"], 2);
    assert!(all_fail["seconds_to_revert"]["p90"].as_u64().unwrap() <= 60, "{all_fail}");
    assert!(!told["reading"][0].as_str().unwrap().is_empty());
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    for (arguments, settings, wanted) in [
        (&["--error-rate", "1%"][..], "", "--rpm <CALLS>"),
        (&["--rpm", "0"], "", "must be more than 0 and at most 100000"),
        (&["--rpm", "-5"], "", "unexpected argument '-5'"),
        (&["--rpm", "60", "--error-rate", "101%"], "", "must be from 0% to 100%"),
        (&["--rpm", "60", "--calls-per-session", "0"], "", "must be from 1 to 100000"),
        (&["--rpm", "60", "--runs", "0"], "", "0 is not in 1..=1000000"),
        (&["--rpm", "60"], "PLAN\nsteps = []\n", "the plan was refused:\nplan:1:9: steps:"),
        (&["--rpm", "60", "--plan", "/nowhere"], "", "cannot read the plan /nowhere: "),
        (&["--rpm", "60"], "[gaurds]\n", "the configuration is refused:\n"),
    ] {
        let output = simulate(arguments, settings);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {told}");
        assert!(told.contains(wanted), "{arguments:?}: {told}");
    }
}

/// The least number that so many trials of this chance do not exceed with a probability of 99.9 %.
fn binomial_999(trials: u64, chance: f64) -> u64 {
    let mut share = (1.0 - chance).powf(trials as f64);
    let (mut sum, mut count) = (share, 0);
    while sum < 0.999 {
        share *= (trials - count) as f64 / (count + 1) as f64 * chance / (1.0 - chance);
        count += 1;
        sum += share;
    }
    count
}

#[test]
fn the_quantile_is_that_of_the_binomial() {
    // 100 trials of 1 %: at most 4 with 99.657 %, at most 5 with 99.947 %.
    assert_eq!([(1, 0.5), (10, 0.5), (100, 0.01)].map(|it| binomial_999(it.0, it.1)), [1, 9, 5]);
}

#[test]
#[ignore = "takes a minute of an optimised build: tests/run"]
fn evidence_reverts_good_versions_no_more_often_than_promised() {
    const ROLLOUTS: u64 = 10_000;
    let setting = Setting {
        load: Load {
            per_minute: 200.0,
            error_rate: 0.021,
            calls_per_session: 20.0,
            gap: 10.0,
            clustered: true,
        },
        guards: Guards {
            health_failures: false,
            error_rate: None,
            performance: None,
            security_alert: false,
            sequential: Some(SEQUENTIAL),
        },
        plan: Plan::from_config(&RolloutConfig::default()),
    };
    let time = Time { to_begin: || true, to_go_on: || true };
    let began = tokio::time::Instant::now();
    let courses = rollouts(&setting, Change::NONE, 2026, ROLLOUTS, &time, || ());
    let summary = Summary::of(&courses);
    let (count, most) = (summary.reverted.count, binomial_999(ROLLOUTS, SEQUENTIAL.alpha));
    eprintln!(
        "{count} of {ROLLOUTS} good rollouts reverted ({:.2} %, 95 %: {:.2} to {:.2} %), at most \
         {most} may be; {} promoted; {:?}",
        summary.reverted.share * 100.0,
        summary.reverted.low * 100.0,
        summary.reverted.high * 100.0,
        summary.promoted.count,
        began.elapsed()
    );
    assert_eq!(summary.runs, ROLLOUTS);
    assert!(summary.guards.iter().all(|(guard, _)| *guard == Guard::Sequential));
    assert!(count <= most, "{count} of {ROLLOUTS}");
}

/// Rows of reliability.md C4: the candidate's weight with 600 calls a minute in all, the share of
/// its calls that fail besides 1 %, seconds to detection: median and ninth decile.
const C4: [(u8, f64, u64, u64); 6] = [
    (5, 0.05, 520, 1160),
    (5, 0.10, 200, 440),
    (5, 0.25, 60, 260),
    (25, 0.05, 110, 250),
    (25, 0.10, 40, 70),
    (25, 0.25, 20, 30),
];
/// The one figure of C4 that is not met: detection is sooner, here and in another implementation
/// of the same processes (190 s).
const SOONER: u64 = 260;
/// Alpha 1 % over five steps.
const ALPHA: f64 = 0.002;
/// Seconds of a bucket of C4; every session makes a call in each.
const BUCKET: u64 = 10;
/// Calls of a session, on average.
const CALLS: f64 = 20.0;
/// Detection that takes longer is as late as this, in seconds.
const LATE: u64 = 4 * 3600;

/// The sessions of C4, all of them drawn by the weight of the step.
struct Sessions {
    rng: SmallRng,
    live: Vec<(Unit, Arm)>,
    opened: u64,
}

impl Sessions {
    fn open(&mut self, mean: f64, weight: u8) {
        let mut left = mean;
        loop {
            left += (-self.rng.random::<f64>()).ln_1p();
            if left < 0.0 {
                return;
            }
            self.opened += 1;
            let is_candidates = self.rng.random_bool(f64::from(weight) / 100.0);
            let arm = if is_candidates { CANDIDATE } else { CANDIDATE.other() };
            self.live.push((Unit::Session(SessionKey::of(&self.opened.to_le_bytes())), arm));
        }
    }

    /// A call of each, of which this share more than 1 % fails on the candidate.
    fn call(&mut self, failing: f64, tools: &[ToolLabel]) -> Vec<Seen> {
        let rng = &mut self.rng;
        let mut call = |(unit, arm)| {
            let fails = rng.random_bool(if arm == CANDIDATE { 0.01 + failing } else { 0.01 });
            let tool = tools[usize::from(rng.random_bool(0.4)) + usize::from(rng.random_bool(0.1))];
            let grade = if fails { Grade::Fault } else { Grade::Good };
            // Every call says that it opens its session: only the first one makes a difference.
            let (opens, method) = (true, Method::CALL);
            Seen { unit, opens, arm, method, tool, grade, denied: false, waited: None }
        };
        let seen = self.live.iter().copied().map(&mut call).collect();
        self.live.retain(|_| self.rng.random_bool(1.0 - 1.0 / CALLS));
        seen
    }
}

/// The mean of the tests that C4 had: not the one on times.
fn of_two(glance: &Glance) -> f64 {
    f64::midpoint(glance.tests[0].1, glance.tests[1].1)
}

/// Seconds until both tests of C4, of all calls together, find a version that fails so much more
/// often; and until the judge's evidence does, with all its tests, tool by tool too.
fn detected(weight: u8, failing: f64, seed: u64) -> (u64, u64) {
    let names = ["quick", "usual", "slow"].map(str::to_owned).to_vec();
    let known = Tools::default().with(&PerArm { primary: Some(names.clone()), secondary: None });
    let tools: Vec<_> = names.iter().map(|name| known.label(name)).collect();
    let new = |places| Evidence::new(SEQUENTIAL, CANDIDATE, ALPHA, places);
    let (mut two, mut all) = (new(1), new(tools.len() + 5));
    let rng = SmallRng::seed_from_u64(seed);
    let mut sessions = Sessions { rng, live: Vec::new(), opened: 0 };
    // Ten calls a second, one in each bucket: so many sessions live at a time.
    let live = 10.0 * BUCKET as f64;
    sessions.open(live, weight);
    let (mut by_two, mut by_all, mut now) = (None, None, 0);
    while (by_two.is_none() || by_all.is_none()) && now < LATE {
        sessions.open(live / CALLS, weight);
        let mut seen = sessions.call(failing, &tools);
        now += BUCKET;
        all.see(&seen);
        for call in &mut seen {
            call.tool = tools[0];
        }
        two.see(&seen);
        two.close_bucket();
        all.close_bucket();
        by_two = by_two.or((of_two(&two.glance()) >= 1.0 / ALPHA).then_some(now));
        by_all = by_all.or(all.glance().revert.then_some(now));
    }
    (by_two.unwrap_or(LATE), by_all.unwrap_or(LATE))
}

#[test]
#[ignore = "takes a minute of an optimised build: tests/run"]
fn evidence_finds_bad_versions_as_soon_as_the_plan_said() {
    const RUNS: u64 = 4000;
    let mut wrong = Vec::new();
    for (weight, failing, p50, p90) in C4 {
        let halves = [0, 1].map(|half| {
            std::thread::spawn(move || {
                let seeds = half * RUNS..half * RUNS + RUNS / 2;
                seeds.map(|seed| detected(weight, failing, seed)).collect::<Vec<_>>()
            })
        });
        let times = halves.map(|half| half.join().unwrap()).concat();
        let two = Quantiles::of(times.iter().map(|it| it.0).collect()).unwrap();
        let all = Quantiles::of(times.iter().map(|it| it.1).collect()).unwrap();
        let line = format!(
            "{} calls a minute, +{:.0} %: {}/{} s, C4 {p50}/{p90} s; with all tests {}/{} s",
            6 * u64::from(weight),
            failing * 100.0,
            two.p50,
            two.p90,
            all.p50,
            all.p90
        );
        eprintln!("{line}");
        // Within 20 %, or a bucket.
        let is_near = |told: u64, wanted: u64| {
            let is_known = wanted == SOONER && told < wanted;
            is_known || told.abs_diff(wanted) <= (wanted / 5).max(BUCKET)
        };
        if !is_near(two.p50, p50) || !is_near(two.p90, p90) {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
