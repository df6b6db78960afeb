//! Which arm and which endpoint: the routing table, and the pure way from a request to a place in
//! it.
//!
//! Everything here is a function of the table, the request's keys and a draw. Has never heard of
//! a rollout: whoever wants other weights publishes another table.

pub mod tools;

pub mod eligible;

pub mod room;

pub mod endpoint;

pub mod table;

pub mod live;

pub mod tag;

pub mod principal;

pub mod affinity;

pub mod choose;

#[cfg(test)]
pub(crate) mod tests;

pub use endpoint::Endpoint;
pub use live::Live;
pub use table::{Closed, Course, RoutingTable};
pub use tools::Tools;
