//! What is written is read again, whatever happens to the files.

use std::io::Write as _;

use super::*;

const NOW: u64 = 1_770_000_000_000;

fn minute(at: u64) -> Line {
    let arm = ArmMinute { weight: 50, exchanges: 7, p50: Some(12.5), ..ArmMinute::default() };
    let arms = PerArm { primary: arm, secondary: ArmMinute::default() };
    Line::Minute(Minute { at, span: 60_000, arms, connections: 3, connections_max: 10 })
}

fn write(dir: &Path, lines: impl IntoIterator<Item = Line>) {
    let writer = Writer::new(dir);
    for line in lines {
        writer.push(line);
        writer.flush();
    }
}

fn all(dir: &Path, from: u64, to: u64) -> (Vec<Line>, u64) {
    let mut lines = Vec::new();
    let skipped = read(dir, from, to, |line| lines.push(line)).unwrap();
    (lines, skipped)
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(folder(dir)).unwrap().count()
}

#[test]
fn lines_come_back_in_order_and_only_those_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(all(dir.path(), 0, NOW), (Vec::new(), 0), "nothing yet");
    let lines: Vec<_> = (0..3000).map(|number| minute(NOW + number * 60_000)).collect();
    write(dir.path(), lines.clone());
    assert_eq!(files(dir.path()), 3, "a file a day");
    assert_eq!(all(dir.path(), 0, NOW * 2).0.len(), 0, "of more than 35 days the last ones");
    assert_eq!(all(dir.path(), NOW - DAY, NOW + 3 * DAY), (lines.clone(), 0));
    assert_eq!(all(dir.path(), NOW, NOW + 60_000).0, lines[1..=2]);
}

#[test]
fn what_a_crash_or_a_hand_has_cut_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), [minute(NOW)]);
    let path = file(dir.path(), NOW);
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(b"{\"minute\":{\"at\":17").unwrap();
    write(dir.path(), [minute(NOW + 1)]);
    file.write_all(b"\xff\xfe\n{\"weather\":{}}\n\n").unwrap();
    write(dir.path(), [minute(NOW + 2)]);
    let (lines, skipped) = all(dir.path(), NOW - DAY, NOW + DAY);
    assert_eq!(lines, [minute(NOW), minute(NOW + 1), minute(NOW + 2)]);
    assert_eq!(skipped, 3);
}

#[test]
fn days_long_past_are_removed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), (0..50).map(|number| minute(NOW + number * DAY)));
    assert_eq!(files(dir.path()), 35);
    std::fs::write(folder(dir.path()).join("notes.txt"), "mine").unwrap();
    write(dir.path(), [minute(NOW + 200 * DAY)]);
    assert_eq!(files(dir.path()), 2);
}

#[test]
fn a_day_has_an_end_of_its_file() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), [minute(NOW)]);
    let path = file(dir.path(), NOW);
    let tools = Line::Tools(Tools {
        at: NOW,
        span: 1,
        rollout: None,
        step: None,
        revision: 1,
        arms: PerArm::default(),
    });
    let length = |path: &Path| std::fs::metadata(path).unwrap().len();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(BYTES_MAX + 1).unwrap();
    write(dir.path(), [tools]);
    assert_eq!(length(&path), BYTES_MAX + 1);
    write(dir.path(), [minute(NOW)]);
    assert!(length(&path) > BYTES_MAX + 1, "minutes have room beyond");
    // A file of nothing but zeros is no reason to fail, nor to read for ever.
    assert!(all(dir.path(), NOW - DAY, NOW + DAY).1 > 0);
}

#[test]
fn a_disk_that_refuses_is_no_error_to_anybody() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(folder(dir.path()), "a file where the folder should be").unwrap();
    let writer = Writer::new(dir.path());
    for number in 0..1000 {
        writer.push(minute(NOW + number));
    }
    writer.flush();
    std::fs::remove_file(folder(dir.path())).unwrap();
    writer.push(minute(NOW));
    writer.flush();
    assert_eq!(all(dir.path(), NOW - DAY, NOW + DAY).0, [minute(NOW)]);
}

#[test]
fn days_have_names() {
    assert_eq!(day(0), "1970-01-01");
    assert_eq!(day(NOW), "2026-02-02");
    assert_eq!(day(u64::MAX), "9999-12-31");
}
