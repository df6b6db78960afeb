//! Lines as a reader sees them.

use std::collections::HashMap;

use super::*;

const PLAIN: Look = Look { terminal: false, color: false };
const TERMINAL: Look = Look { terminal: true, color: false };

fn phase(primary: u8, sessions: (u64, u64)) -> Phase {
    let sessions = PerArm { primary: sessions.0, secondary: sessions.1 };
    Phase { asked: Split::new(primary, 100 - primary).unwrap(), sessions }
}

fn places() -> Places {
    let at = |text: &str| text.parse().unwrap();
    Places {
        router: at("127.0.0.1:8080"),
        servers: PerArm { primary: at("127.0.0.1:3000"), secondary: at("127.0.0.1:3001") },
        metrics: Some(at("127.0.0.1:9464")),
        program: "tidegate".to_owned(),
        socket_option: String::new(),
    }
}

#[test]
fn live_lines() {
    #[track_caller]
    fn check(look: Look, sessions: (u64, u64), want: &str) {
        let tally = Tally { calls: 1630, ..Tally::default() };
        assert_eq!(live(look, 12, &phase(50, sessions), &tally), want);
    }
    check(
        PLAIN,
        (212, 204),
        "  12s  weights 50:50   new sessions 1.0.0  212 ( 51 %)  2.0.0  204 ( 49 %)   \
         calls  1,630   sessions that changed version 0",
    );
    let bars =
        "  12s ████████░░░░░░░░ 1.0.0  212 ( 51 %) 2.0.0  204 ( 49 %)  calls  1,630  changed 0";
    check(TERMINAL, (212, 204), bars);
    let none =
        "  12s ················ 1.0.0    0 (  0 %) 2.0.0    0 (  0 %)  calls  1,630  changed 0";
    check(TERMINAL, (0, 0), none);
}

#[test]
fn percents_add_up() {
    for (primary, secondary) in [(1, 2), (2, 1), (1, 199), (199, 1), (0, 7), (7, 0)] {
        let counts = PerArm { primary, secondary };
        let sum: u64 = Arm::ALL.iter().map(|arm| percent(&counts, *arm)).sum();
        assert_eq!(sum, 100, "{counts:?}");
    }
}

#[test]
fn thousands_are_grouped() {
    for (count, want) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(thousands(count), want);
    }
}

#[test]
fn color_needs_a_terminal_and_leave() {
    let env =
        |name: &str, value: &str| Environment(HashMap::from([(name.to_owned(), value.to_owned())]));
    assert!(Look::new(true, &Environment::default()).color);
    assert!(Look::new(true, &env("NO_COLOR", "")).color);
    assert!(!Look::new(true, &env("NO_COLOR", "1")).color);
    assert!(!Look::new(true, &env("TERM", "dumb")).color);
    assert!(!Look::new(false, &Environment::default()).color);
    let line = live(Look { terminal: true, color: true }, 1, &phase(90, (9, 1)), &Tally::default());
    assert!(line.contains("\x1b[36m1.0.0    9 ( 90 %)\x1b[0m"), "{line:?}");
}

#[test]
fn summary_says_what_was_seen() {
    let tally = Tally {
        phases: vec![phase(90, (204, 24)), phase(0, (0, 230))],
        outlived: 44,
        errors: 1,
        last_error: Some("502 Bad Gateway: gone".to_owned()),
        ..Tally::default()
    };
    let text = summary(PLAIN, &tally);
    for line in [
        "  weights   new sessions   1.0.0          2.0.0",
        "  90:10              228     204 ( 89 %)     24 ( 11 %)",
        "  0:100              230       0 (  0 %)    230 (100 %)",
        "  sessions that changed version   0 of 458; 44 were in use while the weights moved",
        "  sessions that failed            1",
        "  the last of them                502 Bad Gateway: gone",
    ] {
        assert!(text.lines().any(|have| have == line), "{line}\nnot in\n{text}");
    }
}

#[test]
fn words_name_the_places() {
    let mut places = places();
    places.socket_option = " --socket /tmp/demo.sock".to_owned();
    let text = intro(PLAIN, &places) + &try_it(PLAIN, &places);
    for part in [
        "primary   http://127.0.0.1:3000/mcp   version 1.0.0",
        "secondary http://127.0.0.1:3001/mcp   version 2.0.0",
        "router    http://127.0.0.1:8080/mcp",
        "metrics   http://127.0.0.1:9464/metrics",
        "tidegate status --socket /tmp/demo.sock\n",
        "mcp() { curl -s http://127.0.0.1:8080/mcp",
        r#""clientInfo":{"name":"curl","version":"1"}}}' |"#,
    ] {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
}
