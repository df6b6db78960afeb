//! The journal on a real disk, cut, edited and refused by it.

use std::fs::OpenOptions;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::names::Split;

fn split(secondary: u8) -> Split {
    Split::new(100 - secondary, secondary).unwrap()
}

/// A state that tells which one it is.
fn state(number: u8) -> State {
    State::first(split(0)).next(split(number % 101), split(0), Actor::Start)
}

fn open(dir: &TempDir) -> (Journal, Restored) {
    Journal::open(dir.path()).unwrap()
}

fn add(journal: &mut Journal, number: u8) {
    let detail = json!({ "text": "ü".repeat(usize::from(number % 7)) });
    journal.write("event", &Actor::Start, detail, &state(number), Sync::Later).unwrap();
}

/// A journal with these states.
fn with(numbers: impl IntoIterator<Item = u8>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(&dir).0;
    numbers.into_iter().for_each(|number| add(&mut journal, number));
    dir
}

fn current(dir: &TempDir) -> PathBuf {
    dir.path().join(CURRENT)
}

fn text(dir: &TempDir) -> String {
    std::fs::read_to_string(current(dir)).unwrap()
}

/// Puts other lines in the place of those that are there.
fn edit(dir: &TempDir, edit: impl FnOnce(&mut Vec<String>)) {
    let mut lines: Vec<String> = text(dir).lines().map(str::to_owned).collect();
    edit(&mut lines);
    std::fs::write(current(dir), lines.join("\n") + "\n").unwrap();
}

fn problems(dir: &TempDir) -> Vec<String> {
    verify(dir.path()).unwrap().problems.iter().map(ToString::to_string).collect()
}

fn events(dir: &TempDir, order: Order) -> Vec<(Option<u64>, String)> {
    read(dir.path(), order)
        .unwrap()
        .map(|record| record.map(|record| (record.seq, record.event)).unwrap())
        .collect()
}

#[test]
fn a_first_start_finds_nothing_and_a_second_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, first) = open(&dir);
    assert!(first.state.is_none() && first.holds && !first.torn && first.damaged.is_none());
    add(&mut journal, 7);
    drop(journal);
    let second = open(&dir).1;
    assert_eq!((second.state.map(|it| it.split), second.holds), (Some(split(7)), true));
    let verified = verify(dir.path()).unwrap();
    assert_eq!((verified.files, verified.lines), (1, 1));
    assert_eq!(verified.first, verified.last);
    assert!(verified.problems.is_empty() && verified.remarks.is_empty());
}

#[test]
fn a_directory_belongs_to_one_router() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir).0;
    let refused = Journal::open(dir.path()).unwrap_err().to_string();
    let expected =
        format!("another tidegate (pid {}) uses the state directory", std::process::id());
    assert!(refused.starts_with(&expected), "{refused}");
    assert!(refused.contains(&dir.path().display().to_string()), "{refused}");
    drop(journal);
    open(&dir);
}

#[test]
fn every_kind_of_edit_is_named() {
    type Edit = fn(&mut Vec<String>);
    let cases: [(&str, Edit, &[&str]); 10] = [
        ("nothing", |_| {}, &[]),
        (
            "edited",
            |lines| lines[2] = lines[2].replace("\"secondary\":2", "\"secondary\":3"),
            &["audit.jsonl:3: seq 3 is not as it was when seq 4 was written behind it"],
        ),
        ("removed", |lines| drop(lines.remove(2)), &["audit.jsonl:3: seq 3 is missing before it"]),
        (
            "two removed",
            |lines| drop(lines.drain(1..3)),
            &["audit.jsonl:2: seq 2 to 3 are missing before it"],
        ),
        (
            "the first removed",
            |lines| drop(lines.remove(0)),
            &["audit.jsonl:1: the lines before it are missing"],
        ),
        (
            "swapped",
            |lines| lines.swap(1, 2),
            &[
                "audit.jsonl:2: seq 2 is missing before it",
                "audit.jsonl:3: seq 2 stands behind seq 3",
            ],
        ),
        (
            "doubled",
            |lines| lines.insert(1, lines[0].clone()),
            &["audit.jsonl:2: seq 1 stands behind seq 1"],
        ),
        (
            "made unreadable",
            |lines| lines[2] = "nonsense".to_owned(),
            &["audit.jsonl:3: it is no record: expected ident at line 1 column 2"],
        ),
        (
            "added",
            |lines| lines.insert(2, "{}".to_owned()),
            &["audit.jsonl:3: it is no record: missing field `version` at line 1 column 2"],
        ),
        (
            "of the future",
            |lines| lines[2] = "{\"version\":3}".to_owned(),
            &["audit.jsonl:3: it is of version 3, which this version does not know"],
        ),
    ];
    for (name, change, expected) in cases {
        let dir = with(0..6);
        edit(&dir, change);
        assert_eq!(problems(&dir), expected, "{name}");
        let restored = open(&dir).1;
        // The last line is there, so what it says holds.
        assert_eq!(restored.state.map(|it| it.split), Some(split(5)), "{name}");
        assert!(restored.holds, "{name}");
        let has_first = name != "the first removed";
        assert_eq!(restored.damaged.is_some(), !expected.is_empty() && has_first, "{name}");
    }
}

