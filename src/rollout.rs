//! A rollout: the candidate's share of new work rises by a plan, step by step, to all of it.
//!
//! Pure, so that the same machine runs on live traffic and on simulated weeks: a state and what
//! was seen go in, the next state and what is to be done come out.
//! Does not know: clocks, evidence, routing tables, disks, who asks.

mod plan;

mod machine;

pub use machine::{Effect, Look, PASSED_MAX, Readiness, Refused, Rollout, RolloutState, Verb};
pub use plan::Plan;
