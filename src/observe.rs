//! What happened to each exchange, counted where it happened.
//!
//! Passes every byte on untouched and at once. Knows no windows: what the counts mean over time is
//! somebody else's question.

pub mod latency;

pub mod session;

pub mod seen;

pub mod tally;

pub mod exchange;

pub mod report;

pub mod stream;

pub mod tap;

pub mod access;

mod live;

pub mod join;

pub mod collect;
