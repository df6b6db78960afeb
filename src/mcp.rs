//! MCP as it looks on the wire: which message is this, of which era, and what may be done with it.
//!
//! Pure and incremental: bytes and header values in, plain values out, the same for every
//! chunking of the same bytes. Does not know: sockets, arms, who asks or why.

pub mod header;

mod run;

pub mod scan;

pub mod message;

pub mod method;

pub mod classify;

pub mod sse;

pub mod answer;

pub mod outcome;

pub mod trace;

pub mod shown;

pub use classify::{Call, Kind};
pub use header::Era;
pub use method::Method;
