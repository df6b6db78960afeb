//! The live view: the terminal, keys, news, and the end; the terminal is given back as it was,
//! however it ends.
//!
//! Keys are read on a thread of their own: to read from a terminal that has gone away may never
//! end. Does not know: what is drawn, what a key means.

use std::io;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::admin::wire::Status;
use crate::admin::wire::operate::Events;
use crate::cli::signals::Signals;

use super::keys::{Action, Overlay, press};
use super::model::Model;
use super::view;
use super::view::parts::Look;
use super::watch::{Line, News};
use super::{End, clock, rest};

/// The clock on the screen moves so often.
const REDRAW: Duration = Duration::from_secs(1);

/// Watches until the end, or until somebody leaves.
pub(super) async fn run(
    model: &mut Model,
    socket: &Path,
    every: Duration,
    first: &(Status, Events),
    look: Look,
) -> io::Result<End> {
    let signals = Signals::new()?;
    let mut screen = Screen::new()?;
    let mut keys = keys();
    let mut line = Line::open(socket, every, first);
    let mut ticks = tokio::time::interval(REDRAW);
    let mut overlay = Overlay::None;
    loop {
        let now = Instant::now();
        screen.0.draw(|frame| view::draw(frame, model, overlay, look, now))?;
        // Whoever aborts by a key knows what there is to know, and may look on.
        let is_judged = model.verdict.as_ref().is_some_and(|verdict| !verdict.ours);
        if is_judged || model.is_over(now) {
            return Ok(End::Over);
        }
        if model.needs_last_look(now) {
            line.hurry();
        }
        tokio::select! {
            _ = ticks.tick() => {}
            () = rest(model.left(now)) => {}
            news = line.next() => hear(model, news),
            () = signals.next() => return Ok(End::Signal),
            // Another size needs no more than to be drawn.
            event = keys.recv() => match event {
                Some(Event::Key(key)) => match press(key, &mut overlay, model) {
                    Action::None => {}
                    Action::Quit => return Ok(End::Asked),
                    Action::Verb(verb) => line.steer(verb),
                    Action::NothingToAbort => {
                        let can = model.status.decisions.verbs.join(", ");
                        model.line(format!("{}  nothing to abort: what can be done now: {can}", clock()));
                    }
                },
                Some(_) => {}
                None => return Err(io::Error::other("the terminal gives no keys any more")),
            },
        }
    }
}

fn hear(model: &mut Model, news: News) {
    match news {
        News::Seen(looked, seen) => {
            let (status, events) = *seen;
            model.take(looked, status, &events);
        }
        News::Silent(asked, error) => {
            model.silent(asked, &clock(), error.to_string());
        }
        // What was done is in the journal, and comes as an event.
        News::Told(_, Ok(())) => {}
        News::Told(verb, Err(error)) => model.line(format!("{}  {verb}: {error}", clock())),
    }
}

/// What is pressed.
fn keys() -> mpsc::UnboundedReceiver<Event> {
    let (pressed, keys) = mpsc::unbounded_channel();
    // It ends with the process: nothing else can wake it.
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if pressed.send(event).is_err() {
                return;
            }
        }
    });
    keys
}

/// The terminal while it is ours. ratatui's own end complains on a standard error that may have
/// gone away with it, which would be a panic.
struct Screen(ManuallyDrop<DefaultTerminal>);

impl Screen {
    fn new() -> io::Result<Screen> {
        ratatui::try_init().map(|terminal| Screen(ManuallyDrop::new(terminal))).inspect_err(|_| {
            // Half of it may have been done.
            let _ = ratatui::try_restore();
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that has gone away needs none of it.
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}
