//! `tidegate export-state`, `restore-state` and `backups`.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use crate::admin::wire::Reloaded;
use crate::admin::wire::operate::{RestoreState as Wanted, StateRestored};
use crate::config::Environment;
use crate::records::backups::{Backup, Contents};

use super::ask::{Router, failed};
use super::{Common, Exit, complain, print, refuse, say, say_json};

/// More than any state has.
const BYTES_MAX: u64 = 256 * 1024;

#[derive(Debug, Args)]
pub(super) struct ExportState {
    /// Where to write it; `-` is standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RestoreState {
    /// What `export-state` wrote; `-` reads standard input
    #[arg(value_name = "FILE", required_unless_present = "backup")]
    file: Option<PathBuf>,
    /// A backup in place of a file (see `tidegate backups`)
    #[arg(long, value_name = "ID", conflicts_with = "file")]
    backup: Option<String>,
    /// Put the configuration file of the backup back first, and reload; the present one is kept beside
    #[arg(long, requires = "backup")]
    with_config: bool,
    /// Also if the candidate gets more than it has now
    #[arg(long)]
    allow_raise: bool,
}

#[derive(Debug, Args)]
pub(super) struct Backups {
    /// Show one of them: its state, and the text of its configuration
    #[arg(value_name = "ID")]
    id: Option<String>,
}

pub(super) fn export(common: &Common, environment: &Environment, asked: &ExportState) -> Exit {
    let router = match Router::find(common, environment) {
        Ok(router) => router,
        Err(exit) => return exit,
    };
    let state: Value = match router.ask(Method::GET, "/v1/state", &json!({})) {
        Ok(state) => state,
        Err(error) => return failed(common, &error),
    };
    let text = format!("{state:#}\n");
    if asked.output.as_os_str() == "-" {
        return print(text.as_bytes());
    }
    if let Err(error) = write_whole(&asked.output, text.as_bytes()) {
        let file = asked.output.display();
        let why = format!("cannot write {file}: {error}; choose another with --output");
        if common.json {
            say_json(&json!({ "error": why }));
        } else {
            complain(why);
        }
        return Exit::No;
    }
    let file = asked.output.display();
    if common.json {
        say_json(&json!({ "written": file.to_string() }));
    } else {
        say(format_args!("wrote {file}; tidegate restore-state {file} puts it in force again"));
    }
    Exit::Yes
}

/// Writes a file in one step, readable by its owner only: weights are no secret, reasons may be.
/// What is no file, such as `/dev/stdout`, is written to and stays what it is.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if std::fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        return File::options().write(true).truncate(true).open(path)?.write_all(bytes);
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    // One that is left over, or that somebody else has put there, may be readable by others.
    let _ = std::fs::remove_file(&beside);
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    let written = options.open(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| std::fs::rename(&beside, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&beside);
    })
}

pub(super) fn restore(common: &Common, environment: &Environment, asked: &RestoreState) -> Exit {
    let router = match Router::find(common, environment) {
        Ok(router) => router,
        Err(exit) => return exit,
    };
    let state = match (&asked.file, &asked.backup) {
        (Some(file), _) => match read(file) {
            Ok(state) => state,
            Err(why) => return refuse(common, why),
        },
        (None, Some(id)) => {
            let contents = match contents(common, &router, id) {
                Ok(contents) => contents,
                Err(exit) => return exit,
            };
            if asked.with_config
                && let Err(exit) = put_config_back(common, &router, &contents, asked.allow_raise)
            {
                return exit;
            }
            json!(contents.state)
        }
        (None, None) => return refuse(common, "name a file, or a backup with --backup"),
    };
    let wanted = Wanted { state, allow_raise: asked.allow_raise };
    match router.ask::<StateRestored>(Method::POST, "/v1/state", &wanted) {
        Ok(done) if common.json => say_json(&done),
        Ok(done) => tell(&done),
        Err(error) => {
            if asked.with_config {
                complain("the configuration of the backup is in force, but its state is not:");
            }
            return failed(common, &error);
        }
    };
    Exit::Yes
}

fn tell(done: &StateRestored) -> bool {
    let mut heard = say(format_args!(
        "{} for new sessions from now on, revision {}; was {}; the {} is the stable arm",
        done.after, done.revision, done.before, done.stable
    ));
    if let Some(arm) = done.drained {
        heard &= say(format_args!("the {arm} is drained: tidegate undrain {arm} ends that"));
    }
    if let Some(id) = &done.not_resumed {
        heard &= say(format_args!(
            "rollout {id} was running in it and is not resumed, since nobody has watched since: start a new one"
        ));
    }
    heard
}