#[test]
fn a_last_line_that_cannot_be_read_is_a_doubt() {
    for last in ["nonsense", "{}", "{\"version\":3}", "{\"version\":2,\"seq\":4}"] {
        let dir = with(0..4);
        edit(&dir, |lines| *lines.last_mut().unwrap() = last.to_owned());
        let restored = open(&dir).1;
        assert!(!restored.holds && restored.damaged.is_some(), "{last}: {restored:?}");
        assert_eq!(restored.state.map(|it| it.split), Some(split(2)));
    }
    let dir = with(0..4);
    edit(&dir, |lines| {
        let last = lines.last_mut().unwrap();
        *last = last.replace("\"revision\":", "\"revised\":");
    });
    let restored = open(&dir).1;
    let damaged = "this version cannot read the last state";
    assert_eq!((restored.holds, restored.damaged.as_deref()), (false, Some(damaged)));
    edit(&dir, |lines| lines.fill("nonsense".to_owned()));
    let restored = open(&dir).1;
    assert!(restored.state.is_none() && !restored.holds && restored.damaged.is_some());
}

#[test]
fn what_version_1_left_is_taken_over_once() {
    let old = r#"{"version":1,"at":"2025-01-01T00:00:00.000Z","event":"start","actor":{"kind":"start"},"detail":{}}"#;
    let dir = tempfile::tempdir().unwrap();
    let beside = dir.path().join("state.json");
    std::fs::write(current(&dir), format!("{old}\n{old}\n")).unwrap();
    std::fs::write(&beside, serde_json::to_vec_pretty(&state(30)).unwrap()).unwrap();
    let (mut journal, restored) = open(&dir);
    assert_eq!((restored.state.map(|it| it.split), restored.holds), (Some(split(30)), true));
    assert!(restored.damaged.is_none());
    add(&mut journal, 30);
    assert!(beside.exists(), "no line is surely on the disk");
    journal.write("start", &Actor::Start, Value::Null, &state(10), Sync::Now).unwrap();
    assert!(!beside.exists());
    // As if it had not been removed: the journal is newer.
    std::fs::write(&beside, serde_json::to_vec_pretty(&state(30)).unwrap()).unwrap();
    drop(journal);
    assert_eq!(open(&dir).1.state.map(|it| it.split), Some(split(10)));
    assert_eq!(problems(&dir), [""; 0]);
    let seqs = events(&dir, Order::OldestFirst).into_iter().map(|(seq, _)| seq);
    assert_eq!(seqs.collect::<Vec<_>>(), [None, None, Some(1), Some(2)]);
    edit(&dir, |lines| lines[1] = lines[1].replace("2025", "2024"));
    let edited = "audit.jsonl:2: this line is not as it was when seq 1 was written behind it";
    assert_eq!(problems(&dir), [edited]);
    // Old lines and no state at all.
    std::fs::remove_file(&beside).unwrap();
    edit(&dir, |lines| lines.truncate(2));
    let restored = open(&dir).1;
    assert_eq!(
        (restored.holds, restored.damaged.as_deref()),
        (false, Some("no line holds a state"))
    );
}

