//! A validation as people see it: a line a check, and how far it is while they wait.

use std::io::{IsTerminal as _, Write as _};

use ratatui::crossterm::terminal;

use super::router::Record;
use super::{Check, Counts, Duration, Mark, say};
use crate::validate::Told;

/// Signs of the bar.
const BAR: usize = 20;

/// Shows checks as they end.
pub(super) struct Shower {
    /// The answer is JSON, so there are no lines.
    is_json: bool,
    /// Somebody looks at standard error.
    is_watched: bool,
    /// What is being checked.
    title: &'static str,
    done: usize,
    planned: usize,
}

impl Shower {
    pub(super) fn new(is_json: bool) -> Shower {
        let is_watched = !is_json && std::io::stderr().is_terminal();
        Shower { is_json, is_watched, title: "", done: 0, planned: 0 }
    }

    /// So many checks of endpoints are to be made.
    pub(super) fn plan(&mut self, checks: usize) {
        self.planned = checks;
    }

    /// What the next lines are about.
    pub(super) fn section(&mut self, name: &str) {
        if !self.is_json {
            self.clear();
            say(format_args!("{name}"));
        }
    }

    pub(super) fn told(&mut self, told: &Told<'_>) {
        match told {
            Told::Begins(kind) => {
                self.title = kind.title();
                self.bar("");
            }
            Told::Progress(text) => self.bar(text),
            Told::Done(check) => {
                self.done += 1;
                self.done(check);
            }
        }
    }

    /// The line of a check.
    pub(super) fn done(&mut self, check: &Check) {
        if self.is_json {
            return;
        }
        self.clear();
        let took = format!("{:.1} ms", check.took_ms);
        let (mark, title) = (check.result.as_str(), &check.title);
        let line = format!("  {took:>11}  {mark:<7}  {title:<22}  {}", check.detail);
        say(line.trim_end());
    }

    /// What it comes to.
    pub(super) fn summary(
        &mut self,
        counts: Counts,
        checks: &[Check],
        took: Duration,
        recorded: &Record,
    ) {
        if self.is_json {
            return;
        }
        self.clear();
        let verdict = match counts {
            counts if counts.is_fit() => "fit",
            Counts { failed: 0, .. } => "could not tell",
            _ => "NOT FIT",
        };
        let counts = [
            (counts.passed, "passed"),
            (counts.failed, "failed"),
            (counts.unknown, "unknown"),
            (counts.skipped, "skipped"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts = counts.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>();
        let bad = checks.iter().filter(|it| matches!(it.result, Mark::Failed | Mark::Unknown));
        let mut names: Vec<&str> = bad.map(|it| it.title.as_str()).collect();
        names.dedup();
        let names =
            if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        let took = took.as_secs_f64();
        say(format_args!("{verdict}: {}{names}, in {took:.1} s", counts.join(", ")));
        match recorded {
            Ok(recorded) => say(format_args!("recorded in the journal at {}", recorded.at)),
            Err(why) => say(format_args!("not recorded: {why}")),
        };
    }

    /// How far it is, over the line that was there before.
    fn bar(&self, more: &str) {
        if !self.is_watched {
            return;
        }
        let full = (BAR * self.done).checked_div(self.planned).unwrap_or(0).min(BAR);
        let (done, planned, title) = (self.done, self.planned, self.title);
        // A line that wraps could not be drawn over.
        let width = terminal::size().map_or(80, |(width, _)| usize::from(width).max(2) - 1);
        let bar = format!("[{:<BAR$}] ", "#".repeat(full));
        let bar = if width < 2 * BAR { "" } else { &bar };
        let line = format!("{bar}{done}/{planned} {title} {more}");
        let line: String = line.trim_end().chars().take(width).collect();
        let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
    }

    fn clear(&self) {
        if self.is_watched {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
