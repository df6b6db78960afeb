//! What pages have in common: plots of the arms over time, lists of what was done.
//!
//! Does not know: Markdown, HTML.

pub(super) mod case;

pub(super) mod period;

use crate::names::{Arm, PerArm};

use super::page::{Block, Cell, Mark, Plot, Series, Table, Tone, Unit};
use super::{ArmPoint, Deed, Numbers, Point, words};

/// A plot of what is known of both arms over time.
struct Over<'a> {
    points: &'a [Point],
    from: u64,
    to: u64,
    marks: &'a [Mark],
}

/// What is plotted of an arm: its name besides the arm's, whether its line is broken, and what.
type Drawn = (&'static str, bool, fn(&ArmPoint) -> Option<f64>);

impl Over<'_> {
    fn plot(&self, id: &str, title: &str, unit: Unit, drawn: &[Drawn]) -> Plot {
        let series = |arm: Arm, (name, is_dashed, of): Drawn| Series {
            name: format!("{arm} {name}").trim_end().to_owned(),
            arm,
            is_dashed,
            is_steps: false,
            points: self
                .points
                .iter()
                .filter_map(|it| Some((it.at, of(it.arms.get(arm))?)))
                .collect(),
        };
        let series =
            Arm::ALL.into_iter().flat_map(|arm| drawn.iter().map(move |it| series(arm, *it)));
        Plot {
            id: id.to_owned(),
            title: title.to_owned(),
            unit,
            from: self.from,
            to: self.to,
            series: series.collect(),
            marks: self.marks.to_vec(),
            explains: false,
            is_small: false,
        }
    }

    /// Rate, errors and times.
    fn plots(&self) -> [Plot; 3] {
        [
            self.plot(
                "rate",
                "Exchanges a second",
                Unit::PerSecond,
                &[("", false, |it| Some(it.rate))],
            ),
            self.plot("errors", "Share of errors", Unit::Share, &[("", false, |it| it.errors)]),
            self.plot(
                "times",
                "Time of tool calls",
                Unit::Millis,
                &[("p50", false, |it| it.p50), ("p95", true, |it| it.p95)],
            ),
        ]
    }
}

/// Lines of the journal as a table, or a sentence that there are none.
fn deeds(deeds: &[Deed], none: &str) -> Block {
    if deeds.is_empty() {
        return Block::Text(none.to_owned());
    }
    let mut table = Table::new(&["When (UTC)", "What", "Who", "Says"]);
    for Deed { at, event, by, facts } in deeds {
        let said: Vec<_> = facts.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        table.rows.push(vec![
            Cell::toned(Tone::Dim, words::moment(*at)),
            Cell::toned(event_tone(event), event.as_str()),
            by.as_str().into(),
            said.join(" · ").into(),
        ]);
    }
    Block::Table(table)
}

/// What an event means.
fn event_tone(event: &str) -> Tone {
    match event {
        "revert" | "abort" | "shut" | "lost" | "common-cause" | "state" => Tone::Bad,
        "promoted" | "confirm" => Tone::Good,
        "hold" | "pause" | "undo" => Tone::Warn,
        _ => Tone::Plain,
    }
}

/// What a state of a rollout means.
fn state_tone(state: &str) -> Tone {
    match state {
        "promoted" => Tone::Good,
        "reverted" => Tone::Bad,
        "aborted" | "undone" | "unknown" => Tone::Warn,
        _ => Tone::Plain,
    }
}

/// Calls, errors, own faults and times of an arm.
fn numbers(it: &Numbers) -> [Cell; 5] {
    let bad = |count: u64, text: String| match count {
        0 => Cell::toned(Tone::Dim, text),
        _ => text.into(),
    };
    let share = it.share().map(|share| format!(" ({})", words::percent(share)));
    let errors = format!(
        "{}{}",
        words::count(it.errors),
        share.filter(|_| it.errors > 0).unwrap_or_default()
    );
    [
        words::count(it.calls).into(),
        bad(it.errors, errors),
        bad(it.faults, words::count(it.faults)),
        words::or_none(it.p50.map(words::time)).into(),
        words::or_none(it.p95.map(words::time)).into(),
    ]
}

/// How much longer the second takes than the first: `1.25 ×`.
fn ratio(of: Option<f64>, to: Option<f64>) -> Cell {
    let Some((of, to)) = of.zip(to).filter(|(_, to)| *to > 0.0) else { return "–".into() };
    let ratio = of / to;
    let tone = match ratio {
        it if it > 1.25 => Tone::Bad,
        it if it > 1.05 => Tone::Warn,
        _ => Tone::Good,
    };
    Cell::toned(tone, format!("{ratio:.2} ×"))
}

/// How much of the time the history covers, where that is not all.
fn coverage(covered: f64, unreadable: u64) -> Option<Block> {
    let mut told = Vec::new();
    if covered < 0.98 {
        told.push(format!(
            "The history covers {} of this time: plots and figures have gaps (the router did not run, its disk was full, or the days are no longer kept).",
            words::percent(covered)
        ));
    }
    if unreadable > 0 {
        told.push(format!(
            "{} lines of the history are damaged and left out.",
            words::count(unreadable)
        ));
    }
    (!told.is_empty()).then(|| Block::Note(Tone::Warn, told.join(" ")))
}

/// What servers said they are.
fn version(versions: &PerArm<Option<String>>, arm: Arm) -> Cell {
    Cell::toned(Tone::Of(arm), words::or_none(versions.get(arm).clone()))
}
