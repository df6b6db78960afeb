//! The frames of an HTTP/2 connection: the same account for every cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::listen::frames::{Excess, Frames};
use tidegate_fuzz::split;
use tokio::time::Instant;

fn count(pieces: &[&[u8]], now: Instant) -> (Result<(), Excess>, bool) {
    let mut frames = Frames::new(now);
    let read = pieces.iter().try_for_each(|piece| frames.read(piece, now));
    (read, frames.head().is_some())
}

fuzz_target!(|input: &[u8]| {
    let (text, pieces) = split(input);
    let now = Instant::now();
    let (cut, whole) = (count(&pieces, now), count(&[text], now));
    assert_eq!(cut.0, whole.0);
    assert!(cut.0.is_err() || cut.1 == whole.1);
});
