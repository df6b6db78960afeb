//! `tidegate records`: looks at the journal where it lies, with or without a running router.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::config::{self, Environment};
use crate::records::journal::{Link, Verified, verify};

use super::{Common, Exit, complain, refuse, say, say_json};

#[derive(Debug, Subcommand)]
pub(super) enum Records {
    /// Find out whether a line of the journal was edited, removed, added or moved
    #[command(
        after_help = "Nothing covers the last line: keep the hash that is printed with it elsewhere to find out later whether lines were cut off behind it.\n\nWorks without a running router. Exit codes: 0 intact; 1 edited or broken; 2 could not read it.\n\nExample: tidegate records verify"
    )]
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Where the journal is (default: `state_dir` of the configuration)
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

pub(super) fn run(common: &Common, environment: &Environment, asked: &Records) -> Exit {
    let Records::Verify(Verify { state_dir }) = asked;
    let dir = match state_dir {
        Some(dir) => Ok(dir.clone()),
        None => config::state_dir(common.config.as_deref(), common.profile.as_deref(), environment),
    };
    let dir = match dir {
        Ok(dir) => dir,
        Err(problems) => {
            return refuse(common, format_args!("the configuration is refused:\n{problems}"));
        }
    };
    match verify(&dir) {
        Ok(verified) => tell(common, &verified),
        Err(error) if common.json => {
            say_json(&json!({ "error": error.to_string() }));
            Exit::Unknown
        }
        Err(error) => {
            let advice = "name its folder with --state-dir";
            let dir = dir.display();
            complain(format_args!("cannot read the journal in {dir}: {error}; {advice}"));
            Exit::Unknown
        }
    }
}

fn tell(common: &Common, verified: &Verified) -> Exit {
    let is_intact = verified.problems.is_empty();
    let exit = if is_intact { Exit::Yes } else { Exit::No };
    if common.json {
        let mut answer = json!(verified);
        answer["intact"] = json!(is_intact);
        say_json(&answer);
        return exit;
    }
    let count =
        |number: u64, what| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let lines = count(verified.lines, "line");
    say(format_args!("{lines} in {}", count(verified.files as u64, "file")));
    for (name, link) in [("first", &verified.first), ("last ", &verified.last)] {
        if let Some(Link { seq, at, hash }) = link {
            say(format_args!("{name}  seq {seq}  {at}  sha256 {hash}"));
        }
    }
    for remark in &verified.remarks {
        say(format_args!("note: {remark}"));
    }
    for problem in &verified.problems {
        say(problem);
    }
    if is_intact {
        say("intact");
    } else {
        let problems = count(verified.problems.len() as u64, "problem");
        complain(format_args!(
            "{problems}: keep a copy of these files, and ask who has been there"
        ));
    }
    exit
}
