//! What a key does.
//!
//! Pure: only `y` in its dialog aborts, and any other key closes what is open. Does not know: where
//! keys come from, how a verb is carried out.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::Model;

/// What lies over the panels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Overlay {
    /// Nothing.
    #[default]
    None,
    /// What the keys do.
    Help,
    /// Whether to abort.
    Abort,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing, or only another overlay.
    None,
    /// To leave.
    Quit,
    /// A verb of the rollout.
    Verb(&'static str),
    /// An abort where there is nothing to abort.
    NothingToAbort,
}

/// Takes in a key.
pub(super) fn press(key: KeyEvent, overlay: &mut Overlay, model: &Model) -> Action {
    if key.kind == KeyEventKind::Release {
        return Action::None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return if key.code == KeyCode::Char('c') { Action::Quit } else { Action::None };
    }
    match (std::mem::take(overlay), key.code) {
        (Overlay::Abort, KeyCode::Char('y')) => Action::Verb("abort"),
        (Overlay::None, KeyCode::Char('q') | KeyCode::Esc) => Action::Quit,
        (Overlay::None, KeyCode::Char('p')) => Action::Verb("pause"),
        (Overlay::None, KeyCode::Char('r')) => Action::Verb("resume"),
        (Overlay::None, KeyCode::Char('?')) => {
            *overlay = Overlay::Help;
            Action::None
        }
        (Overlay::None, KeyCode::Char('a')) => {
            if model.status.decisions.verbs.iter().any(|verb| verb == "abort") {
                *overlay = Overlay::Abort;
                return Action::None;
            }
            Action::NothingToAbort
        }
        _ => Action::None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::fixture;
    use super::*;

    #[test]
    fn an_abort_takes_two_keys_and_nothing_else_does_it() {
        let first = (fixture::status(), fixture::events(&[]));
        let model = Model::new(None, None, Instant::now(), first);
        let none = (
            fixture::changed(|it| it["decisions"]["verbs"] = serde_json::json!(["start"])),
            fixture::events(&[]),
        );
        let idle = Model::new(None, None, Instant::now(), none);
        let press = |keys: &str, model: &Model| {
            let mut overlay = Overlay::None;
            let codes = keys
                .chars()
                .map(|key| if key == '\u{1b}' { KeyCode::Esc } else { KeyCode::Char(key) });
            let actions = codes.map(|code| press(code.into(), &mut overlay, model));
            (actions.last().unwrap(), overlay)
        };
        for (keys, wanted) in [
            ("ay", (Action::Verb("abort"), Overlay::None)),
            ("a", (Action::None, Overlay::Abort)),
            ("an", (Action::None, Overlay::None)),
            ("a\u{1b}", (Action::None, Overlay::None)),
            ("aq", (Action::None, Overlay::None)),
            ("ap", (Action::None, Overlay::None)),
            ("any", (Action::None, Overlay::None)),
            ("y", (Action::None, Overlay::None)),
            ("?", (Action::None, Overlay::Help)),
            ("?q", (Action::None, Overlay::None)),
            ("?qq", (Action::Quit, Overlay::None)),
            ("\u{1b}", (Action::Quit, Overlay::None)),
            ("p", (Action::Verb("pause"), Overlay::None)),
            ("r", (Action::Verb("resume"), Overlay::None)),
            ("m", (Action::None, Overlay::None)),
        ] {
            assert_eq!(press(keys, &model), wanted, "{keys:?}");
        }
        assert_eq!(press("a", &idle), (Action::NothingToAbort, Overlay::None));
        let end = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(super::press(end, &mut Overlay::Abort, &model), Action::Quit);
    }
}
