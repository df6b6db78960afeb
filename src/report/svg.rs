//! Plots as SVG that needs nothing but the page's style: colours come by class, so that they fit
//! light, dark and paper. A reader who points at a value is told it; no script is needed.
//!
//! Does not know: what the values mean.

use std::fmt::Write as _;

use super::html::{escaped, tone};
use super::page::{Mark, Plot, Series, Unit};
use super::words;

/// Values in a series up to which each gets a dot.
const DOTS_MAX: usize = 80;
/// Milliseconds that values may always be apart without a gap between them.
const GAP_MIN: u64 = 185_000;
/// Marks that are drawn.
const MARKS_MAX: usize = 40;

/// Where things are, in the units of the picture.
struct Frame<'a> {
    plot: &'a Plot,
    width: f64,
    height: f64,
    left: f64,
    top: f64,
    bottom: f64,
    /// The value at the upper end.
    max: f64,
    /// Between two lines of the grid.
    step: f64,
}

/// The picture of a plot.
pub(super) fn svg(plot: &Plot) -> String {
    let frame = Frame::new(plot);
    let (width, height) = (frame.width, frame.height);
    let values: usize = plot.series.iter().map(|series| series.points.len()).sum();
    let mut out = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {width} {height}\" role=\"img\" data-plot=\"{}\" data-series=\"{}\" data-values=\"{values}\" aria-label=\"{}\">\n",
        escaped(&plot.id),
        plot.series.len(),
        escaped(&plot.title),
    );
    frame.grid(&mut out);
    frame.times(&mut out);
    for (number, mark) in plot.marks.iter().take(MARKS_MAX).enumerate() {
        frame.mark(&mut out, number + 1, mark);
    }
    for series in &plot.series {
        frame.series(&mut out, series);
    }
    if values == 0 {
        let (x, y) = (f64::midpoint(frame.left, frame.right()), height / 2.0);
        let _ = writeln!(
            out,
            "<text class=\"none\" x=\"{x:.1}\" y=\"{y:.1}\">nothing was recorded</text>"
        );
    }
    out += "</svg>";
    out
}

impl<'a> Frame<'a> {
    fn new(plot: &'a Plot) -> Frame<'a> {
        let (width, height) = if plot.is_small { (360.0, 150.0) } else { (760.0, 220.0) };
        let most = plot.series.iter().flat_map(|it| &it.points).map(|(_, value)| *value);
        let most = most.filter(|it| it.is_finite()).fold(0.0, f64::max);
        let (max, step) = match plot.unit {
            Unit::Weight => (100.0, 25.0),
            // An arm that makes no errors at all is to lie at the foot.
            Unit::Share => ends(most.clamp(0.01, 1.0)),
            Unit::Millis | Unit::PerSecond => ends(most.max(0.1)),
        };
        let marks = if plot.marks.is_empty() { 0.0 } else { 12.0 };
        Frame {
            plot,
            width,
            height,
            left: 58.0,
            top: 8.0 + marks,
            bottom: height - 24.0,
            max,
            step,
        }
    }

    fn right(&self) -> f64 {
        self.width - 14.0
    }

    fn x(&self, at: u64) -> f64 {
        let Plot { from, to, .. } = self.plot;
        let share = at.clamp(*from, *to).saturating_sub(*from) as f64
            / to.saturating_sub(*from).max(1) as f64;
        self.left + share * (self.right() - self.left)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value / self.max).clamp(0.0, 1.0);
        self.bottom - share * (self.bottom - self.top)
    }

    fn grid(&self, out: &mut String) {
        let (left, right) = (self.left, self.right());
        let lines = (self.max / self.step).round() as u32;
        for line in 0..=lines {
            let value = f64::from(line) * self.step;
            let (y, class) = (self.y(value), if line == 0 { "axis" } else { "grid" });
            let _ = writeln!(
                out,
                "<path class=\"{class}\" d=\"M{left:.1} {y:.1}H{right:.1}\"/><text class=\"tick value\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                left - 6.0,
                y + 3.5,
                label(self.plot.unit, value, self.step),
            );
        }
    }

