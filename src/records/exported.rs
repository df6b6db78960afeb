//! A state as a file: what an operator exports, and what is put back.
//!
//! Its check tells a file that was cut or edited: such a one is refused as a whole, since half of a
//! state is a state that never was. Does not know: what a state means.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::{PerArm, fingerprint};

use super::state::State;

/// What every file of this kind says first.
const FORMAT: &str = "tidegate-state";
/// The only version so far.
const VERSION: u64 = 1;

/// A state, and what was around it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    format: String,
    version: u64,
    /// When it was exported, as RFC 3339.
    pub at: String,
    /// The version of the router.
    pub tidegate: String,
    /// The configuration file, if any.
    pub config: Option<String>,
    /// The profile, if any.
    pub profile: Option<String>,
    /// Tells configurations apart.
    pub config_digest: String,
    /// What the arms' servers called themselves: name and version.
    pub servers: PerArm<Option<(String, String)>>,
    /// Weights, rollout, stable arm, alerts, drains and deploys.
    pub state: State,
    /// Tells whether anything of it was changed.
    check: String,
}

/// Why a file cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something else, or cut.
    #[error("this is no exported state, or not all of it: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Something else.
    #[error("this is no exported state: it has no `format = \"{FORMAT}\"`")]
    Foreign,
    /// Written by a later version.
    #[error(
        "the exported state is of version {0}, and this tidegate knows version {VERSION} only: use the tidegate that wrote it"
    )]
    Unknown(u64),
    /// Whole, but with more in it than this version knows, or less.
    #[error(
        "tidegate {0} wrote this state, and this one ({now}) cannot read it ({1}): use that one, or set what you want by hand",
        now = env!("CARGO_PKG_VERSION")
    )]
    OfAnother(String, serde_json::Error),
    /// Not what was written.
    #[error(
        "the exported state was edited or damaged: its check does not fit; export it anew, or set what you want by hand"
    )]
    Edited,
}

impl Exported {
    /// What is in force, as it is to be written down.
    pub fn new(
        at: String,
        (config, profile, config_digest): (Option<String>, Option<String>, String),
        servers: PerArm<Option<(String, String)>>,
        state: State,
    ) -> Exported {
        let tidegate = env!("CARGO_PKG_VERSION").to_owned();
        let (format, version) = (FORMAT.to_owned(), VERSION);
        let unchecked = Exported {
            format,
            version,
            at,
            tidegate,
            config,
            profile,
            config_digest,
            servers,
            state,
            check: String::new(),
        };
        let value = serde_json::to_value(&unchecked).expect("our own types are JSON");
        Exported { check: digest(value), ..unchecked }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is not, whole and unchanged, what this version of the router writes.
    pub fn read(bytes: &[u8]) -> Result<Exported, ExportError> {
        let value: Value = serde_json::from_slice(bytes)?;
        if value["format"] != FORMAT {
            return Err(ExportError::Foreign);
        }
        match value["version"].as_u64() {
            Some(VERSION) => {}
            version => return Err(ExportError::Unknown(version.unwrap_or(0))),
        }
        // The check first: what was edited may not even have the right shape any more.
        if value["check"] != digest(value.clone()) {
            return Err(ExportError::Edited);
        }
        let wrote = value["tidegate"].as_str().unwrap_or_default().chars();
        let wrote = wrote.filter(char::is_ascii_graphic).take(32).collect();
        serde_json::from_value(value).map_err(|error| ExportError::OfAnother(wrote, error))
    }
}

/// Tells files apart by what is in them and not by what this version knows of it: one of another
/// version was not edited.
fn digest(mut value: Value) -> String {
    value["check"] = Value::Null;
    fingerprint(&serde_json::to_vec(&value).expect("a value is JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Split;

    #[test]
    fn what_is_cut_or_edited_is_refused_as_a_whole() {
        let state = State::first(Split::PRIMARY_ONLY);
        let about = (None, Some("production".to_owned()), "0".to_owned());
        let exported = Exported::new("now".into(), about, PerArm::default(), state);
        let text = serde_json::to_string_pretty(&exported).unwrap();
        assert_eq!(Exported::read(text.as_bytes()).unwrap(), exported);
        let edited = [
            text.replace("production", "staging"),
            text.replace("\"secondary\": 0", "\"secondary\": 50").replace("100", "50"),
        ];
        for text in edited {
            assert!(matches!(Exported::read(text.as_bytes()), Err(ExportError::Edited)), "{text}");
        }
        let later = text.replace("\"version\": 1,\n  \"at\"", "\"version\": 2,\n  \"at\"");
        assert!(matches!(Exported::read(later.as_bytes()), Err(ExportError::Unknown(2))));
        assert!(matches!(Exported::read(b"{}"), Err(ExportError::Foreign)));
        // One of another version, with less in it and with more.
        let mut other: Value = serde_json::from_str(&text).unwrap();
        other["tidegate"] = "9.0.0".into();
        other["state"].as_object_mut().unwrap().remove("addresses");
        other["check"] = digest(other.clone()).into();
        assert!(Exported::read(other.to_string().as_bytes()).is_ok());
        other["state"]["more"] = 1.into();
        other["check"] = digest(other.clone()).into();
        let read = Exported::read(other.to_string().as_bytes()).map_err(|error| error.to_string());
        assert!(read.unwrap_err().starts_with("tidegate 9.0.0 wrote this state"));
        for length in 0..text.len() {
            assert!(Exported::read(&text.as_bytes()[..length]).is_err(), "{length}");
        }
    }
}
