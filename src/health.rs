//! Whether an endpoint works, found out by the handshake that clients make.
//!
//! `handshake` makes one, `probe` repeats it, `state` says what a row of results means, `board`
//! keeps what is known of every endpoint. Does not know: who acts on it; fitness is handed out as
//! plain numbers, and real traffic is never counted here.

pub mod catalogue;

pub mod diff;

pub mod verdict;

pub mod subject;

mod bounded;

mod caller;

mod expect;

pub mod handshake;

pub mod state;

pub mod probe;

pub mod board;

pub mod outliers;

pub mod hold;

pub mod trial;

pub use board::Board;
pub use handshake::Probe;
pub use outliers::Outliers;
pub use state::State;
pub use subject::Subject;
pub use verdict::Verdict;
