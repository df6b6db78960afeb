//! Each grammar as a table: what is read, what is refused and in which words.

use std::fmt::Debug;

use super::*;

#[track_caller]
fn check<T: PartialEq + Debug>(
    read: impl Fn(&str) -> Result<T, BadName>,
    good: &[(&str, T)],
    bad: &[(&str, &str)],
) {
    for (text, value) in good {
        assert_eq!(read(text).as_ref(), Ok(value), "{text}");
    }
    for (text, words) in bad {
        let problem = read(text).expect_err(text).0;
        assert!(problem.contains(words), "{text}: {problem}");
    }
}

#[test]
fn durations() {
    let good = [
        ("250ms", Duration::from_millis(250)),
        ("5s", Duration::from_secs(5)),
        ("10m", Duration::from_secs(600)),
        ("1h", Duration::from_secs(3600)),
        ("0s", Duration::ZERO),
    ];
    let bad = [
        ("5", "no unit: write `5s`"),
        ("5d", "unknown unit `d`"),
        ("5 s", "unknown unit ` s`"),
        ("1h30m", "unknown unit `h30m`"),
        ("1.5s", "not a duration"),
        ("-1s", "not a duration"),
        ("", "not a duration"),
        ("off", "not a duration"),
        ("99999999999999999999s", "too large"),
        ("18446744073709551615h", "too large"),
    ];
    check(duration, &good, &bad);
    check(duration_or_off, &[("off", None), ("1s", Some(Duration::from_secs(1)))], &bad[..3]);
}

#[test]
fn sizes() {
    let good = [
        ("512", 512),
        ("512B", 512),
        ("10kB", 10_000),
        ("32KiB", 32_768),
        ("4MiB", 4_194_304),
        ("1MB", 1_000_000),
        ("2GiB", 2 << 30),
        ("1GB", 1_000_000_000),
    ];
    let bad = [
        ("10KB", "unknown unit `KB`"),
        ("10k", "unknown unit"),
        ("MiB", "not a size"),
        ("99999999999GiB", "too large"),
    ];
    check(bytes, &good, &bad);
}

#[test]
fn percents() {
    let bad =
        [("101%", "more than 100"), ("5 %", "unknown unit"), ("", "not a whole"), ("-5", "not a")];
    check(percent, &[("5%", 5), ("90", 90), ("0", 0), ("100%", 100)], &bad);
    check(
        percent,
        &[],
        &[("2.5%", "not a whole"), ("256", "more"), ("99999999999999999999", "too")],
    );
}

#[test]
fn modes() {
    let bad = ["8", "0o600", "1777", "0999", "", "00000600", "+60"];
    check(mode, &[("0600", 0o600), ("660", 0o660)], &bad.map(|text| (text, "no file mode")));
}

#[test]
fn splits() {
    let read = |text: &str| split(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
    let good = [
        ("primary:90 secondary:10", Split::new(90, 10).unwrap()),
        ("secondary:10 primary:90", Split::new(90, 10).unwrap()),
        ("secondary:25%", Split::new(75, 25).unwrap()),
        ("primary:0", Split::new(0, 100).unwrap()),
    ];
    let bad = [
        ("primary:90 secondary:20", "110"),
        ("primary:90 primary:10", "twice"),
        ("third:90", "no arm"),
        ("primary=90", "no weight"),
        ("primary:", "whole percentage"),
        ("primary:101", "more than 100"),
    ];
    check(read, &good, &bad);
    assert!(split(&[]).unwrap_err().0.contains("no weights"));
}
