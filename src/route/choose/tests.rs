//! Shares, balance, and the order in which endpoints are tried.

use std::collections::HashMap;

use proptest::prelude::*;
use tokio::time::Instant;

use super::super::affinity::{Session, UpstreamSession};
use super::super::tests as fixture;
use super::super::{Closed, Course};
use super::*;
use crate::config::OnRevert;
use crate::dns::Known;
use crate::names::{Arm, Split};

const ONE: [&str; 3] = ["http://a:1/mcp", "http://a:2/mcp", "http://a:3/mcp"];
const TWO: [&str; 2] = ["http://b:1/mcp", "http://b:2/mcp"];

fn table(weight: u8, balance: Balance) -> Arc<RoutingTable> {
    fixture::table(&ONE, &TWO, weight, |config| {
        for arm in Arm::ALL {
            config.arms.get_mut(arm).balance = balance;
        }
    })
}

/// The authorities of the endpoints to try.
fn order(table: &RoutingTable, place: &Place, draw: f64) -> Vec<String> {
    candidates(table, place, || draw).iter().map(|it| it.url.authority()).collect()
}

#[test]
fn a_session_has_one_place_whatever_the_weights() {
    for weight in [0, 50, 100] {
        let table = table(weight, Balance::LeastRequests);
        for endpoint in table.arms.primary.endpoints.iter().chain(&table.arms.secondary.endpoints) {
            let upstream = UpstreamSession::Unknown;
            let session = Place::Session(Session { endpoint: Arc::clone(endpoint), upstream });
            assert_eq!(order(&table, &session, 0.5), [endpoint.url.authority()]);
        }
    }
}

#[test]
fn every_endpoint_of_the_arm_comes_before_the_other_arm() {
    for balance in [Balance::LeastRequests, Balance::RoundRobin, Balance::Random] {
        for (draw, arm) in [(0.0, "b"), (0.299, "b"), (0.3, "a"), (0.999, "a")] {
            let table = table(30, balance);
            for place in [Place::New, Place::Caller(draw)] {
                let order = order(&table, &place, draw);
                let own = if arm == "a" { 3 } else { 2 };
                assert!(order[..own].iter().all(|it| it.starts_with(arm)), "{draw}: {order:?}");
                assert!(order[own..].iter().all(|it| !it.starts_with(arm)), "{draw}: {order:?}");
                let mut all = order.clone();
                all.sort();
                assert_eq!(all, ["a:1", "a:2", "a:3", "b:1", "b:2"]);
            }
        }
    }
}

#[test]
fn what_belongs_to_no_arm_goes_to_the_stable_one() {
    let table = table(100, Balance::LeastRequests);
    assert!(order(&table, &Place::Stable, 0.0)[0].starts_with('a'));
}

#[test]
fn new_work_is_shared_by_weight() {
    for weight in [0, 10, 50, 100] {
        let table = table(weight, Balance::LeastRequests);
        let share = (0..1000)
            .filter(|step| {
                candidates(&table, &Place::New, || f64::from(*step) / 1000.0)[0].arm
                    == Arm::Secondary
            })
            .count();
        assert_eq!(share, usize::from(weight) * 10);
    }
}

#[test]
fn a_caller_keeps_its_endpoint_while_the_arm_stays() {
    let (ten, fifty) = (table(10, Balance::LeastRequests), table(50, Balance::RoundRobin));
    let (mut firsts, callers) = (std::collections::HashSet::new(), 200);
    for step in 0..callers {
        let place = Place::Caller(0.5 + f64::from(step) / 401.0);
        let first = order(&ten, &place, 0.1)[0].clone();
        assert_eq!(first, order(&ten, &place, 0.9)[0]);
        assert_eq!(first, order(&fifty, &place, 0.5)[0]);
        firsts.insert(first);
    }
    assert_eq!(firsts.len(), 3, "all endpoints are used");
}

#[test]
fn callers_are_shared_by_fitness() {
    let table = fit(&table(0, Balance::Random), &[0.25, 1.0, 0.75], &[1.0; 2]);
    let mut firsts = HashMap::new();
    for step in 0..2000 {
        let first = order(&table, &Place::Caller(f64::from(step) / 2000.0), 0.5)[0].clone();
        *firsts.entry(first).or_insert(0_u32) += 1;
    }
    for (endpoint, share) in [("a:1", 250), ("a:2", 1000), ("a:3", 750)] {
        assert!(firsts[endpoint].abs_diff(share) < 60, "{firsts:?}");
    }
}

