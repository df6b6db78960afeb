//! The steps of a command, each shown as it ends.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cli::{Exit, complain, say, say_json};

/// Lines of a command's output that are shown.
const LINES_SHOWN: usize = 20;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mark {
    /// Well.
    Ok,
    /// Well, but there is something to be known.
    Warning,
    /// Not.
    Failed,
}

/// Why a command does not go on.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    /// In which step.
    pub(super) step: &'static str,
    pub(super) why: String,
    /// What a command of the operator's said.
    pub(super) output: Option<String>,
}

impl Failure {
    pub(super) fn no(step: &'static str, why: impl Into<String>) -> Failure {
        Failure { exit: Exit::No, step, why: why.into(), output: None }
    }

    pub(super) fn unknown(step: &'static str, why: impl Into<String>) -> Failure {
        Failure { exit: Exit::Unknown, ..Failure::no(step, why) }
    }

    /// The last lines of what a command said.
    fn lines(&self) -> Vec<&str> {
        let lines: Vec<&str> = self.output.as_deref().unwrap_or_default().lines().collect();
        lines[lines.len().saturating_sub(LINES_SHOWN)..].to_vec()
    }

    /// For the journal.
    pub(super) fn detail(&self) -> String {
        let (step, why) = (self.step, &self.why);
        [format!("{step}: {why}")]
            .into_iter()
            .chain(self.lines().into_iter().map(str::to_owned))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// The steps that have ended.
#[derive(Debug)]
pub(super) struct Steps {
    is_json: bool,
    began: Instant,
    /// When the last step ended.
    last: Instant,
    ended: Vec<Value>,
    /// What else the answer in JSON says.
    pub(super) facts: Value,
}

impl Steps {
    pub(super) fn new(is_json: bool) -> Steps {
        let now = Instant::now();
        Steps { is_json, began: now, last: now, ended: Vec::new(), facts: json!({}) }
    }

    /// Shows a step that has ended.
    pub(super) fn ended(&mut self, step: &str, took: Duration, mark: Mark, detail: &str) {
        self.last = Instant::now();
        let millis = took.as_micros() as f64 / 1000.0;
        self.ended
            .push(json!({ "step": step, "state": mark, "took_ms": millis, "detail": detail }));
        if self.is_json {
            return;
        }
        let word = match mark {
            Mark::Ok => "ok",
            Mark::Warning => "WARN",
            Mark::Failed => "FAILED",
        };
        let took = if millis < 1000.0 {
            format!("{millis:.1} ms")
        } else {
            format!("{:.1} s", millis / 1000.0)
        };
        say(format!("  {took:>10}  {word:<6}  {step:<12}  {detail}").trim_end());
    }

    /// Tells that all is done, and what comes next.
    pub(super) fn done(&self, line: &str, next: &str) -> Exit {
        if self.is_json {
            self.answer(true, &json!({ "done": line, "next": next }));
        } else {
            let took = self.began.elapsed().as_millis() as f64 / 1000.0;
            say(format_args!("{line}, in {took:.1} s"));
            if !next.is_empty() {
                say(format_args!("next: {next}"));
            }
        }
        Exit::Yes
    }

    /// Tells what failed, how everything stands now, and what comes next.
    pub(super) fn failed(&mut self, failure: &Failure, stands: &str, next: &str) -> Exit {
        if self.is_json {
            let took = self.last.elapsed();
            self.ended(failure.step, took, Mark::Failed, &failure.why);
            let output = failure.lines();
            self.answer(
                false,
                &json!({
                    "error": failure.why, "step": failure.step, "output": output,
                    "stands": stands, "next": next,
                }),
            );
        } else {
            complain(format_args!("{}: {}", failure.step, failure.why));
            for line in failure.lines() {
                complain(format_args!("  | {}", crate::mcp::shown::shown(line, 400)));
            }
            if !stands.is_empty() {
                complain(stands);
            }
            complain(format_args!("next: {next}"));
        }
        failure.exit
    }

    fn answer(&self, is_done: bool, more: &Value) {
        let mut answer = json!({ "ok": is_done });
        for part in [&self.facts, more] {
            let part = part.as_object().into_iter().flatten();
            answer
                .as_object_mut()
                .expect("it is one")
                .extend(part.map(|(key, value)| (key.clone(), value.clone())));
        }
        answer["steps"] = json!(self.ended);
        say_json(&answer);
    }
}
