//! The admin socket: HTTP/1.1 with JSON on a Unix socket, for the command line and for curl; and
//! the listeners for Prometheus and for Alertmanager.
//!
//! Every request is answered by the control plane's one thread, so changes have an order. Does not
//! know: how a change is carried out.

pub mod wire;

pub mod socket;

pub mod peer;

pub mod status;

mod minute;

pub mod command;

pub mod scrape;

pub mod webhook;

pub mod serve;

pub mod client;
