//! The same without a screen: a line now and then, and each event at once.
//!
//! Does not know: terminals.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior};

use crate::admin::wire::Status;
use crate::admin::wire::operate::Events;
use crate::cli::say;
use crate::cli::signals::Signals;
use crate::names::{Arm, PerArm};

use super::figures;
use super::model::Model;
use super::view::judged::number;
use super::view::parts::{percent, time};
use super::watch::{Line, News};
use super::{End, now_text, rest};

/// Watches until the end, or until nobody reads any more.
pub(super) async fn run(
    model: &mut Model,
    socket: &Path,
    (look, tell): (Duration, Duration),
    first: &(Status, Events),
    json: bool,
) -> std::io::Result<End> {
    let signals = Signals::new()?;
    let mut line = Line::open(socket, look, first);
    let mut ticks = tokio::time::interval(tell);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for before in model.before() {
        if !tell_event(json, &before, None) {
            return Ok(End::Unread);
        }
    }
    loop {
        let left = model.left(Instant::now());
        let heard = tokio::select! {
            _ = ticks.tick() => sample(model, json),
            news = line.next() => hear(model, news, json),
            () = signals.next() => return Ok(End::Signal),
            () = rest(left) => true,
        };
        if !heard {
            return Ok(End::Unread);
        }
        let now = Instant::now();
        if model.verdict.is_some() || model.is_over(now) {
            return Ok(End::Over);
        }
        if model.needs_last_look(now) {
            line.hurry();
        }
    }
}

/// Takes in news and tells what is new; whether anybody reads.
fn hear(model: &mut Model, news: News, json: bool) -> bool {
    match news {
        News::Seen(looked, seen) => {
            let (status, events) = *seen;
            let back = model.silence.is_some();
            let lines = model.take(looked, status, &events);
            let back = !back || tell_event(json, "the router answers again", None);
            // The hold clock is no event.
            let told = events.events.iter().filter(|event| event.happening.event != "clock");
            back && lines
                .iter()
                .zip(told)
                .all(|(line, event)| tell_event(json, line, Some(&json!(event))))
        }
        News::Silent(asked, error) => {
            let why = error.to_string();
            let text = format!("router does not answer: {why}");
            !model.silent(asked, &now_text(), why) || tell_event(json, &text, None)
        }
        News::Told(..) => true,
    }
}

fn tell_event(json: bool, line: &str, event: Option<&Value>) -> bool {
    if json {
        say(json!({ "kind": "event", "at": now_text(), "text": line, "event": event }))
    } else {
        say(format_args!("{}  event  {line}", now_text()))
    }
}

fn sample(model: &Model, json: bool) -> bool {
    let now = Instant::now();
    if json { say(object(model, now, &now_text())) } else { say(text(model, now, &now_text())) }
}

/// A look on one line.
fn text(model: &Model, now: Instant, at: &str) -> String {
    let (status, decisions) = (&model.status, &model.status.decisions);
    if let Some(silence) = &model.silence {
        return format!("{at}  router does not answer since {}", silence.at);
    }
    let seen = figures::sessions(status).percent().or_else(|| figures::exchanges(status).percent());
    let seen = seen.map_or("-".to_owned(), |(one, two)| format!("{one}:{two}"));
    let (one, two) = (status.split.weight(Arm::Primary), status.split.weight(Arm::Secondary));
    let mut line = format!("{at}  split {one}:{two} seen {seen}");
    let focus = model.focus;
    for arm in Arm::ALL.into_iter().filter(|arm| focus.is_none_or(|focus| focus == *arm)) {
        let minute = &status.arms.get(arm).last_minute;
        let p95 =
            minute.tool_calls.map_or("-".to_owned(), |latency| format!("{}ms", latency.p95_ms));
        let errors = percent(figures::error_share(minute));
        line += &format!("  {arm} {:.1}/s errors {errors} p95 {p95}", minute.per_second);
    }
    if let Some(evidence) = &decisions.evidence {
        line += &format!("  e {}/{:.0}", number(evidence.e), evidence.reverts_at);
    }
    if let Some(rollout) = &decisions.rollout {
        line += &format!("  rollout {} {}", rollout.id, rollout.state);
        if !rollout.state.is_over() {
            let elapsed = time(Duration::from_millis(rollout.elapsed_ms));
            line += &format!(" step {}/{} {elapsed}", rollout.step, rollout.steps.len());
        }
    }
    if let Some(left) = model.left(now) {
        line += &format!("  left {}", time(left));
    }
    line
}

/// The same for programs.
fn object(model: &Model, now: Instant, at: &str) -> Value {
    let (status, decisions) = (&model.status, &model.status.decisions);
    let arms = PerArm::from_fn(|arm| {
        let its = status.arms.get(arm);
        let minute = &its.last_minute;
        json!({
            "weight": its.weight,
            "effective_weight": its.effective_weight,
            "per_second": minute.per_second,
            "exchanges": minute.exchanges,
            "outcomes": minute.outcomes,
            "error_share": figures::error_share(minute),
            "faults": minute.faults,
            "tool_calls": minute.tool_calls,
            "sessions_opened": minute.sessions_opened,
            "sessions_active": its.sessions_active,
            "streams_open": its.streams_open,
        })
    });
    let evidence = decisions.evidence.as_ref();
    json!({
        "kind": "sample",
        "at": at,
        "silent_since": model.silence.as_ref().map(|silence| &silence.at),
        "left_seconds": model.left(now).map(|left| left.as_secs()),
        "split": status.split,
        "arms": arms,
        "evidence": evidence.map(|it| json!({ "e": it.e, "reverts_at": it.reverts_at })),
        "guards": decisions.guards,
        "rollout": decisions.rollout,
        "doubt": decisions.doubt,
        "closed": decisions.closed,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_look_is_one_line() {
        let began = Instant::now();
        let limit = Some(Duration::from_secs(600));
        let first = || (fixture::status(), fixture::events(&[]));
        let mut model = Model::new(None, limit, began, first());
        let now = began + Duration::from_secs(10);
        assert_eq!(
            text(&model, now, "NOW"),
            "NOW  split 90:10 seen 88:12  primary 10.0/s errors 1.0% p95 24ms  secondary 0.3/s \
             errors 10.0% p95 36ms  e 10.0/100  rollout r3 progressing step 2/3 1m 3s  left 9m 50s"
        );
        let one = Model::new(Some(Arm::Secondary), None, began, first());
        assert_eq!(
            text(&one, now, "NOW"),
            "NOW  split 90:10 seen 88:12  secondary 0.3/s errors 10.0% p95 36ms  e 10.0/100  \
             rollout r3 progressing step 2/3 1m 3s"
        );
        let told = object(&model, now, "NOW");
        assert_eq!((&told["kind"], &told["left_seconds"]), (&json!("sample"), &json!(590)));
        assert_eq!(told["arms"]["secondary"]["error_share"], 0.1);
        model.silent(now, "12:00:00", "gone".to_owned());
        assert_eq!(text(&model, now, "NOW"), "NOW  router does not answer since 12:00:00");
    }
}
