//! The admin sockets: HTTP/1.1 with JSON on Unix sockets, for the command line and for curl; and the
//! listeners for Prometheus and for Alertmanager.
//!
//! Every request is answered by the control plane's one thread, so changes have an order. Does not
//! know: how a change is carried out.

pub mod wire;

pub mod socket;

pub mod groups;

pub mod peer;

pub mod verbs;

mod answers;

mod bearer;

mod body;

mod places;

pub mod status;

mod minute;

mod command;

mod scrape;

mod webhook;

pub mod serve;

pub mod client;
