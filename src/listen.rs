//! The door to the network: listeners, accepted connections, TLS, HTTP/1.1 and HTTP/2 on them.
//!
//! Knows no MCP and no arms: what answers a request is an argument.

pub mod accept;

pub mod bequest;

pub mod client;

pub mod detect;

pub mod frames;

pub mod inherited;

pub mod law;

pub mod pace;

pub mod crowd;

pub mod secure;

pub mod serve;

pub mod watched;
