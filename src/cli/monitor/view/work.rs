//! What is done where: the split as it is set and as it is, and the table of tools.
//!
//! Does not know: the other panels.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::names::Arm;

use super::super::figures::{self, Row, Seen};
use super::super::model::Model;
use super::parts::{Look, condensed, cut, filled, millis, percent, spark};

/// Rows of the table; nobody reads more of them.
const ROWS: usize = 40;
/// Cells of the sparkline of a tool.
const CELLS: usize = 7;
/// A candidate that takes so many times as long is shown as slow, and as very slow.
const SLOW: [f64; 2] = [1.1, 1.5];

/// The share of each arm as set, and what became of it in the last minute.
pub(super) fn split(model: &Model, look: Look, width: u16) -> Vec<Line<'static>> {
    let (status, split) = (&model.status, model.status.split);
    let set = (u64::from(split.weight(Arm::Primary)), u64::from(split.weight(Arm::Secondary)));
    let seen = |name: &str, seen: Seen| {
        let text = format!("of {} {name}", seen.all);
        share(look, width, "seen", seen.percent(), &text)
    };
    let mut lines = vec![
        share(look, width, "set", Some(set), "of new work"),
        seen("new sessions", figures::sessions(status)),
        seen("exchanges", figures::exchanges(status)),
    ];
    // Without new sessions, as with clients that need none, exchanges say where work goes.
    if figures::sessions(status).all == 0 {
        lines.swap(1, 2);
    }
    lines
}

/// One bar, the primary's share first.
fn share(
    look: Look,
    width: u16,
    name: &str,
    percent: Option<(u64, u64)>,
    what: &str,
) -> Line<'static> {
    let numbers = percent.map_or("-".to_owned(), |(one, two)| format!("{one}:{two}"));
    let mut head = format!("{name:<4} {numbers:<6} ");
    if width >= 44 {
        head += &format!("{what:<22}");
    }
    let cells = usize::from(width).saturating_sub(head.chars().count());
    let Some((_, secondary)) = percent else { return Line::raw(head) };
    let secondary = filled(cells, secondary as f64 / 100.0);
    Line::from(vec![
        Span::raw(head),
        Span::styled("█".repeat(cells - secondary), look.arm(Arm::Primary)),
        Span::styled("▒".repeat(secondary), look.arm(Arm::Secondary)),
    ])
}

/// A column of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Calls(Arm),
    Time(Arm),
    Errors(Arm),
    Ratio,
    Trend,
}

impl Column {
    const fn width(self) -> usize {
        match self {
            Column::Calls(_) | Column::Ratio => 6,
            Column::Time(_) | Column::Errors(_) => 8,
            Column::Trend => CELLS + 2,
        }
    }

    fn title(self) -> String {
        let short = |arm| if arm == Arm::Primary { "pri" } else { "sec" };
        match self {
            Column::Calls(arm) => format!("n {}", short(arm)),
            Column::Time(arm) => format!("p50 {}", short(arm)),
            Column::Errors(arm) => format!("err {}", short(arm)),
            Column::Ratio => "ratio".to_owned(),
            Column::Trend => "trend".to_owned(),
        }
    }
}

/// Room for a name.
const NAME: usize = 8;

/// The columns that there is room for; the ratio is the last to go.
fn columns(width: usize) -> (usize, Vec<Column>) {
    let [one, two] = Arm::ALL;
    let by_use: [&[Column]; 5] = [
        &[Column::Ratio],
        &[Column::Calls(one), Column::Calls(two)],
        &[Column::Trend],
        &[Column::Errors(one), Column::Errors(two)],
        &[Column::Time(one), Column::Time(two)],
    ];
    let shown = [
        Column::Calls(one),
        Column::Calls(two),
        Column::Time(one),
        Column::Time(two),
        Column::Ratio,
        Column::Trend,
        Column::Errors(one),
        Column::Errors(two),
    ];
    let mut left = width.saturating_sub(NAME);
    let mut kept = Vec::new();
    for columns in by_use {
        let width: usize = columns.iter().map(|column| column.width()).sum();
        if width > left {
            break;
        }
        left -= width;
        kept.extend(columns);
    }
    (NAME.min(width) + left, shown.into_iter().filter(|column| kept.contains(column)).collect())
}

/// The table: a heading, the names of the columns, the most used kinds of work.
pub(super) fn tools(model: &Model, look: Look, width: u16) -> Vec<Line<'static>> {
    let rows = model.rows();
    let (name, columns) = columns(usize::from(width));
    let mut lines = vec![look.heading(vec![Span::raw("work of the last minute")], width)];
    if rows.is_empty() {
        lines.push(Line::styled("no exchange has ended", look.faint()));
        return lines;
    }
    let titles = columns.iter().map(|column| right(&column.title(), column.width()));
    lines.push(Line::styled(format!("{:<name$}{}", "", titles.collect::<String>()), look.faint()));
    for row in rows.iter().take(ROWS) {
        let called = cut(row.name(), name.saturating_sub(1));
        let mut line = Line::from(Span::raw(format!("{called:<name$}")));
        for column in &columns {
            line.push_span(cell(model, look, row, *column));
        }
        lines.push(line);
    }
    lines
}

fn right(text: &str, width: usize) -> String {
    format!("{text:>width$}")
}

fn cell(model: &Model, look: Look, row: &Row, column: Column) -> Span<'static> {
    let slow = match row.ratio {
        Some(ratio) if ratio >= SLOW[1] => look.bad(),
        Some(ratio) if ratio >= SLOW[0] => look.doubtful(),
        _ => Style::new(),
    };
    let (text, style) = match column {
        Column::Calls(arm) => (row.calls.get(arm).to_string(), look.arm(arm)),
        Column::Time(arm) => (millis(*row.p50.get(arm)), look.arm(arm)),
        Column::Errors(arm) => (percent(*row.errors.get(arm)), look.arm(arm)),
        Column::Ratio => (row.ratio.map_or("-".to_owned(), |it| format!("{it:.2}")), slow),
        // The middle is as fast as the stable arm.
        Column::Trend => (spark(&condensed(&model.ratios(&row.kind), CELLS), CELLS, 2.0), slow),
    };
    Span::styled(right(&text, column.width()), style)
}
