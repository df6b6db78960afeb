//! The way to a server and back: connections, headers, one attempt after the other.
//!
//! Does not judge: it says what happened, and nobody here counts it for or against an arm.

pub mod request_body;

mod dial;

pub mod connect;

pub mod pool;

pub mod forwarded;

pub mod rewrite;

pub mod via;

pub mod answer;

pub mod forward;

pub mod own;