#[test]
fn the_number_of_a_caller_and_an_endpoint_is_the_same_in_every_version() {
    let table = table(0, Balance::Random);
    let of = |point, at: usize| unit(point, &table.arms.primary.endpoints[at]);
    let numbers = [of(0.25, 0), of(0.25, 1), of(0.75, 1)];
    assert_eq!(
        numbers.map(|it| format!("{it:.15}")),
        ["0.714326616669699", "0.344429633979308", "0.206696070572017"]
    );
}

#[test]
fn taking_turns_uses_each_endpoint_in_turn() {
    let table = table(0, Balance::RoundRobin);
    let firsts: Vec<_> = (0..6).map(|_| order(&table, &Place::New, 0.5)[0].clone()).collect();
    assert_eq!(firsts, ["a:1", "a:2", "a:3", "a:1", "a:2", "a:3"]);
    // One that is down leaves its turns to all of the others.
    let table = fit(&table, &[0.0, 1.0, 1.0], &[1.0; 2]);
    let firsts: Vec<_> = (0..4).map(|_| order(&table, &Place::New, 0.5)[0].clone()).collect();
    assert_eq!(firsts, ["a:2", "a:3", "a:2", "a:3"]);
}

#[test]
fn a_draw_reaches_each_endpoint() {
    let table = table(0, Balance::Random);
    for (draw, first) in [(0.0, "a:1"), (0.34, "a:2"), (0.67, "a:3"), (0.999_999, "a:3")] {
        assert_eq!(order(&table, &Place::New, draw)[0], first);
    }
}

#[test]
fn the_least_busy_endpoint_is_first_and_equals_take_turns() {
    let table = table(0, Balance::LeastRequests);
    let own = &table.arms.primary.endpoints;
    let idle: Vec<_> = (0..3).map(|_| order(&table, &Place::New, 0.5)[0].clone()).collect();
    assert_eq!(idle, ["a:1", "a:2", "a:3"]);
    let busy = [own[0].enter(), own[1].enter(), own[1].enter()];
    for _ in 0..4 {
        assert_eq!(order(&table, &Place::New, 0.5)[0], "a:3");
    }
    let more = [own[2].enter(), own[2].enter()];
    for _ in 0..4 {
        assert_eq!(order(&table, &Place::New, 0.5)[0], "a:1");
    }
    drop((busy, more));
    assert_eq!(own.iter().map(|it| it.in_flight()).sum::<usize>(), 0);
}

/// The same table with these fitnesses, in the order of the endpoints.
fn fit(table: &RoutingTable, primary: &[f64], secondary: &[f64]) -> RoutingTable {
    let all = table.fitness().map(|(endpoint, _)| endpoint.id);
    table.with_fitness(&all.zip(primary.iter().chain(secondary).copied()).collect())
}

#[test]
fn only_eligible_endpoints_get_new_work() {
    for balance in [Balance::LeastRequests, Balance::RoundRobin, Balance::Random] {
        let healthy = table(50, balance);
        for (primary, secondary, own, tried) in [
            // One endpoint is down: the others of its arm take over, the arm keeps its share.
            ([0.0, 1.0, 1.0], [1.0, 1.0], 0.5, &["a:2", "a:3", "b:1", "b:2"][..]),
            ([1.0, 1.0, 1.0], [0.0, 1.0], 0.5, &["a:1", "a:2", "a:3", "b:2"]),
            // An arm is down: everything goes to the other.
            ([0.0, 0.0, 0.0], [0.0, 1.0], 0.0, &["b:2"]),
            ([0.0, 1.0, 0.0], [0.0, 0.0], 1.0, &["a:2"]),
            // All is down: the stable arm is tried.
            ([0.0, 0.0, 0.0], [0.0, 0.0], 1.0, &["a:1", "a:2", "a:3"]),
        ] {
            let table = fit(&healthy, &primary, &secondary);
            let mut on_primary = 0;
            for step in 0..100 {
                let draw = f64::from(step) / 100.0;
                for place in [Place::New, Place::Caller(draw), Place::Stable] {
                    let mut order = order(&table, &place, draw);
                    if matches!(place, Place::New) && order[0].starts_with('a') {
                        on_primary += 1;
                    }
                    order.sort();
                    assert_eq!(order, tried, "{balance:?} {place:?}");
                }
            }
            assert!((f64::from(on_primary) / 100.0 - own).abs() < 1e-9, "{on_primary}");
        }
    }
}

