//! Screens of several sizes, cell by cell, and that no size and no model is too odd.

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use serde_json::json;

use super::super::fixture::{changed, event, events, status};
use super::*;
use crate::admin::wire::Status;

/// A watch of ten minutes, of which a quarter is over.
fn model(status: Status) -> (Model, Instant) {
    let began = Instant::now();
    let limit = Some(Duration::from_secs(600));
    let mut model = Model::new(None, limit, began, (status.clone(), events(&[])));
    let detail = json!({
        "before": { "primary": 95, "secondary": 5 }, "after": { "primary": 90, "secondary": 10 },
    });
    model.take(Instant::now(), status, &events(&[event(1, "step", &detail)]));
    (model, began + Duration::from_secs(150))
}

fn drawn(model: &Model, now: Instant, overlay: Overlay, size: (u16, u16), color: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal.draw(|frame| draw(frame, model, overlay, Look { color }, now)).unwrap();
    terminal.backend().buffer().clone()
}

/// The rows of a screen.
fn rows(buffer: &Buffer) -> Vec<String> {
    let cells = buffer.content().chunks(usize::from(buffer.area.width));
    let row = |cells: &[ratatui::buffer::Cell]| {
        cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>()
    };
    cells.map(|cells| row(cells).trim_end().to_owned()).collect()
}

#[track_caller]
fn shows(overlay: Overlay, size: (u16, u16), wanted: &str) {
    let (model, now) = model(status());
    let found = rows(&drawn(&model, now, overlay, size, false));
    let wanted: Vec<_> = wanted.trim_start_matches('\n').lines().collect();
    assert!(found == wanted, "{}", found.join("\n"));
}

#[test]
fn a_wide_terminal_has_room_for_everything() {
    let wanted = "
tidegate 0.1.0  production  127.0.0.1:8080  up 2h 3m                                            ███░░░░░░░░░ 7m 30s left
primary  search 2.3.1 stable ────────────────────────────── secondary  search 2.4.0 CANDIDATE ──────────────────────────
weight 90 %  up 1/1                                         weight 10 %  up 1/1
10.0/s                                                   █  0.3/s                                                     ▁
errors 1.0%, its own faults 0.5%                            errors 10.0%, its own faults 5.0%
tool calls p50 12.0ms  p95 24.0ms                           tool calls p50 18.0ms  p95 36.0ms
ok 594  tool_error 6                                        ok 18  tool_error 2
sessions 22  streams 3                                      sessions 3  streams 3
set  90:10  of new work           █████████████████████████████████████████████████████████████████████████████▒▒▒▒▒▒▒▒▒
seen 88:12  of 25 new sessions    ████████████████████████████████████████████████████████████████████████████▒▒▒▒▒▒▒▒▒▒
seen 97:3   of 620 exchanges      ███████████████████████████████████████████████████████████████████████████████████▒▒▒
work of the last minute ─────────────────────────────────── rollout r3 to secondary ────────────────────────────────────
                 n pri n sec ratio    trend err pri err sec step 2/3 10% progressing  ████░░░░░░░░░░░░░░░░ 1m 3s of 5m
search             600    20  1.50        ▆    1.0%   10.0% guards ─────────────────────────────────────────────────────
fetch               40    40  1.00        ▅    0.0%    0.0% evidence         ████████████░░░░░░░░░░░░ e 10.0 of 100
tools/list           0     5     -                -    0.0%   worst: search (e 12.0), speed 80%
                                                            health_failures  ░░░░░░░░░░ armed
                                                              a server of the secondary answers
                                                            error_rate       █████░░░░░ armed
                                                              not in each of the last 3 minutes: 1 of 20
                                                            security_alert   ░░░░░░░░░░ armed
                                                              no critical alert is open
                                                            sequential       █████░░░░░ armed
                                                              e-value 10.00, reverts at 100
                                                            performance      ·········· cannot tell
                                                              20 calls of the secondary, and 50 are needed
events ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────
12:00:05  step            95:5 -> 90:10  guard error_rate











p pause  r resume  a abort  q quit  ? help";
    shows(Overlay::None, (120, 40), wanted);
}

