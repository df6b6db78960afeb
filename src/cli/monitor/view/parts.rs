//! The parts that every panel is made of: colours, bars, sparklines, headings, numbers.
//!
//! Whatever colour says, a sign or a word says too: without colours nothing is lost. Does not
//! know: what they show.

use std::time::Duration;

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::names::Arm;

use super::super::model::SAMPLES;

/// What has no colour and stands out all the same.
pub(super) const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);

/// How it may look.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli::monitor) struct Look {
    /// Colours, as far as <https://no-color.org> allows.
    pub(in crate::cli::monitor) color: bool,
}

impl Look {
    fn ink(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    /// The primary is blue, the secondary orange, as on the dashboard.
    pub(super) fn arm(self, arm: Arm) -> Style {
        self.ink(Color::Indexed(if arm == Arm::Primary { 39 } else { 208 }))
    }

    pub(super) fn bad(self) -> Style {
        self.ink(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn doubtful(self) -> Style {
        self.ink(Color::Yellow)
    }

    pub(super) fn good(self) -> Style {
        self.ink(Color::Green)
    }

    pub(super) fn faint(self) -> Style {
        self.ink(Color::DarkGray)
    }

    /// That of something which is on its way from 0 to 1, where it is bad.
    pub(super) fn level(self, level: f64) -> Style {
        match level {
            level if level >= 1.0 => self.bad(),
            level if level >= 0.5 => self.doubtful(),
            _ => self.good(),
        }
    }

    /// A heading with a rule behind it.
    pub(super) fn heading(self, text: Vec<Span<'static>>, width: u16) -> Line<'static> {
        let mut line = Line::from(text).style(STRONG);
        let room = usize::from(width).saturating_sub(line.width() + 1);
        line.push_span(Span::styled(format!(" {}", "─".repeat(room)), self.faint()));
        line
    }
}

/// A bar of so many cells, filled to a share from 0 to 1. Anything above nothing is seen.
pub(super) fn bar(cells: usize, share: f64) -> String {
    let filled = filled(cells, share);
    format!("{}{}", "█".repeat(filled), "░".repeat(cells - filled))
}

/// How many of the cells are filled.
pub(super) fn filled(cells: usize, share: f64) -> usize {
    let exact = (share.clamp(0.0, 1.0) * cells as f64).round() as usize;
    exact.max(usize::from(share > 0.0)).min(cells)
}

/// A line of so many cells for the last values, from nothing to `top`; no value, no sign.
pub(super) fn spark(values: &[Option<f64>], cells: usize, top: f64) -> String {
    const SIGNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let last = &values[values.len().saturating_sub(cells)..];
    let sign = |value: &Option<f64>| match value {
        Some(value) if top > 0.0 => SIGNS[((value / top).clamp(0.0, 1.0) * 7.0).round() as usize],
        Some(_) => SIGNS[0],
        None => ' ',
    };
    let signs: String = last.iter().map(sign).collect();
    format!("{}{signs}", " ".repeat(cells - last.len()))
}

/// As many values as there are cells for all that is kept, each the mean of its time: the newest
/// last.
pub(super) fn condensed(values: &[Option<f64>], cells: usize) -> Vec<Option<f64>> {
    let each = SAMPLES.div_ceil(cells.max(1));
    let mean = |values: &[Option<f64>]| {
        let known: Vec<f64> = values.iter().copied().flatten().collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    let mut means: Vec<_> = values.rchunks(each).map(mean).collect();
    means.reverse();
    means
}

/// Milliseconds with as many digits as are worth reading.
pub(super) fn millis(millis: Option<f64>) -> String {
    match millis {
        None => "-".to_owned(),
        Some(it) if it >= 9_999.5 => format!("{:.1}s", it / 1e3),
        Some(it) if it >= 99.5 => format!("{it:.0}ms"),
        Some(it) => format!("{it:.1}ms"),
    }
}

/// A share from 0 to 1 in percent.
pub(in crate::cli::monitor) fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.1}%", share * 100.0))
}

/// A time to the second, as people write it.
pub(in crate::cli::monitor) fn time(time: Duration) -> String {
    crate::cli::decide::time(time)
}

/// The beginning of a text that has so much room.
pub(super) fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(room.saturating_sub(1)).collect();
    if room > 0 {
        short.push('…');
    }
    short
}

/// A text in as many lines as it takes.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_and_sparks_fill_their_cells() {
        for (share, wanted) in [
            (0.0, "░░░░"),
            (0.001, "█░░░"),
            (0.5, "██░░"),
            (0.99, "████"),
            (7.0, "████"),
            (f64::NAN, "░░░░"),
        ] {
            assert_eq!(bar(4, share), wanted);
        }
        let values = [None, Some(0.0), Some(1.0), Some(2.0)];
        for (cells, top, wanted) in
            [(6, 2.0, "   ▁▅█"), (2, 2.0, "▅█"), (0, 2.0, ""), (3, 0.0, "▁▁▁")]
        {
            assert_eq!(spark(&values, cells, top), wanted);
        }
    }

    #[test]
    fn all_that_is_kept_fits_the_cells() {
        let values: Vec<_> = (0..120).map(|it| (it > 59).then(|| f64::from(it))).collect();
        assert_eq!(condensed(&values, 4), [None, None, Some(74.5), Some(104.5)]);
        assert_eq!(condensed(&values[..31], 4), [None, None]);
        assert_eq!(condensed(&values, 500).len(), 120);
        assert_eq!(condensed(&values, 0).len(), 1);
    }

    #[test]
    fn numbers_and_texts_keep_to_their_room() {
        let all = [None, Some(0.25), Some(99.4), Some(1234.0), Some(12_345.0)].map(millis);
        assert_eq!(all, ["-", "0.2ms", "99.4ms", "1234ms", "12.3s"]);
        assert_eq!([cut("search", 6), cut("search", 4), cut("search", 0)], ["search", "sea…", ""]);
        assert_eq!(wrapped("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrapped("one two", 0), ["one", "two"]);
    }
}
