//! How far a guard is on its way to revert, as one number for a gauge.
//!
//! Read from the same numbers that go on record, so that a gauge says what the record says. Does
//! not know: how a guard comes by them.

use serde_json::Value;

use crate::judge::{GuardState, Opinion};
use crate::names::Guard;

/// From 0, nothing against the candidate, to 1, where the guard reverts; nothing where it has
/// nothing to measure.
pub(super) fn level(opinion: &Opinion) -> Option<f64> {
    let numbers = &opinion.evidence;
    let share = match (opinion.state, opinion.guard) {
        (GuardState::Fired, _)
        | (GuardState::CommonCause, Guard::HealthFailures | Guard::SecurityAlert) => Some(1.0),
        (GuardState::Off | GuardState::Idle | GuardState::Cannot, _) => None,
        (_, Guard::ErrorRate) => errors(numbers),
        (_, Guard::Performance) => {
            let speed = numbers["performance"].as_f64();
            speed.zip(numbers["below"].as_f64()).map(|(is, below)| (1.0 - is) / (1.0 - below))
        }
        // Evidence multiplies, so its logarithm grows call by call.
        (_, Guard::Sequential) => {
            let line = numbers["reverts_at"].as_f64();
            numbers["e"].as_f64().zip(line).map(|(e, line)| e.max(1.0).ln() / line.ln())
        }
        (GuardState::Armed, Guard::HealthFailures | Guard::SecurityAlert) => Some(0.0),
    };
    share.filter(|share| share.is_finite()).map(|share| share.clamp(0.0, 1.0))
}

/// Every minute has to be above the limit, so the best one says how far it is.
fn errors(numbers: &Value) -> Option<f64> {
    let (candidate, above) = (numbers["candidate"].as_str()?, numbers["above"].as_f64()?);
    let share = |minute: &Value| {
        let of = |what: &str| minute[what][candidate].as_f64();
        Some(of("faults")? / of("requests")?.max(1.0))
    };
    let shares = numbers["minutes"].as_array()?.iter().filter_map(share);
    shares.min_by(f64::total_cmp).map(|least| least / above)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_guard_has_a_gauge() {
        let minute = |faults: u64| {
            let both = |secondary| json!({ "primary": 0, "secondary": secondary });
            json!({ "requests": both(100), "faults": both(faults) })
        };
        let errors =
            |minutes: Value| json!({ "candidate": "secondary", "above": 0.05, "minutes": minutes });
        let speed = |is: Value| json!({ "below": 0.9, "performance": is });
        let evidence = |e: f64| json!({ "e": e, "reverts_at": 100.0 });
        let armed = GuardState::Armed;
        for (guard, state, evidence, wanted) in [
            (Guard::ErrorRate, armed, errors(json!([minute(4), minute(1)])), Some(0.2)),
            (Guard::ErrorRate, GuardState::Fired, errors(json!([minute(9)])), Some(1.0)),
            (Guard::ErrorRate, armed, errors(json!([])), None),
            (Guard::Performance, armed, speed(json!(0.95)), Some(0.5)),
            (Guard::Performance, armed, speed(json!(1.2)), Some(0.0)),
            (Guard::Performance, armed, speed(Value::Null), None),
            (Guard::Sequential, armed, evidence(10.0), Some(0.5)),
            (Guard::Sequential, armed, evidence(0.1), Some(0.0)),
            (Guard::SecurityAlert, armed, Value::Null, Some(0.0)),
            (Guard::HealthFailures, GuardState::CommonCause, Value::Null, Some(1.0)),
            (Guard::HealthFailures, GuardState::Cannot, Value::Null, None),
            (Guard::Sequential, GuardState::Idle, evidence(10.0), None),
        ] {
            let opinion = Opinion { guard, state, why: String::new(), evidence };
            let found = level(&opinion);
            let same = match (found, wanted) {
                (Some(found), Some(wanted)) => f64::abs(found - wanted) < 1e-9,
                (found, wanted) => found.is_none() && wanted.is_none(),
            };
            assert!(same, "{opinion:?}: {found:?}");
        }
    }
}