    fn times(&self, out: &mut String) {
        let Plot { from, to, is_small, .. } = *self.plot;
        let step = time_step(to.saturating_sub(from), if is_small { 4 } else { 8 });
        let first = from.div_ceil(step);
        for number in (first..=to / step).take(40) {
            let at = number.saturating_mul(step);
            let x = self.x(at);
            let text = words::moment(at);
            let text = match step {
                0..60_000 => &text[11..],
                60_000..86_400_000 if at.is_multiple_of(86_400_000) => &text[5..10],
                60_000..86_400_000 => &text[11..16],
                _ => &text[5..10],
            };
            let _ = writeln!(
                out,
                "<path class=\"axis\" d=\"M{x:.1} {:.1}v4\"/><text class=\"tick time\" x=\"{x:.1}\" y=\"{:.1}\">{text}</text>",
                self.bottom,
                self.bottom + 16.0,
            );
        }
    }

    fn mark(&self, out: &mut String, number: usize, mark: &Mark) {
        let (x, class) = (self.x(mark.at), tone(mark.tone));
        let _ = writeln!(
            out,
            "<g class=\"mark {class}\"><title>{} {}</title><path d=\"M{x:.1} {:.1}V{:.1}\"/><text x=\"{x:.1}\" y=\"{:.1}\">{number}</text></g>",
            words::moment(mark.at),
            escaped(&mark.label),
            self.top,
            self.bottom,
            self.top - 4.0,
        );
    }

    fn series(&self, out: &mut String, series: &Series) {
        let (mut line, mut last) = (String::new(), None);
        let points: Vec<_> = series.points.iter().filter(|(_, it)| it.is_finite()).collect();
        let gap = gap(&points);
        for (at, value) in &points {
            let (x, y) = (self.x(*at), self.y(*value));
            let _ = match last {
                Some(before) if series.is_steps || at.saturating_sub(before) <= gap => {
                    let corner = if series.is_steps { format!("H{x:.1}") } else { String::new() };
                    write!(line, "{corner}L{x:.1} {y:.1}")
                }
                _ => write!(line, "M{x:.1} {y:.1}"),
            };
            last = Some(*at);
        }
        if series.is_steps && last.is_some() {
            let _ = write!(line, "H{:.1}", self.right());
        }
        let dashed = if series.is_dashed { " dashed" } else { "" };
        let (arm, name) = (series.arm, escaped(&series.name));
        let _ = writeln!(
            out,
            "<g class=\"series {arm}{dashed}\" data-name=\"{name}\" data-values=\"{}\"><path d=\"{line}\"><title>{name}</title></path>",
            points.len(),
        );
        // Among many, dots would hide the line; one that stands alone would not be seen without.
        let is_few = points.len() <= DOTS_MAX;
        for (number, (at, value)) in points.iter().enumerate() {
            let near =
                |other: Option<&&(u64, f64)>| other.is_some_and(|(it, _)| it.abs_diff(*at) <= gap);
            let before = number.checked_sub(1).and_then(|it| points.get(it));
            if is_few || !(near(before) || near(points.get(number + 1))) {
                let _ = writeln!(
                    out,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.2\"><title>{name}: {} at {}</title></circle>",
                    self.x(*at),
                    self.y(*value),
                    exact(self.plot.unit, *value),
                    words::moment(*at),
                );
            }
        }
        out.push_str("</g>\n");
    }
}

/// Values that are further apart than this, in milliseconds, have nothing between them: two and a
/// half times as far as they usually are.
fn gap(points: &[&(u64, f64)]) -> u64 {
    let apart = points.windows(2).map(|pair| pair[1].0.abs_diff(pair[0].0));
    let mut apart: Vec<_> = apart.collect();
    apart.sort_unstable();
    let usual = apart.get(apart.len() / 2).copied().unwrap_or_default();
    GAP_MIN.max(usual.saturating_mul(5) / 2)
}

/// A round number at or above the largest value, and the distance of the grid's lines: four or five
/// of them.
fn ends(most: f64) -> (f64, f64) {
    let rough = most / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|it| it * power);
    let step = steps.into_iter().find(|step| step * 4.0 >= most * 0.999).unwrap_or(power * 10.0);
    // Three and a half lines are enough where the fourth would be far above.
    let lines = (most * 0.999 / step).ceil().max(1.0);
    (lines * step, step)
}

/// The distance of times on the axis in milliseconds, so that there are at most `most`.
fn time_step(span: u64, most: u64) -> u64 {
    let seconds = [
        1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
        86_400, 172_800, 345_600, 604_800,
    ];
    let steps = seconds.into_iter().map(|it: u64| it * 1_000);
    steps.into_iter().find(|step| span / step <= most).unwrap_or(span.max(1) / most + 1)
}