#[test]
fn a_usual_terminal_shows_what_matters() {
    let wanted = "
tidegate 0.1.0  production  127.0.0.1:8080  up 2h 3m    ███░░░░░░░░░ 7m 30s left
primary  search 2.3.1 stable ────────── secondary  search 2.4.0 CANDIDATE ──────
weight 90 %  up 1/1                     weight 10 %  up 1/1
10.0/s                               █  0.3/s                                 ▁
errors 1.0%, its own faults 0.5%        errors 10.0%, its own faults 5.0%
tool calls p50 12.0ms  p95 24.0ms       tool calls p50 18.0ms  p95 36.0ms
ok 594  tool_error 6                    ok 18  tool_error 2
sessions 22  streams 3                  sessions 3  streams 3
set  90:10  of new work           █████████████████████████████████████████▒▒▒▒▒
seen 88:12  of 25 new sessions    ████████████████████████████████████████▒▒▒▒▒▒
seen 97:3   of 620 exchanges      █████████████████████████████████████████████▒
work of the last minute ─────────── rollout r3 to secondary ────────────────────
         n pri n sec ratio    trend step 2/3 10% progressing  █░░░░ 1m 3s of 5m
search     600    20  1.50        ▆ guards ─────────────────────────────────────
fetch       40    40  1.00        ▅ evidence         ███████░░░░░░ e 10.0 of 100
tools/…      0     5     -            worst: search (e 12.0), speed 80%
                                    health_failures  ░░░░░░░░░░ armed  a server
                                    error_rate       █████░░░░░ armed  not in ea
                                    security_alert   ░░░░░░░░░░ armed  no critic
                                    sequential       █████░░░░░ armed  e-value 1
                                    performance      ·········· cannot tell 20 c
events ─────────────────────────────────────────────────────────────────────────
12:00:05  step            95:5 -> 90:10  guard error_rate
p pause  r resume  a abort  q quit  ? help";
    shows(Overlay::None, (80, 24), wanted);
}

#[test]
fn a_small_terminal_has_shorter_words() {
    let wanted = "
tidegate 0.1.0  production   7m 30s left
primary  search 2.3.1 stable ───────────
weight 90 %  10.0/s  up 1/1
secondary  search 2.4.0 CANDIDATE ──────
weight 10 %  0.3/s  up 1/1
set  90:10  █████████████████████████▒▒▒
seen 88:12  █████████████████████████▒▒▒
r3 to secondary ────────────────────────
2/3 10% progressing  █░░░░░ 1m 3s of 5m
guards ─────────────────────────────────
ev. ███████████░░░░░░░░░░░ e 10.0 of 100
work of the last minute ────────────────
              n pri n sec ratio    trend
search          600    20  1.50        ▆
q quit  ? help";
    shows(Overlay::None, (40, 15), wanted);
}

#[test]
fn twenty_columns_are_enough_for_arms_rollout_and_guards() {
    let wanted = "
tidega…  7m 30s left
primary stable ─────
90%  10.0/s  up 1/1
secondary CANDIDATE
10%  0.3/s  up 1/1
r3 to secondary ────
2/3 10% progressing
guards ─────────────
ev. █░ e 10.0 of 100
q quit  ? help";
    shows(Overlay::None, (20, 10), wanted);
}

#[test]
fn the_question_before_an_abort_fits_a_small_terminal() {
    let wanted = "
tidega…  7m 30s left
┌abort─────────────┐
│Abort r3? The     │
│primary gets all  │
│new work at once. │
│y abort           │
│any other key do  │
│not               │
└──────────────────┘
q quit  ? help";
    shows(Overlay::Abort, (20, 10), wanted);
}

#[test]
fn a_router_that_is_silent_and_a_guard_that_fires_are_in_sight() {
    let fires = changed(|it| it["decisions"]["guards"][4]["state"] = "fired".into());
    for size in [(120, 40), (80, 24), (40, 15), (20, 10)] {
        let (mut model, now) = model(status());
        model.take(Instant::now(), fires.clone(), &events(&[]));
        model.silent(now, "12:02:30", "gone".to_owned());
        let screen = rows(&drawn(&model, now, Overlay::None, size, false)).join(" ");
        for word in ["router does not", "guard"] {
            assert!(screen.contains(word), "{size:?} {word}: {screen}");
        }
    }
}