#[test]
fn full_files_are_put_aside_and_the_oldest_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open_with(dir.path(), 1000).unwrap().0;
    (0..30).for_each(|number| add(&mut journal, number));
    let few = verify(dir.path()).unwrap();
    assert!((5..=KEPT).contains(&few.files) && few.problems.is_empty(), "{few:?}");
    assert_eq!((few.lines, few.first.unwrap().seq), (30, 1));
    (30..120).for_each(|number| add(&mut journal, number));
    let many = verify(dir.path()).unwrap();
    assert_eq!((many.files, many.problems.len()), (KEPT + 1, 0), "{many:?}");
    assert_eq!(many.last.unwrap().seq, 120);
    assert!(many.first.unwrap().seq > 1);
    let mut read = events(&dir, Order::OldestFirst);
    assert_eq!(read.len() as u64, many.lines);
    assert_eq!(read.last().unwrap().0, Some(120));
    read.reverse();
    assert_eq!(events(&dir, Order::NewestFirst), read);
    drop(journal);
    // A file in the middle goes.
    let (seq, name) = files::full(dir.path()).unwrap().swap_remove(5);
    std::fs::remove_file(dir.path().join(name)).unwrap();
    let found = problems(&dir);
    assert!(found[0].ends_with(":1: the lines before it are missing"), "{found:?}");
    assert!(found[1].ends_with(&format!("to {seq} are missing before it")), "{found:?}");
    assert_eq!(found.len(), 2);
}

#[test]
fn a_crash_between_two_files_loses_nothing() {
    let dir = with(0..4);
    std::fs::rename(current(&dir), dir.path().join(files::full_name(4))).unwrap();
    for (number, is_empty) in [(4, false), (5, true)] {
        if is_empty {
            std::fs::rename(current(&dir), dir.path().join(files::full_name(5))).unwrap();
            File::create(current(&dir)).unwrap();
        }
        let (mut journal, restored) = open(&dir);
        assert_eq!(restored.state.map(|it| it.split), Some(split(number - 1)));
        assert!(restored.holds && !restored.torn && restored.damaged.is_none());
        add(&mut journal, number);
        assert_eq!(problems(&dir), [""; 0]);
    }
}

#[test]
fn long_lines_are_read_from_either_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(&dir).0;
    for size in [0, 70_000, 1, 200_000, 65_000] {
        let detail = json!("x".repeat(size));
        journal.write("long", &Actor::Start, detail, &state(1), Sync::Later).unwrap();
    }
    let mut read = events(&dir, Order::NewestFirst);
    assert_eq!(read.iter().filter_map(|it| it.0).collect::<Vec<_>>(), [5, 4, 3, 2, 1]);
    read.reverse();
    assert_eq!(read, events(&dir, Order::OldestFirst));
}

/// Runs with a file in the place of the journal's that takes nothing, as a full disk does.
fn while_full(journal: &mut Journal, run: impl FnOnce(&mut Journal)) {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let good = std::mem::replace(&mut journal.file, full);
    run(journal);
    journal.file = good;
}

#[test]
fn what_could_not_be_written_leaves_nothing_and_what_is_done_anyway_waits() {
    let dir = with(0..1);
    let reserve = dir.path().join("audit.reserve");
    let mut journal = open(&dir).0;
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), reserve::SIZE as u64);
    while_full(&mut journal, |journal| {
        let refused = journal.write("refused", &Actor::Start, Value::Null, &state(50), Sync::Now);
        assert!(refused.is_err());
        assert!(!reserve.exists(), "the space is given back");
        assert_eq!((journal.failures(), journal.pending()), (1, 0));
        journal.write_or_keep("one", &Actor::Start, Value::Null, &state(2));
        journal.write_or_keep("two", &Actor::Start, Value::Null, &state(3));
        assert!(journal.write_pending().is_err());
        assert_eq!((journal.failures(), journal.pending()), (4, 2));
    });
    journal.write("three", &Actor::Start, Value::Null, &state(4), Sync::Now).unwrap();
    assert_eq!((journal.pending(), journal.dropped()), (0, 0));
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), reserve::SIZE as u64);
    let found: Vec<_> = events(&dir, Order::OldestFirst).into_iter().map(|it| it.1).collect();
    assert_eq!(found, ["event", "one", "two", "three"]);
    assert_eq!(problems(&dir), [""; 0]);
}

#[test]
fn a_start_knows_of_lines_that_the_disk_did_not_take() {
    let dir = with(0..2);
    let mut journal = open(&dir).0;
    while_full(&mut journal, |journal| {
        journal.write_or_keep("revert", &Actor::Start, Value::Null, &state(0));
    });
    drop(journal);
    let lost = "the disk did not take every line when the router last ran";
    // Until a line says what holds, also over further starts.
    for _ in 0..2 {
        let restored = open(&dir).1;
        assert_eq!((restored.holds, restored.damaged.as_deref()), (false, Some(lost)));
        assert_eq!(restored.state.map(|it| it.split), Some(split(1)));
    }
    let mut journal = open(&dir).0;
    add(&mut journal, 0);
    drop(journal);
    assert!(open(&dir).1.holds);
    assert_eq!(problems(&dir), [""; 0]);
}

