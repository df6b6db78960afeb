//! Files of baselines: kept, listed, damaged, and too many of them.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use super::*;

fn baseline(name: &str, at: &str) -> Baseline {
    let mut figures = Figures::default();
    figures.outcomes.insert("ok".to_owned(), 3);
    figures.latency.add(Duration::from_millis(20));
    let kind = Kind { method: "tools/call".to_owned(), tool: "echo".to_owned() };
    let kinds = vec![Measured { kind, figures }];
    let name = name.parse().unwrap();
    Baseline::new(name, at.to_owned(), Arm::Primary, Some("one 1".to_owned()), 3600, kinds)
}

fn names(dir: &Path) -> Vec<String> {
    list(dir).unwrap().baselines.into_iter().map(|it| it.name.into()).collect()
}

#[test]
fn what_is_kept_is_read_back_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(list(dir).unwrap().baselines.is_empty());
    let (old, new) = (baseline("spring", "2026-03-01T00:00:00.000Z"), baseline("b", "2026-04"));
    keep(dir, &new).unwrap();
    keep(dir, &old).unwrap();
    assert_eq!(names(dir), ["b", "spring"]);
    assert_eq!(read(dir, &old.name).unwrap(), Some(old.clone()));
    assert_eq!(std::fs::metadata(folder(dir).join("b.json")).unwrap().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(folder(dir)).unwrap().mode() & 0o777, 0o700);
    assert!(matches!(keep(dir, &old), Err(KeepError::Exists(_))));
    assert!(remove(dir, &old.name).unwrap() && !remove(dir, &old.name).unwrap());
    assert_eq!(read(dir, &old.name).unwrap(), None);
}

#[test]
fn names_are_those_of_files() {
    for bad in ["", ".", "..", "-x", "a/b", "a b", "compare", "ä", &"x".repeat(65)] {
        assert!(bad.parse::<Name>().is_err(), "{bad}");
    }
    let automatic = ["auto-2026-11-23", "before-r18", "after-r2"];
    let by_hand = ["auto-", "auto-x", "before-r", "before-rx", "before-deploy", "after-r1-2", "b"];
    for (names, is_automatic) in [(&automatic[..], true), (&by_hand[..], false)] {
        for name in names {
            assert_eq!(name.parse::<Name>().unwrap().is_automatic(), is_automatic, "{name}");
        }
    }
}

#[test]
fn damaged_files_are_skipped_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    keep(dir, &baseline("good", "2026")).unwrap();
    let good = std::fs::read_to_string(folder(dir).join("good.json")).unwrap();
    let whole = good.replace("\"good\"", "\"bad\"");
    for (text, words) in [
        (whole[..whole.len() / 2].to_owned(), "it is damaged: EOF"),
        (String::new(), "it is damaged: EOF"),
        (good.clone(), "it says that it is `good`"),
        (whole.replace("\"version\":1", "\"version\":2"), "it is of version 2"),
        (
            whole.replace("\"ok\":3", "\"ok\":18446744073709551615"),
            "its figures of `echo` cannot be",
        ),
        (whole.replace("\"faults\":0", "\"faults\":4"), "its figures of `echo` cannot be"),
        (whole.replace("\"count\":1.0", "\"count\":7.0"), "its figures of `echo` cannot be"),
        ("x".repeat(BYTES_MAX as usize + 1), "no file of at most"),
    ] {
        std::fs::write(folder(dir).join("bad.json"), &text).unwrap();
        let listed = list(dir).unwrap();
        assert_eq!(names(dir), ["good"]);
        let skipped = &listed.skipped[0];
        assert!(skipped.file == "bad.json" && skipped.why.contains(words), "{words}: {skipped:?}");
        assert!(read(dir, &"bad".parse().unwrap()).unwrap_err().contains(words));
    }
    std::fs::create_dir(folder(dir).join("dir.json")).unwrap();
    assert_eq!(list(dir).unwrap().skipped.len(), 2);
    assert!(remove(dir, &"bad".parse().unwrap()).unwrap());
}

#[test]
fn automatic_ones_make_room_and_others_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    keep(dir, &baseline("mine", "2000")).unwrap();
    for number in 1..=KEPT_MAX {
        keep(dir, &baseline(&format!("before-r{number}"), &format!("2026-{number:04}"))).unwrap();
    }
    let all = names(dir);
    assert_eq!(all.len(), KEPT_MAX);
    assert_eq!((all[0].as_str(), all[KEPT_MAX - 2].as_str()), ("before-r200", "before-r2"));
    assert_eq!(all[KEPT_MAX - 1], "mine");
    for number in 0..KEPT_MAX - 1 {
        keep(dir, &baseline(&format!("mine-{number}"), "2026")).unwrap();
    }
    assert!(matches!(keep(dir, &baseline("more", "2026")), Err(KeepError::Full)));
    assert!(matches!(keep(dir, &baseline("auto-2026-11-23", "2026")), Err(KeepError::Full)));
}