#[test]
fn colours_are_those_of_the_arms_and_can_be_left_out() {
    let (model, now) = model(status());
    for overlay in [Overlay::None, Overlay::Help, Overlay::Abort] {
        let inks = |color| {
            let buffer = drawn(&model, now, overlay, (120, 40), color);
            buffer.content().iter().map(|cell| (cell.fg, cell.bg)).collect::<Vec<_>>()
        };
        for arm in [39, 208] {
            assert!(inks(true).contains(&(Color::Indexed(arm), Color::Reset)), "{arm}");
        }
        assert!(inks(false).iter().all(|it| *it == (Color::Reset, Color::Reset)));
    }
}

/// A router in one of many states, with names and numbers that no router should have.
fn any_status() -> impl Strategy<Value = Status> {
    let word = prop_oneof![Just(String::new()), ".{0,40}", "(漢|é|\u{200b}|\u{1f600}|a){0,60}"];
    let number = prop_oneof![Just(0.0), 0.0..1e12, Just(f64::MAX), Just(f64::MIN_POSITIVE)];
    let state = prop_oneof![
        Just("off"),
        Just("idle"),
        Just("armed"),
        Just("cannot"),
        Just("common_cause"),
        Just("fired")
    ];
    let counts = (0..u64::MAX / 4, 0..u64::MAX / 4);
    (word, number, state, counts, any::<[bool; 8]>(), 0_usize..5).prop_map(
        |(word, number, state, (count, errors), has, step)| {
            changed(|status| {
                let decisions = &mut status["decisions"];
                decisions["guards"][1]["state"] = state.into();
                decisions["guards"][1]["why"] = word.clone().into();
                decisions["guards"][1]["level"] = number.into();
                decisions["guards"][1]["forecast"] = word.clone().into();
                decisions["evidence"]["e"] = number.into();
                decisions["evidence"]["reverts_at"] = number.into();
                decisions["rollout"]["step"] = step.into();
                decisions["rollout"]["why"] = word.clone().into();
                decisions["rollout"]["held_ms"] = count.into();
                decisions["doubt"] = word.clone().into();
                for (at, key) in ["rollout", "evidence"].into_iter().enumerate() {
                    if has[at] {
                        decisions[key] = json!(null);
                    }
                }
                if has[2] {
                    decisions["guards"] = json!([]);
                }
                status["nothing_healthy"] = has[3].into();
                status["profile"] = word.clone().into();
                let arm = &mut status["arms"]["secondary"];
                arm["server"]["name"] = word.clone().into();
                arm["effective_weight"] = number.into();
                if has[4] {
                    arm["endpoints"] = json!([]);
                }
                let minute = &mut arm["last_minute"];
                minute["per_second"] = number.into();
                minute["exchanges"] = count.into();
                minute["sessions_opened"] = count.into();
                minute["outcomes"] = json!({ "ok": count, "timeout": errors });
                minute["work"][0]["tool"] = word.into();
                minute["work"][0]["latency"]["p50_ms"] = number.into();
                if has[5] {
                    minute["work"] = json!([]);
                }
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_size_and_no_model_is_too_odd(
        status in any_status(),
        size in prop_oneof![(0_u16..30, 0_u16..12), (0_u16..200, 0_u16..60)],
        overlay in prop_oneof![Just(Overlay::None), Just(Overlay::Help), Just(Overlay::Abort)],
        (silent, color, seconds) in (any::<bool>(), any::<bool>(), 0_u64..2000),
    ) {
        let (mut model, now) = model(status.clone());
        model.take(Instant::now(), status, &events(&[]));
        if silent {
            model.silent(now, "", String::new());
        }
        drawn(&model, now + Duration::from_secs(seconds), overlay, size, color);
    }
}

#[test]
fn every_small_size_can_be_drawn() {
    let (model, now) = model(status());
    for overlay in [Overlay::None, Overlay::Help, Overlay::Abort] {
        for (width, height) in (0..60).flat_map(|width| (0..12).map(move |height| (width, height)))
        {
            drawn(&model, now, overlay, (width, height), true);
        }
    }
}
