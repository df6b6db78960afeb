//! The screen: panels one below the other, as many and as high as there is room for.
//!
//! Pure: a model and an area become cells. Each panel says what it needs at least and what it would
//! like; a terminal of 20 columns shows the arms, the rollout and the guards, and what is left out
//! is what one can best do without. Does not know: terminals, keys, where the numbers come from.

mod arms;

pub(super) mod judged;

mod overlay;

pub(super) mod parts;

mod work;

use std::time::Duration;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use tokio::time::Instant;

use crate::names::Arm;

use super::keys::Overlay;
use super::model::Model;
use parts::{Look, STRONG, bar, time};

/// From so many columns on, the arms stand side by side.
const ARMS_BESIDE: u16 = 56;
/// From so many columns on, so do the tools and what is judged.
const ALL_BESIDE: u16 = 76;
/// What is judged then gets at least so many of them.
const JUDGED: u16 = 44;

/// As many rows are enough for a list where room is short.
const FEW: usize = 6;

/// A part of the screen.
struct Panel {
    /// What it can show, from few words to many.
    contents: Vec<Content>,
    /// Rows without which it is left out.
    least: usize,
    /// Rows that it gets before anything has more words than it needs.
    likes: usize,
    /// The lower, the longer it stays.
    rank: u8,
    /// Its last lines matter, not its first, after the heading.
    tail: bool,
}

/// Lines from edge to edge, or two columns of them.
enum Content {
    One(Vec<Line<'static>>),
    /// The second column begins at this one.
    Two(Vec<Line<'static>>, u16, Vec<Line<'static>>),
}

impl Content {
    fn height(&self) -> usize {
        match self {
            Content::One(lines) => lines.len(),
            Content::Two(left, _, right) => left.len().max(right.len()),
        }
    }
}

impl Panel {
    fn new(rank: u8, least: usize, contents: Vec<Content>) -> Panel {
        let likes = contents.first().map_or(0, Content::height);
        Panel { contents, least: least.min(likes), likes, rank, tail: false }
    }
}

/// Draws everything.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    model: &Model,
    overlay: Overlay,
    look: Look,
    now: Instant,
) {
    let area = frame.area();
    if area.is_empty() {
        return;
    }
    let panels = panels(model, look, now, area.width);
    let heights = heights(&panels, usize::from(area.height));
    let mut y = area.y;
    for (at, (panel, height)) in panels.iter().zip(heights).enumerate() {
        let height = u16::try_from(height).unwrap_or(0);
        // The help stays at the lower edge.
        let top = if at + 1 == panels.len() { area.bottom() - height } else { y };
        show(frame.buffer_mut(), panel, Rect { y: top, height, ..area });
        y += height;
    }
    overlay::draw(frame, model, overlay, look);
}

/// Shares the rows out: first what each needs, by rank; then a row each in turn; then to those that
/// have more to say.
fn heights(panels: &[Panel], rows: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..panels.len()).collect();
    order.sort_by_key(|at| panels[*at].rank);
    let (mut heights, mut left) = (vec![0; panels.len()], rows);
    for at in &order {
        if panels[*at].least <= left {
            (heights[*at], left) = (panels[*at].least, left - panels[*at].least);
        }
    }
    order.retain(|at| heights[*at] > 0);
    loop {
        let before = left;
        for at in &order {
            if left > 0 && heights[*at] < panels[*at].likes {
                (heights[*at], left) = (heights[*at] + 1, left - 1);
            }
        }
        if left == before {
            break;
        }
    }
    for at in order {
        let wanted = panels[at].contents.iter().map(Content::height);
        // The rows of a list can be shown one by one, other words only as a whole.
        let wanted = wanted
            .map(|it| if panels[at].contents.len() == 1 { it.min(heights[at] + left) } else { it });
        let most = wanted.filter(|it| *it <= heights[at] + left).max().unwrap_or(0);
        if most > heights[at] {
            (heights[at], left) = (most, left + heights[at] - most);
        }
    }
    heights
}

fn show(buffer: &mut Buffer, panel: &Panel, area: Rect) {
    let height = usize::from(area.height);
    let column = |buffer: &mut Buffer, lines: &[Line<'static>], from: u16, to: u16| {
        let skip = if panel.tail { lines.len().saturating_sub(height) } else { 0 };
        let shown = lines.iter().take(1).chain(lines.iter().skip(1 + skip));
        for (y, line) in (area.y..area.bottom()).zip(shown) {
            buffer.set_line(area.x + from, y, line, to.saturating_sub(from));
        }
    };
    let fits = panel.contents.iter().rfind(|content| content.height() <= height);
    match fits.or(panel.contents.first()) {
        Some(Content::One(lines)) => column(buffer, lines, 0, area.width),
        Some(Content::Two(left, at, right)) => {
            column(buffer, left, 0, at.saturating_sub(1));
            column(buffer, right, *at, area.width);
        }
        None => {}
    }
}

