//! What passes and what does not, frame by frame.

use proptest::prelude::*;

use super::*;

const PRI: &[u8; PREFACE] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

fn frame(kind: u8, flags: u8, length: u32) -> Vec<u8> {
    let [_, high, middle, low] = length.to_be_bytes();
    let mut bytes = vec![high, middle, low, kind, flags, 0, 0, 0, 1];
    bytes.resize(9 + length as usize, 0);
    bytes
}

/// How many of these frames pass on a new connection, one after the other.
fn pass(kind: u8, flags: u8, length: u32) -> usize {
    let now = Instant::now();
    let mut frames = Frames::new(now);
    frames.read(PRI, now).unwrap();
    let bytes = frame(kind, flags, length);
    (0..100_000).take_while(|_| frames.read(&bytes, now).is_ok()).count()
}

#[test]
fn what_asks_for_nothing_is_bounded() {
    for (kind, flags, length, want) in [
        (PING, 0, 8, 500),
        (PING, 1, 8, 500),
        (SETTINGS, 0, 6, 500),
        (2, 0, 5, 500),
        (WINDOW_UPDATE, 0, 4, 500),
        (200, 0, 100, 500),
        (DATA, 0, 0, 500),
        (CONTINUATION, 0, 10, 500),
        (RST_STREAM, 0, 4, 100),
        (DATA, 0, 1, 100_000),
        (DATA, END_STREAM, 0, 100_000),
        (HEADERS, END_HEADERS, 10, 100_000),
        (PING, 0, FRAME_MAX + 1, 0),
    ] {
        assert_eq!(pass(kind, flags, length), want, "{kind} {flags} {length}");
    }
}

#[test]
fn requests_that_are_taken_back_run_out() {
    let now = Instant::now();
    let mut frames = Frames::new(now);
    frames.read(PRI, now).unwrap();
    let pair = [frame(HEADERS, 5, 20), frame(RST_STREAM, 0, 4)].concat();
    let passed = (0..10_000).take_while(|_| frames.read(&pair, now).is_ok()).count();
    assert!((100..200).contains(&passed), "{passed}");
    // Unless something was answered in between.
    let mut frames = Frames::new(now);
    frames.read(PRI, now).unwrap();
    assert!((0..10_000).all(|_| {
        frames.earn(10);
        frames.read(&pair, now).is_ok()
    }));
}

#[test]
fn honest_clients_are_never_near_it() {
    let mut now = Instant::now();
    let mut frames = Frames::new(now);
    frames.read(PRI, now).unwrap();
    let opened = frame(WINDOW_UPDATE, 0, 4);
    // A burst of small events, each acknowledged on the stream and on the connection, with a PING.
    for _ in 0..5000 {
        frames.earn(60);
    }
    for _ in 0..5000 {
        frames.read(&[opened.clone(), opened.clone(), frame(PING, 0, 8)].concat(), now).unwrap();
    }
    // A large answer to a client that opens both windows after every 4 KiB.
    for _ in 0..1000 {
        frames.earn(16 * 1024);
        frames.read(&opened.repeat(8), now).unwrap();
    }
    // A day of PINGs, one a second.
    for _ in 0..86_400 {
        now += Duration::from_secs(1);
        frames.read(&frame(PING, 0, 8), now).unwrap();
    }
}

#[test]
fn time_does_not_save_up_for_a_flood() {
    let mut now = Instant::now();
    let mut frames = Frames::new(now);
    frames.read(PRI, now).unwrap();
    now += Duration::from_secs(86_400);
    let ping = frame(PING, 0, 8);
    assert_eq!((0..100_000).take_while(|_| frames.read(&ping, now).is_ok()).count(), 1000);
}

#[test]
fn a_head_is_open_until_its_last_byte() {
    let now = Instant::now();
    let mut frames = Frames::new(now);
    let mut check = |bytes: &[u8], open: bool| {
        frames.read(bytes, now).unwrap();
        assert_eq!(frames.head().is_some(), open, "{bytes:?}");
    };
    let whole = frame(HEADERS, END_HEADERS, 10);
    check(PRI, false);
    check(&whole[..8], false);
    check(&whole[8..12], true);
    check(&whole[12..], false);
    check(&frame(HEADERS, 0, 3), true);
    check(&frame(CONTINUATION, 0, 0), true);
    check(&frame(CONTINUATION, END_HEADERS, 0), false);
    check(&frame(DATA, 0, 100)[..50], false);
}

proptest! {
    #[test]
    fn cutting_the_bytes_changes_nothing(
        kinds in prop::collection::vec((0_u8..12, 0_u8..16, 0_u32..40), 0..60),
        cuts in prop::collection::vec(0_usize..2000, 0..20),
    ) {
        let now = Instant::now();
        let mut bytes = PRI.to_vec();
        for (kind, flags, length) in kinds {
            bytes.extend(frame(kind, flags, length));
        }
        let mut whole = Frames::new(now);
        whole.read(&bytes, now).unwrap();
        let mut cuts: Vec<_> = cuts.into_iter().map(|at| at.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut pieces = Frames::new(now);
        for pair in cuts.windows(2) {
            pieces.read(&bytes[pair[0]..pair[1]], now).unwrap();
        }
        prop_assert_eq!(whole.budget, pieces.budget);
        prop_assert_eq!(whole.head, pieces.head);
    }
}
