//! What lies over the panels: the help, and the question before an abort.
//!
//! Does not know: what is below.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use super::super::keys::Overlay;
use super::super::model::Model;
use super::parts::{Look, wrapped};

/// A box is no wider than this.
const WIDTH: u16 = 52;

const HELP: &str = "p  pause the rollout: its weight stays\n\
    r  resume it\n\
    a  abort it (asks first): the stable arm gets all new work\n\
    q  leave; also Esc, Ctrl-C\n\
    \n\
    ratio: how many times as long the candidate takes, by p50; the middle of its trend is 1\n\
    gauges: full means that the gate shuts\n\
    \n\
    any key closes this";

/// Draws it in the middle.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, overlay: Overlay, look: Look) {
    let decisions = &model.status.decisions;
    let (title, text) = match overlay {
        Overlay::None => return,
        Overlay::Help => ("help", HELP.to_owned()),
        Overlay::Abort => {
            let id = decisions.rollout.as_ref().map(|rollout| rollout.id.as_str());
            let text = format!(
                "Abort {}? The {} gets all new work at once.\ny  abort\nany other key  do not",
                id.unwrap_or("the rollout"),
                decisions.stable
            );
            ("abort", text)
        }
    };
    let area = frame.area();
    let width = area.width.min(WIDTH);
    // Where there is no room for a frame, the words come first.
    let framed = width >= 16 && area.height >= 6;
    let edge = if framed { 2 } else { 0 };
    let inner = usize::from(width - edge);
    let lines: Vec<String> = text
        .lines()
        .flat_map(|line| if line.is_empty() { vec![String::new()] } else { wrapped(line, inner) })
        .collect();
    let height =
        u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(edge).min(area.height);
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let mut page = Paragraph::new(lines.join("\n")).wrap(Wrap { trim: false });
    if framed {
        let style = if overlay == Overlay::Abort { look.bad() } else { look.doubtful() };
        page = page.block(Block::bordered().title(title).border_style(style));
    }
    frame.render_widget(Clear, place);
    frame.render_widget(page, place);
}
