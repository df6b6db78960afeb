//! The list: what is one alert, what holds, what gives way.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn report(severity: Severity, reason: &str) -> Report {
    Report::new(severity, "scanner", reason).unwrap()
}

fn full_of(severity: Severity) -> Alerts {
    let mut alerts = Alerts::default();
    for number in 0..KEPT_MAX {
        alerts.raise(at(0), "me", report(severity, &number.to_string()));
    }
    alerts
}

#[test]
fn severities_have_many_names() {
    for (word, severity) in [
        ("info", Some(Severity::Info)),
        ("none", Some(Severity::Info)),
        ("warning", Some(Severity::Warning)),
        (" Medium ", Some(Severity::Warning)),
        ("high", Some(Severity::High)),
        ("error", Some(Severity::High)),
        ("CRITICAL", Some(Severity::Critical)),
        ("page", Some(Severity::Critical)),
        ("p1", None),
        ("", None),
    ] {
        assert_eq!(Severity::parse(word), severity, "{word}");
    }
    for severity in Severity::ALL {
        assert_eq!(Severity::parse(severity.as_str()), Some(severity));
        assert_eq!(serde_json::to_value(severity).unwrap(), severity.as_str());
    }
    assert!(Severity::Critical > Severity::High && Severity::Warning > Severity::Info);
}

#[test]
fn what_is_said_again_counts_up_and_never_gets_milder() {
    let mut alerts = Alerts::default();
    assert_eq!(alerts.raise(at(1), "me", report(Severity::High, "x")), Raised::New(1));
    assert_eq!(alerts.raise(at(2), "you", report(Severity::Critical, "x")), Raised::Again(1));
    assert_eq!(alerts.raise(at(3), "you", report(Severity::Info, " x\n")), Raised::Again(1));
    assert_eq!(alerts.raise(at(3), "you", report(Severity::Info, "y")), Raised::New(2));
    let latch = alerts.critical().unwrap();
    assert_eq!((latch.id, latch.count, latch.raised_by.as_str()), (1, 3, "me"));
    assert_eq!(
        (latch.raised_at.as_str(), latch.last_at.as_str()),
        ("1970-01-01T00:00:01Z", "1970-01-01T00:00:03Z")
    );
}

#[test]
fn a_person_clears_with_a_reason_and_once() {
    let mut alerts = Alerts::default();
    alerts.raise(at(1), "me", report(Severity::Critical, "x"));
    assert_eq!(alerts.clear(at(2), 1, "me", " \t"), Err(ClearError::NoReason));
    assert_eq!(alerts.clear(at(2), 2, "me", "why"), Err(ClearError::Unknown(2)));
    assert!(alerts.critical().is_some());
    let cleared = alerts.clear(at(2), 1, "me", "false alarm").unwrap().cleared.clone().unwrap();
    assert_eq!((cleared.by.as_str(), cleared.reason.as_str()), ("me", "false alarm"));
    assert_eq!(alerts.critical(), None);
    let again = alerts.clear(at(3), 1, "you", "why").unwrap_err().to_string();
    assert_eq!(again, "alert 1 was cleared at 1970-01-01T00:00:02Z by me: false alarm");
    // The same again is another alert.
    assert_eq!(alerts.raise(at(4), "me", report(Severity::Critical, "x")), Raised::New(2));
}

#[test]
fn what_is_open_gives_way_only_to_what_is_critical() {
    let mut alerts = full_of(Severity::High);
    assert_eq!(alerts.raise(at(1), "me", report(Severity::High, "more")), Raised::Refused);
    assert_eq!(alerts.raise(at(1), "me", report(Severity::High, "7")), Raised::Again(8));
    alerts.clear(at(1), 20, "me", "over").unwrap();
    assert_eq!(alerts.raise(at(1), "me", report(Severity::High, "more")), Raised::New(33));
    assert_eq!((alerts.get(20), alerts.left_out()), (None, 1));
    assert_eq!(alerts.raise(at(1), "me", report(Severity::Critical, "worst")), Raised::New(34));
    assert_eq!((alerts.get(1), alerts.left_out()), (None, 2));
    assert_eq!(alerts.critical().unwrap().id, 34);
    let mut alerts = full_of(Severity::Critical);
    assert_eq!(alerts.raise(at(1), "me", report(Severity::Critical, "more")), Raised::Refused);
}

#[test]
fn texts_are_bounded_and_visible() {
    let report =
        Report::new(Severity::Info, &"s".repeat(1000), "\u{1b}[2J two\n\n lines ").unwrap();
    assert_eq!(report.source.chars().count(), 129);
    assert_eq!(report.reason, "\\u{1b}[2J two lines");
    let long = Report::new(Severity::Info, "s", &"天".repeat(100_000)).unwrap();
    assert_eq!(long.reason.chars().count(), REASON_MAX + 1);
    for (source, reason, says) in [(" ", "r", "a source"), ("s", "\n", "a reason")] {
        let error = Report::new(Severity::Info, source, reason).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Raise(Severity, u8),
    Clear(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let severity = prop::sample::select(Severity::ALL.to_vec());
    prop_oneof![
        9 => (severity, any::<u8>()).prop_map(|(severity, reason)| Step::Raise(severity, reason)),
        1 => (1..300u64).prop_map(Step::Clear),
    ]
}

proptest! {
    #[test]
    fn the_list_is_bounded_and_keeps_what_matters(steps in prop::collection::vec(step(), 0..600)) {
        let mut alerts = Alerts::default();
        for step in steps {
            let before: Vec<u64> = alerts.open().map(|it| it.id).collect();
            let latched = alerts.critical().map(|it| it.id);
            match step {
                Step::Raise(severity, reason) => {
                    let raised = alerts.raise(at(1), "me", report(severity, &reason.to_string()));
                    let gone = before.iter().filter(|id| alerts.get(**id).is_none()).count();
                    prop_assert!(gone == 0 || (gone == 1 && severity == Severity::Critical));
                    if severity == Severity::Critical {
                        let is_critical = |it: &Alert| it.severity == Severity::Critical;
                        let all_are = alerts.open().all(is_critical);
                        prop_assert!(raised != Raised::Refused || all_are);
                        prop_assert!(alerts.critical().is_some());
                    }
                    prop_assert!(latched.is_none_or(|id| alerts.get(id).is_some_and(Alert::is_open)));
                }
                Step::Clear(id) => {
                    let cleared = alerts.clear(at(2), id, "me", "over").is_ok();
                    prop_assert_eq!(cleared, before.contains(&id));
                }
            }
            prop_assert!(alerts.all().len() <= KEPT_MAX);
            prop_assert!(alerts.all().is_sorted_by_key(|it| it.id));
        }
        let text = serde_json::to_vec(&alerts).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Alerts>(&text).unwrap(), alerts);
    }
}