#[test]
fn a_session_stays_where_it_lives() {
    let table = fit(&table(50, Balance::LeastRequests), &[0.0, 1.0, 1.0], &[1.0, 1.0]);
    let endpoint = Arc::clone(&table.arms.primary.endpoints[0]);
    let session = Place::Session(Session { endpoint, upstream: UpstreamSession::Unknown });
    assert_eq!(order(&table, &session, 0.5), ["a:1"]);
}

#[test]
fn an_endpoint_that_comes_back_gets_less() {
    for (balance, least, most) in
        [(Balance::LeastRequests, 0, 0), (Balance::RoundRobin, 20, 120), (Balance::Random, 40, 60)]
    {
        let table = fit(&table(0, balance), &[0.1, 1.0, 1.0], &[1.0, 1.0]);
        // Of the golden ratio's multiples, any stretch is spread evenly.
        let mut step = 0.0_f64;
        let mut draw = || {
            step += 0.618_033_988_749;
            step.fract()
        };
        let firsts = (0..1000)
            .filter(|_| candidates(&table, &Place::New, &mut draw)[0].url.authority() == "a:1");
        let firsts = firsts.count();
        assert!((least..=most).contains(&firsts), "{balance:?}: {firsts}");
    }
    // The one that comes back is chosen when the others have ten times as much to do.
    let table = fit(&table(0, Balance::LeastRequests), &[0.1, 1.0, 1.0], &[1.0, 1.0]);
    let own = &table.arms.primary.endpoints;
    let busy: Vec<_> = (0..20).map(|step| own[1 + step % 2].enter()).collect();
    assert_eq!(order(&table, &Place::New, 0.5)[0], "a:1");
    drop(busy);
}

#[test]
fn fitness_outlives_other_changes_of_the_table() {
    let before = fit(&table(50, Balance::Random), &[0.0, 0.5, 1.0], &[1.0, 0.0]);
    let salt = Arc::clone(&before.salt);
    let (config, keys) = (Arc::clone(&before.config), Arc::clone(&before.keys));
    for after in [
        before.with_course(Course { split: Split::PRIMARY_ONLY, ..before.course() }),
        before.with_config(config, before.course(), keys, salt),
    ] {
        assert_eq!(after.arms.primary.fitness, [0.0, 0.5, 1.0]);
        assert_eq!(after.arms.secondary.fitness, [1.0, 0.0]);
        assert_eq!(after.generation, before.generation + 1);
    }
    assert_eq!(before.with_fitness(&HashMap::new()).arms.primary.fitness, [1.0; 3]);
}

#[test]
fn a_shut_arm_gets_nothing_whatever_the_other_one_does() {
    let table = table(0, Balance::RoundRobin);
    let closed = Some(Closed { arm: Arm::Secondary, sessions: OnRevert::Keep });
    let shut = table.with_course(Course { closed, ..table.course() });
    for primary in [[1.0; 3], [0.0; 3]] {
        let shut = fit(&shut, &primary, &[1.0; 2]);
        for place in [Place::New, Place::Caller(0.0), Place::Stable] {
            let tried = order(&shut, &place, 0.0);
            assert!(tried.iter().all(|it| it.starts_with("a:")), "{place:?}: {tried:?}");
        }
    }
    // Open, it stands in.
    assert_eq!(order(&fit(&table, &[0.0; 3], &[1.0; 2]), &Place::New, 0.0).len(), 2);
}

