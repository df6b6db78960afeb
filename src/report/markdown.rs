//! A page as Markdown: tables as GitHub reads them, and each line of a plot as a row of blocks.
//!
//! Does not know: what the page is about.

use std::fmt::Write as _;

use super::page::{Block, Cell, Page, Plot, Series, Table, Tone, Unit};
use super::svg::exact;
use super::words;

/// Blocks of a line.
const BLOCKS: usize = 48;
/// How high they are.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The whole file.
pub(super) fn render(page: &Page) -> String {
    let mut out = format!("# {}", escaped(&page.title));
    if let Some((_, badge)) = &page.badge {
        let _ = write!(out, ": {}", escaped(badge));
    }
    let _ = writeln!(out, "\n\n{}\n", escaped(&page.summary));
    let mut facts = Table::new(&["", ""]);
    facts.rows =
        page.facts.iter().map(|(name, cell)| vec![name.as_str().into(), cell.clone()]).collect();
    table(&mut out, &facts);
    for section in &page.sections {
        let _ = writeln!(out, "## {}\n", escaped(section.title));
        for it in &section.blocks {
            block(&mut out, it);
        }
    }
    let _ = writeln!(out, "---\n\n{}", escaped(&page.foot));
    out
}

fn block(out: &mut String, what: &Block) {
    let _ = match what {
        Block::Text(text) => writeln!(out, "{}\n", escaped(text)),
        Block::Note(tone, text) => {
            let word = if matches!(tone, Tone::Good | Tone::Plain | Tone::Dim) {
                "Note"
            } else {
                "Warning"
            };
            writeln!(out, "> **{word}:** {}\n", escaped(text))
        }
        Block::Heading(text) => writeln!(out, "### {}\n", escaped(text)),
        Block::Facts(facts) => {
            for (name, value) in facts {
                let _ = writeln!(out, "- {}: {}", escaped(name), escaped(value));
            }
            writeln!(out)
        }
        Block::Table(it) => {
            table(out, it);
            Ok(())
        }
        Block::Plot(it) => {
            plot(out, it);
            Ok(())
        }
        Block::Plots(plots) => {
            for it in plots {
                plot(out, it);
            }
            Ok(())
        }
        Block::Fold(title, blocks) => {
            let _ = writeln!(out, "**{}**\n", escaped(title));
            for it in blocks {
                block(out, it);
            }
            Ok(())
        }
    };
}

fn table(out: &mut String, table: &Table) {
    let row = |out: &mut String, cells: &mut dyn Iterator<Item = String>| {
        out.push('|');
        cells.for_each(|cell| {
            let _ = write!(out, " {cell} |");
        });
        out.push('\n');
    };
    row(out, &mut table.columns.iter().map(|(name, _)| escaped(name)));
    let rule = |(_, is_number): &(String, bool)| if *is_number { "---:" } else { "---" }.to_owned();
    row(out, &mut table.columns.iter().map(rule));
    for cells in &table.rows {
        row(out, &mut cells.iter().map(cell));
    }
    out.push('\n');
}

fn cell(cell: &Cell) -> String {
    match cell.tone {
        Tone::Bad if !cell.text.is_empty() => format!("**{}**", escaped(&cell.text)),
        _ => escaped(&cell.text),
    }
}

fn plot(out: &mut String, plot: &Plot) {
    let _ = writeln!(
        out,
        "**{}** ({} to {} UTC)\n",
        escaped(&plot.title),
        words::moment(plot.from),
        words::moment(plot.to)
    );
    let mut lines = Table::new(&["", "over time", "#least", "#most", "#last"]);
    for series in &plot.series {
        let values = || series.points.iter().map(|(_, value)| *value);
        let told = |value: Option<f64>| words::or_none(value.map(|it| exact(plot.unit, it)));
        lines.rows.push(vec![
            series.name.as_str().into(),
            blocks(plot, series).into(),
            told(values().reduce(f64::min)).into(),
            told(values().reduce(f64::max)).into(),
            told(values().next_back()).into(),
        ]);
    }
    table(out, &lines);
    if plot.explains && !plot.marks.is_empty() {
        for (number, mark) in plot.marks.iter().enumerate() {
            let _ = writeln!(out, "{}. {}", number + 1, escaped(&mark.label));
        }
        out.push('\n');
    }
}

/// A line of a plot as blocks, each as high as the highest value in it; `·` where there is none.
fn blocks(plot: &Plot, series: &Series) -> String {
    let most =
        plot.series.iter().flat_map(|it| &it.points).map(|(_, value)| *value).fold(0.0, f64::max);
    let most = if plot.unit == Unit::Weight { 100.0 } else { most };
    let span = plot.to.saturating_sub(plot.from).max(1);
    let mut found: [Option<f64>; BLOCKS] = [None; BLOCKS];
    for (at, value) in &series.points {
        let share = at.saturating_sub(plot.from) as f64 / span as f64;
        let block = &mut found[((share * BLOCKS as f64) as usize).min(BLOCKS - 1)];
        *block = Some(block.map_or(*value, |it| it.max(*value)));
    }
    let mut held = None;
    let height = |value: f64| {
        let share = if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { 0.0 };
        HEIGHTS[(share * 7.0).round() as usize]
    };
    let told = found.into_iter().map(|value| {
        // What is set holds until it is set anew.
        held = value.or(held.filter(|_| series.is_steps));
        held.map_or('·', height)
    });
    told.collect()
}

/// A text that is no Markdown, on one line.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        // No text becomes a link by itself.
        let is_link =
            rest.starts_with("://") || (letter == '.' && out.to_ascii_lowercase().ends_with("www"));
        match letter {
            '\n' | '\r' | '\t' => out.push(' '),
            // Not every reader of Markdown knows that a backslash goes before these too.
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' | '$' => {
                out.push('\\');
                out.push(letter);
            }
            _ if is_link => {
                out.push('\\');
                out.push(letter);
            }
            other => out.push(other),
        }
        rest = &rest[letter.len_utf8()..];
    }
    out
}
