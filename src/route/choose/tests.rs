//! Shares, balance, and the order in which endpoints are tried.

use super::super::affinity::{Session, UpstreamSession};
use super::super::tests as fixture;
use super::*;

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
fn taking_turns_uses_each_endpoint_in_turn() {
    let table = table(0, Balance::RoundRobin);
    let firsts: Vec<_> = (0..6).map(|_| order(&table, &Place::New, 0.5)[0].clone()).collect();
    assert_eq!(firsts, ["a:1", "a:2", "a:3", "a:1", "a:2", "a:3"]);
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