#[test]
fn of_too_many_that_wait_the_oldest_go_and_that_is_recorded() {
    let dir = with(0..1);
    let mut journal = open(&dir).0;
    while_full(&mut journal, |journal| {
        for number in 0..PENDING_MAX + 5 {
            journal.write_or_keep(&format!("e{number}"), &Actor::Start, Value::Null, &state(1));
        }
    });
    assert_eq!((journal.pending(), journal.dropped()), (PENDING_MAX, 5));
    journal.write_pending().unwrap();
    let records: Vec<_> =
        read(dir.path(), Order::OldestFirst).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(records.len(), 1 + 1 + PENDING_MAX);
    assert_eq!((records[1].event.as_str(), &records[1].detail), ("lost", &json!({ "lines": 5 })));
    assert_eq!(records[2].event, "e5");
    assert_eq!(problems(&dir), [""; 0]);
}

/// The file that was put aside last.
#[test]
fn long_lines_are_not_written_with_many_others() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(&dir);
    while_full(&mut journal, |journal| {
        let mut keep = |bytes: usize| {
            let detail = json!({ "x": "x".repeat(bytes) });
            journal.write_or_keep("validation", &Actor::Router, detail, &state(1));
        };
        [30_000, 10, 9000, 9000].into_iter().chain([1; 100]).for_each(&mut keep);
        for count in [1, 2, 32, 32, 32, 5] {
            assert_eq!(journal.batch(), count);
            journal.pending.drain(..count);
        }
    });
}

fn newest_aside(dir: &TempDir) -> Option<String> {
    let names = std::fs::read_dir(dir.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("audit-")).max()
}

/// Writes, is killed in the midst of a line, writes on; some of it in short files.
fn survives(rounds: Vec<(Vec<u8>, u16)>, bytes_max: u64) {
    let dir = tempfile::tempdir().unwrap();
    // Where the lines in the newest file end, without their line breaks, and the state of each.
    let mut whole: Vec<(u64, Split)> = Vec::new();
    let mut before = None;
    for (numbers, cut) in rounds {
        let (mut journal, restored) = Journal::open_with(dir.path(), bytes_max).unwrap();
        let expected = whole.last().map(|it| it.1).or(before);
        assert_eq!(restored.state.map(|it| it.split), expected);
        assert!(restored.holds && restored.damaged.is_none(), "{:?}", restored.damaged);
        for number in numbers {
            let last = whole.last().map(|it| it.1);
            let newest = newest_aside(&dir);
            add(&mut journal, number);
            let len = std::fs::metadata(current(&dir)).unwrap().len();
            if newest_aside(&dir) != newest {
                before = last.or(before);
                whole.clear();
            }
            whole.push((len - 1, split(number % 101)));
        }
        drop(journal);
        let len = std::fs::metadata(current(&dir)).unwrap().len();
        let len = len - len.min(u64::from(cut));
        OpenOptions::new().write(true).open(current(&dir)).unwrap().set_len(len).unwrap();
        whole.retain(|(end, _)| *end <= len);
        assert_eq!(problems(&dir), [""; 0]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_kill_at_any_byte_leaves_the_last_whole_line(
        rounds in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..5), 0..700_u16), 1..8),
        bytes_max in prop_oneof![Just(BYTES_MAX), 500..2000_u64],
    ) {
        survives(rounds, bytes_max);
    }
}

#[test]
fn every_byte_is_a_place_to_be_killed_at() {
    let dir = with(0..2);
    let whole = std::fs::read(current(&dir)).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap();
    for len in 0..=whole.len() {
        std::fs::write(current(&dir), &whole[..len]).unwrap();
        let (mut journal, restored) = open(&dir);
        let expected = match len {
            _ if len < first => None,
            _ if len < whole.len() - 1 => Some(split(0)),
            _ => Some(split(1)),
        };
        assert_eq!(restored.state.map(|it| it.split), expected, "{len}");
        assert!(restored.holds && restored.damaged.is_none(), "{len}");
        let ends = [0, first, first + 1, whole.len() - 1, whole.len()];
        assert_eq!(restored.torn, !ends.contains(&len), "{len}");
        add(&mut journal, 9);
        drop(journal);
        assert_eq!(problems(&dir), [""; 0], "{len}");
        assert_eq!(open(&dir).1.state.map(|it| it.split), Some(split(9)), "{len}");
    }
}
