//! What happened to each exchange, counted where it happened.
//!
//! Passes every byte on untouched and at once. Knows no windows: what the counts mean over time is
//! somebody else's question.

pub mod tally;

pub mod tap;

pub mod collect;
