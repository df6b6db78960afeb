//! The door to the network: listeners, accepted connections, HTTP/1.1 and HTTP/2 on them.
//!
//! Knows no MCP and no arms: what answers a request is an argument.

pub mod accept;

pub mod detect;

pub mod serve;