fn read(path: &Path) -> Result<Value, String> {
    let advice = "name a file that `tidegate export-state --output FILE` wrote, or a --backup";
    let fail = |error: &dyn std::fmt::Display| {
        format!("cannot read {}: {error}; {advice}", path.display())
    };
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().take(BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        let file = File::open(path).map_err(|error| fail(&error))?;
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes)
    };
    read.map_err(|error| fail(&error))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(fail(&"it is larger than any exported state"));
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        format!("{} is no exported state, or not all of it: {error}; {advice}", path.display())
    })
}

fn contents(common: &Common, router: &Router, id: &str) -> Result<Contents, Exit> {
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(refuse(common, format_args!("`{id}` is no name of a backup, such as b3")));
    }
    let path = format!("/v1/state/backups/{id}");
    router.ask(Method::GET, &path, &json!({})).map_err(|error| failed(common, &error))
}

/// Puts the configuration file back and has the router read it; if it does not take it, all is as
/// it was.
fn put_config_back(
    common: &Common,
    router: &Router,
    contents: &Contents,
    allow_raise: bool,
) -> Result<(), Exit> {
    let (Some(file), Some(text)) = (&contents.about.config, &contents.config) else {
        return Err(refuse(
            common,
            format_args!(
                "backup {} has no configuration: leave --with-config out",
                contents.about.id
            ),
        ));
    };
    let fail = |what: &str, error: io::Error| {
        complain(format_args!("cannot {what} {file}: {error}; nothing was changed"));
        Exit::No
    };
    let kept = PathBuf::from(format!("{file}.before-{}", contents.about.id));
    let present = std::fs::read(file).map_err(|error| fail("read", error))?;
    write_whole(&kept, &present).map_err(|error| fail("keep the present text of", error))?;
    replace(file, text.as_bytes()).map_err(|error| fail("write", error))?;
    // A file that asks for more of the candidate raises it, too.
    let path = if allow_raise { "/v1/reload" } else { "/v1/reload?raise=no" };
    match router.ask::<Reloaded>(Method::POST, path, &json!({})) {
        Ok(_) => {
            if !common.json {
                say(format_args!(
                    "put {file} back and reloaded it; the text before is in {}",
                    kept.display()
                ));
            }
            Ok(())
        }
        Err(error) => {
            if let Err(error) = replace(file, &present) {
                return Err(fail("put the present text back into", error));
            }
            Err(failed(common, &error))
        }
    }
}

/// Replaces the text of a file and leaves its owner and mode as they are.
fn replace(file: &str, bytes: &[u8]) -> io::Result<()> {
    let meta = std::fs::metadata(file)?;
    let beside = PathBuf::from(format!("{file}.new"));
    write_whole(&beside, bytes)?;
    std::fs::set_permissions(&beside, meta.permissions())?;
    // Whoever is not root owns the file already, or could not write it.
    let _ = std::os::unix::fs::chown(&beside, Some(meta.uid()), Some(meta.gid()));
    std::fs::rename(&beside, file)
}

pub(super) fn backups(common: &Common, environment: &Environment, asked: &Backups) -> Exit {
    let router = match Router::find(common, environment) {
        Ok(router) => router,
        Err(exit) => return exit,
    };
    if let Some(id) = &asked.id {
        return match contents(common, &router, id) {
            Ok(contents) => {
                show(common, &contents);
                Exit::Yes
            }
            Err(exit) => exit,
        };
    }
    let all: Vec<Backup> = match router.ask(Method::GET, "/v1/state/backups", &json!({})) {
        Ok(all) => all,
        Err(error) => return failed(common, &error),
    };
    if common.json {
        say_json(&all);
    } else if all.is_empty() {
        say("there is no backup yet: each deploy and each rollout begins with one");
    } else {
        let line = |it: &Backup| format!("{:<5} {}  {}, by {}", it.id, it.at, it.reason, it.by);
        let heard = all.iter().map(line).all(say);
        let _ = heard && say("tidegate restore-state --backup ID [--with-config] puts one back");
    }
    Exit::Yes
}

fn show(common: &Common, contents: &Contents) {
    if common.json {
        say_json(contents);
        return;
    }
    let Backup { id, at, reason, by, config } = &contents.about;
    let state = &contents.state.state;
    let heard = say(format_args!("{id} of {at}, made for: {reason}, by {by}"))
        && say(format_args!("weights {}, stable arm {}", state.split, state.stable));
    if let (true, Some(file), Some(text)) = (heard, config, &contents.config) {
        let _ = say(format_args!("configuration {file}:\n")) && say(text);
    }
}