#[tokio::test]
async fn faults_in_a_row_make_an_endpoint_suspect() {
    let table = table(0, Balance::Random);
    let endpoint = &table.arms.primary.endpoints[0];
    let suspected = || tokio::time::timeout(std::time::Duration::ZERO, endpoint.suspected());
    for _ in 0..10 {
        endpoint.note_fault(3);
        endpoint.note_fault(3);
        endpoint.note_success();
    }
    suspected().await.unwrap_err();
    for _ in 0..3 {
        endpoint.note_fault(3);
    }
    suspected().await.unwrap();
    suspected().await.unwrap_err();
    // Nobody there is no bad luck.
    endpoint.note_refusal();
    suspected().await.unwrap();
}

#[test]
fn an_address_that_leaves_gets_no_new_work_and_one_that_stays_is_the_same() {
    let table = fixture::table(&["dns+http://a:1/mcp"], &TWO, 0, |_| {});
    let known = |table: &RoutingTable, addresses: &[&str]| {
        let answer = Ok(addresses.iter().map(|it| it.parse().unwrap()).collect());
        let mut known = Known::clone(&table.known);
        known.learn([(&"a:1".to_owned(), &answer)], Instant::now());
        table.with_names(Arc::new(known))
    };
    let address = |table: &RoutingTable, at: usize| table.arms.primary.endpoints[at].url.address();
    assert_eq!(table.arms.primary.endpoints.len(), 1, "an arm has an endpoint");
    let before = known(&table, &["10.0.0.2", "10.0.0.1"]);
    let stays = Arc::clone(&before.arms.primary.endpoints[1]);
    let leaves = Arc::clone(&before.arms.primary.endpoints[0]);
    let _busy = (stays.enter(), leaves.enter());
    let after = known(&fit(&before, &[1.0, 0.5], &[1.0, 1.0]), &["10.0.0.2", "10.0.0.3"]);
    assert_eq!(after.generation, 4);
    assert_eq!(
        [0, 1].map(|at| address(&after, at)),
        ["10.0.0.2", "10.0.0.3"].map(|it| it.parse().ok())
    );
    assert!(Arc::ptr_eq(&stays, &after.arms.primary.endpoints[0]), "with its counters");
    assert!((after.arms.primary.fitness[0] - 0.5).abs() < 1e-9, "and its fitness");
    assert!(Arc::ptr_eq(after.endpoint(leaves.id).unwrap(), &leaves), "it holds sessions");
    assert!(after.leaving().map(|it| it.id).eq([leaves.id]));
    after.take_effect();
    assert_eq!(leaves.room().limit(), after.config.limits.in_flight, "not without a limit");
    for all in [1.0, 0.0] {
        let table = fit(&after, &[all; 2], &[all; 2]);
        for _ in 0..10 {
            assert!(candidates(&table, &Place::New, || 0.5).iter().all(|it| it.id != leaves.id));
        }
    }
    let back = known(&after, &["10.0.0.1"]);
    assert!(Arc::ptr_eq(&leaves, &back.arms.primary.endpoints[0]), "it was there all the time");
}

proptest! {
    #[test]
    fn a_fitter_endpoint_never_loses_a_caller(
        fitness in prop::array::uniform5(prop_oneof![Just(0.0), Just(1.0), 0.0..1.0_f64]),
        index in 0_usize..5,
        more in 0.0..=1.0_f64,
        point in 0.0..1.0_f64,
    ) {
        let table = table(50, Balance::LeastRequests);
        let with = |all: [f64; 5]| fit(&table, &all[..3], &all[3..]);
        let mut fitter = fitness;
        fitter[index] = fitness[index].max(more);
        let (before, after) = (with(fitness), with(fitter));
        let own = before.fitness().nth(index).unwrap().0;
        let first = |table: &RoutingTable| {
            candidates(table, &Place::Caller(point), || unreachable!())[0].id
        };
        if fitness[index] > 0.0 && first(&before) == own.id {
            let at_border = (point - after.effective.secondary).abs() < 1e-9;
            prop_assert!(first(&after) == own.id || at_border);
        }
        // Nobody moves between two others of the same arm.
        let (was, is) = (first(&before), first(&after));
        let arm = |id| before.endpoint(id).unwrap().arm;
        if was != is && arm(was) == arm(is) && !before.effective.nothing_healthy {
            prop_assert!(was == own.id || is == own.id);
        }
    }
}
