//! `tidegate init`, `completions` and `man`: files made from the program itself.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man as Page;
use serde_json::json;

use crate::config::Environment;

use super::{Cli, Common, Exit, complain, print, say, say_json};

/// Every key with its default and what it means; a test compares it with the code.
const CONFIGURATION: &str = include_str!("../../config/tidegate.toml");

#[derive(Debug, Args)]
pub(super) struct Init {
    /// Where to; `-` is standard output
    #[arg(long, value_name = "FILE", default_value = "tidegate.toml")]
    output: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Of this shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// A page for each command, into this folder (default: that of tidegate, to standard output)
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(super) fn init(common: &Common, _: &Environment, asked: &Init) -> Exit {
    if asked.output == Path::new("-") {
        return print(CONFIGURATION.as_bytes());
    }
    let file = asked.output.display();
    let opened = OpenOptions::new()
        .write(true)
        .create_new(!asked.force)
        .create(asked.force)
        .truncate(asked.force)
        .open(&asked.output);
    let written = opened.and_then(|mut to| to.write_all(CONFIGURATION.as_bytes()));
    match written {
        Ok(()) if common.json => {
            say_json(&json!({ "written": [asked.output] }));
            Exit::Yes
        }
        Ok(()) => {
            say(format_args!("wrote {file}; next:"));
            say("  say in [primary] and [secondary] where the two versions of your server are");
            say(format_args!("  tidegate validate-config --config {file}"));
            say(format_args!("  tidegate run --config {file}"));
            say("every command takes it from TIDEGATE_CONFIG, too:");
            say(format_args!("  export TIDEGATE_CONFIG={}", whole(&asked.output).display()));
            Exit::Yes
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let why = "is there already: choose another with --output, or replace it with --force";
            no(common, format_args!("{file} {why}"))
        }
        Err(error) => {
            no(common, format_args!("cannot write {file}: {error}; choose another with --output"))
        }
    }
}

/// Its path from everywhere, if that can be told.
fn whole(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

pub(super) fn completions(_: &Common, _: &Environment, asked: &Completions) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut Cli::command(), "tidegate", &mut script);
    print(&script)
}

pub(super) fn man(common: &Common, _: &Environment, asked: &Man) -> Exit {
    let mut pages = pages();
    let Some(dir) = &asked.output else {
        let mut page = Vec::new();
        let rendered = pages.remove(0).render(&mut page);
        rendered.expect("writing to memory does not fail");
        return print(&page);
    };
    let made = std::fs::create_dir_all(dir)
        .and_then(|()| pages.iter().map(|page| page.generate_to(dir)).collect());
    let written: Vec<PathBuf> = match made {
        Ok(written) => written,
        Err(error) => {
            let dir = dir.display();
            let why = "choose another folder with --output";
            return no(common, format_args!("cannot write man pages to {dir}: {error}; {why}"));
        }
    };
    if common.json {
        say_json(&json!({ "written": written }));
    } else {
        say(format_args!("wrote {} pages to {}", written.len(), dir.display()));
    }
    Exit::Yes
}

/// A page for each command, that of the program first.
pub(super) fn pages() -> Vec<Page> {
    fn add(pages: &mut Vec<Page>, command: &Command) {
        let source = concat!("tidegate ", env!("CARGO_PKG_VERSION"));
        pages.push(Page::new(command.clone()).source(source).manual("tidegate"));
        command.get_subcommands().for_each(|each| add(pages, each));
    }
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&mut pages, &command);
    pages
}

fn no(common: &Common, why: impl std::fmt::Display) -> Exit {
    if common.json {
        say_json(&json!({ "error": why.to_string() }));
    } else {
        complain(why);
    }
    Exit::No
}
