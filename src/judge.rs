//! What the counts mean over time. Numbers in, numbers out.
//!
//! Pure: `now` is an argument. Does not know: workers, metrics, who acts on it.

pub mod window;
