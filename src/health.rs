//! Health: what an endpoint offers, and how the offers of two versions differ.
//!
//! Does not know: the control plane, metrics, the admin socket.

pub mod catalogue;

pub mod diff;

pub mod shown;