/// A value at the axis.
fn label(unit: Unit, value: f64, step: f64) -> String {
    let digits =
        |step: f64| (-step.log10().floor()).clamp(0.0, 4.0) as usize + usize::from(is_half(step));
    match unit {
        _ if value <= 0.0 => "0".to_owned(),
        Unit::Weight => format!("{value:.0} %"),
        Unit::Share => format!("{:.*} %", digits(step * 100.0), value * 100.0),
        Unit::Millis if value >= 10_000.0 => format!("{} s", trimmed(value / 1e3)),
        Unit::Millis => format!("{:.*} ms", digits(step), value),
        Unit::PerSecond => format!("{:.*} /s", digits(step), value),
    }
}

/// Whether steps such as 2.5 need a digit more than their size says.
fn is_half(step: f64) -> bool {
    let power = 10_f64.powf(step.log10().floor());
    ((step / power) - 2.5).abs() < 1e-6 && step < 10.0
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// A value for whoever points at it.
pub(super) fn exact(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Weight => format!("{value:.0} %"),
        Unit::Share => words::percent(value),
        Unit::Millis => words::time(value),
        Unit::PerSecond => format!("{} /s", words::rounded(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Arm;
    use crate::report::page::Tone;

    #[test]
    fn grids_are_round_and_hold_all_values() {
        for (most, max, step) in [
            (0.01, 0.01, 0.0025),
            (0.034, 0.04, 0.01),
            (1.0, 1.0, 0.25),
            (3.0, 3.0, 1.0),
            (17.0, 20.0, 5.0),
            (43.0, 60.0, 20.0),
            (101.0, 150.0, 50.0),
        ] {
            let (found, line) = ends(most);
            assert!(
                (found - max).abs() < 1e-9 && (line - step).abs() < 1e-9,
                "{most}: {found} {line}"
            );
        }
        for most in (1..5000).map(|it| f64::from(it) / 7.0) {
            let (max, step) = ends(most);
            assert!(
                max >= most * 0.999 && max / step <= 5.001 && max <= most * 2.6,
                "{most}: {max} {step}"
            );
        }
        assert_eq!(label(Unit::Share, 0.0025, 0.0025), "0.25 %");
        assert_eq!(label(Unit::Millis, 7.5, 2.5), "7.5 ms");
        assert_eq!(label(Unit::Millis, 20_000.0, 5_000.0), "20 s");
    }

    #[test]
    fn times_are_few() {
        for span in (0..45).map(|power| 1_u64 << power) {
            assert!(span / time_step(span, 8) <= 8, "{span}");
        }
    }

    fn plot(points: Vec<(u64, f64)>, is_steps: bool) -> Plot {
        let series = Series {
            name: "<p95>".to_owned(),
            arm: Arm::Secondary,
            is_dashed: true,
            is_steps,
            points,
        };
        Plot {
            id: "times".to_owned(),
            title: "Times".to_owned(),
            unit: Unit::Millis,
            from: 0,
            to: 3_600_000,
            series: vec![series],
            marks: vec![Mark { at: 60_000, label: "a\"b".to_owned(), tone: Tone::Bad }],
            explains: true,
            is_small: false,
        }
    }

    #[test]
    fn gaps_stay_open_and_lonely_values_are_dots() {
        let minutes = |range: std::ops::Range<u64>| range.map(|it| (it * 60_000, 5.0));
        let text = svg(&plot(minutes(0..20).chain(minutes(40..60)).collect(), false));
        assert_eq!(
            text.matches('M').count()
                - text.matches("axis").count()
                - text.matches("grid").count()
                - 1,
            2,
            "{text}"
        );
        assert!(text.contains("data-values=\"40\""), "{text}");
        assert!(!text.contains("<p95>") && text.contains("&lt;p95&gt;"));
        assert!(text.contains("a&quot;b"));
        let many = (0..200).map(|it| (it, 1.0)).chain([(3_000_000, 2.0)]).collect();
        assert_eq!(svg(&plot(many, false)).matches("<circle").count(), 1);
        assert!(svg(&plot(Vec::new(), false)).contains("nothing was recorded"));
        let odd = plot(vec![(u64::MAX, f64::NAN), (0, f64::INFINITY), (5, -1.0)], true);
        assert!(!svg(&odd).contains("inf"), "{}", svg(&odd));
    }
}
