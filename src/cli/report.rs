//! `tidegate report`: what the records say of a rollout, or of some days, as a file to keep.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use http::Method;
use serde_json::json;

use crate::config::{Environment, units};
use crate::report::DAYS_MAX;

use super::ask::{Router, failed};
use super::{Common, Exit, complain, print, refuse, say, say_json};

/// Seconds of a day.
const DAY: u64 = 86_400;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["id", "period"])))]
pub(super) struct Report {
    /// The rollout, such as r18, or `last`
    id: Option<String>,
    /// The last days instead, such as 30d; 35d at most
    #[arg(long, value_name = "TIME")]
    period: Option<String>,
    /// Default: as the name of the file ends, else md
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// The file to write; default: standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What a report is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Markdown
    Md,
    /// One HTML file that needs no other
    Html,
    /// All numbers
    Json,
}

impl Report {
    /// The file to write; none for standard output.
    fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|file| file.as_os_str() != "-")
    }
}

impl Format {
    fn of(asked: &Report, common: &Common) -> Format {
        let ending = asked.file().and_then(Path::extension).and_then(|it| it.to_str());
        let guessed = match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("html" | "htm") => Format::Html,
            Some("json") => Format::Json,
            // `--json` is about the answer; that is the report itself where no file is named.
            _ if common.json && asked.file().is_none() => Format::Json,
            _ => Format::Md,
        };
        asked.format.unwrap_or(guessed)
    }
}

pub(super) fn run(common: &Common, environment: &Environment, asked: &Report) -> Exit {
    let path = match path(asked) {
        Ok(path) => path,
        Err(why) => return refuse(common, why),
    };
    if let Some(file) = asked.file().filter(|file| file.is_dir()) {
        let why = format!(
            "{0} is a directory: name a file in it, such as {0}/report.html",
            file.display()
        );
        return refuse(common, why);
    }
    let router = match Router::find(common, environment) {
        Ok(router) => router,
        Err(exit) => return exit,
    };
    let report: crate::report::Report = match router.ask(Method::GET, &path, &json!({})) {
        Ok(report) => report,
        Err(error) => return failed(common, &error),
    };
    let text = match Format::of(asked, common) {
        Format::Md => report.markdown(),
        Format::Html => report.html(),
        Format::Json => {
            let mut text = serde_json::to_string_pretty(&report).expect("our own types are JSON");
            text.push('\n');
            text
        }
    };
    let Some(file) = asked.file() else {
        return print(text.as_bytes());
    };
    if let Err(error) = write(file, &text) {
        let why = format!(
            "cannot write {}: {error}; nothing is changed: choose another --output",
            file.display()
        );
        if common.json {
            say_json(&json!({ "error": why }));
        } else {
            complain(why);
        }
        return Exit::Unknown;
    }
    if common.json {
        say_json(&json!({ "written": file, "bytes": text.len() }));
    } else {
        say(format_args!("wrote {} ({} KiB)", file.display(), text.len().div_ceil(1024)));
    }
    Exit::Yes
}

/// Where the router has it.
fn path(asked: &Report) -> Result<String, String> {
    if let Some(period) = &asked.period {
        let days = match period.strip_suffix('d') {
            Some(days) => days.parse().ok(),
            None => units::duration(period).ok().map(|it| it.as_secs().div_ceil(DAY)),
        };
        let days = days.filter(|days| (1..=DAYS_MAX).contains(days)).ok_or_else(|| {
            format!("--period {period}: say 1d to {DAYS_MAX}d, since older days are not kept")
        })?;
        return Ok(format!("/v1/reports?days={days}"));
    }
    let id = asked.id.as_deref().unwrap_or("last");
    let fits = (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !fits {
        return Err(format!(
            "`{id}` is no name of a rollout, such as r18 or last: `tidegate rollout history` lists them"
        ));
    }
    Ok(format!("/v1/reports/{id}"))
}

/// Puts a file in its place in one step: whoever reads it finds the old one or all of the new one.
/// A link stays one; a pipe or a device is written to and not replaced.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let there = std::fs::metadata(file).ok();
    if there.as_ref().is_some_and(|there| !there.is_file()) {
        return OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes());
    }
    let file = &if there.is_some() { file.canonicalize()? } else { file.to_owned() };
    let name = file.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
    let mut beside = name.to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = file.with_file_name(beside);
    let written =
        OpenOptions::new().write(true).create_new(true).open(&beside).and_then(|mut new| {
            new.write_all(text.as_bytes())?;
            new.sync_all()?;
            std::fs::rename(&beside, file)
        });
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}
