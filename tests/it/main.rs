//! All integration tests in one binary: the real program, started as a process, between scripted
//! or real servers and clients. Tests that need more than Rust, or minutes, are ignored by
//! default; `tests/run` installs what they need and runs them too.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(missing_docs, unreachable_pub, reason = "nobody else reads the harness's API")]
#![allow(clippy::print_stderr, reason = "a failed test shows what it has")]

mod support;

mod tidy;

mod together;

mod bad_input;

mod law;

mod bad_answers;

mod limits;

mod tls;

mod slow;

mod slow_http_test;

mod floods;

mod log;

mod drain;

mod faults;

mod overload;

mod forwarding;

mod states;

mod stopping;

mod streams;

mod split;

mod counting;

mod affinity;

mod names;

mod admin;

mod admin_access;

mod secrets;

mod alerts;

mod notify;

mod manners;

mod packaging;

mod journal;

mod health;

mod verdicts;

mod upgrade;

mod living;
mod upstream_tls;

mod validate;

mod known;

mod life;

mod supervised;

mod watch;

mod sums;

mod outcomes;

mod latency;

mod monte_carlo;

mod identity;

mod real;

mod rollouts;

mod baseline;

mod report;

mod deploy;

mod day;

mod rust_sdk;

mod origins;

mod conformance;

mod container;

mod chaos;