/// All panels, from top to bottom.
fn panels(model: &Model, look: Look, now: Instant, width: u16) -> Vec<Panel> {
    let mut panels = vec![title(model, now, width)];
    panels.extend(alarm(model, look, width));
    panels.push(both_arms(model, look, width));
    panels.push(Panel::new(5, 2, vec![Content::One(work::split(model, look, width))]));
    if width >= ALL_BESIDE {
        let right = JUDGED.max(width / 2);
        let tools = work::tools(model, look, width - right - 1);
        let words = |full| {
            let mut lines = judged::rollout(model, look, right);
            lines.extend(judged::guards(model, look, right, full));
            Content::Two(tools.clone(), width - right, lines)
        };
        panels.push(Panel::new(3, 4, vec![words(false), words(true)]));
    } else {
        panels.push(Panel::new(3, 2, vec![Content::One(judged::rollout(model, look, width))]));
        let words = |full| Content::One(judged::guards(model, look, width, full));
        panels.push(Panel::new(4, 2, vec![words(false), words(true)]));
        let tools = Panel::new(6, 3, vec![Content::One(work::tools(model, look, width))]);
        panels.push(Panel { likes: tools.likes.min(FEW), ..tools });
    }
    panels.push(events(model, look, width));
    panels.push(help(look, width));
    panels
}

/// Side by side, or one below the other, where each has as many lines as the other.
fn both_arms(model: &Model, look: Look, width: u16) -> Panel {
    let half = width / 2;
    if width >= ARMS_BESIDE {
        let one = arms::column(model, look, Arm::Primary, half.saturating_sub(1), false);
        let two = arms::column(model, look, Arm::Secondary, width - half, false);
        return Panel::new(2, 4, vec![Content::Two(one, half, two)]);
    }
    let both = Arm::ALL.map(|arm| arms::column(model, look, arm, width, true));
    let few = |few| {
        let lines = both.iter().flat_map(|lines| lines.iter().take(few).cloned());
        Content::One(lines.collect())
    };
    Panel::new(2, 4, (2..=both[0].len()).map(few).collect())
}

fn help(look: Look, width: u16) -> Panel {
    let words = "p pause  r resume  a abort  q quit  ? help";
    let words = if usize::from(width) < words.len() { "q quit  ? help" } else { words };
    Panel::new(8, 1, vec![Content::One(vec![Line::styled(words, look.faint())])])
}

/// Who it is, and how much of the time is left; in a narrow terminal that is what stays.
fn title(model: &Model, now: Instant, width: u16) -> Panel {
    let status = &model.status;
    let mut words = vec![format!("tidegate {}", status.version)];
    words.extend(status.profile.clone());
    words.extend(model.focus.map(|arm| format!("watching the {arm}")));
    words.push(status.listen.join(", "));
    words.push(format!("up {}", time(Duration::from_secs(status.uptime_seconds))));
    let (bar, left) = match (model.left(now), model.progress(now)) {
        (Some(left), Some(progress)) => (bar(12, progress), format!(" {} left", time(left))),
        _ => (String::new(), format!("watched {}", time(model.watched(now)))),
    };
    let width = usize::from(width);
    let length = |text: &str| text.chars().count();
    let bar = if width < ARMS_BESIDE.into() { String::new() } else { bar };
    while words.len() > 1 && length(&words.join("  ")) + length(&bar) + length(&left) + 2 > width {
        words.pop();
    }
    let words = parts::cut(&words.join("  "), width.saturating_sub(length(&left) + 1));
    let room = width.saturating_sub(length(&words) + length(&bar) + length(&left));
    let line = Line::from(vec![
        Span::styled(words, STRONG),
        Span::raw(format!("{}{bar}{left}", " ".repeat(room))),
    ]);
    Panel::new(0, 1, vec![Content::One(vec![line])])
}

/// That the router is silent, that nothing is healthy, or what was found against the candidate.
fn alarm(model: &Model, look: Look, width: u16) -> Option<Panel> {
    let silence = model
        .silence
        .as_ref()
        .map(|silence| format!("router does not answer since {}: {}", silence.at, silence.why));
    let verdict = model.verdict.as_ref().map(|verdict| verdict.why.clone());
    let health = model.status.nothing_healthy;
    let health = health.then(|| {
        format!("nothing is healthy: new work goes to the {} anyway", model.status.stable)
    });
    let texts = [silence, verdict, health].into_iter().flatten();
    let lines: Vec<_> = texts
        .flat_map(|text| parts::wrapped(&text, usize::from(width)))
        .map(|text| Line::styled(text, look.bad()))
        .collect();
    (!lines.is_empty()).then(|| Panel::new(1, 1, vec![Content::One(lines)]))
}

/// What has happened, the newest at the lower edge.
fn events(model: &Model, look: Look, width: u16) -> Panel {
    let mut lines = vec![look.heading(vec![Span::raw("events")], width)];
    if model.lines.is_empty() {
        lines.push(Line::styled("nothing has happened yet", look.faint()));
    }
    // Where every cell counts, so do the spaces of the columns.
    let line = |line: &String| match width {
        ARMS_BESIDE.. => Line::raw(line.clone()),
        _ => Line::raw(line.split_whitespace().collect::<Vec<_>>().join(" ")),
    };
    lines.extend(model.lines.iter().map(line));
    let panel = Panel::new(7, 2, vec![Content::One(lines)]);
    Panel { tail: true, likes: panel.likes.min(FEW), ..panel }
}

#[cfg(test)]
mod tests;
