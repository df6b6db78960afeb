//! File, profile and environment to a checked configuration, or to everything that is wrong.
//!
//! The file is read once; each check lays a profile over a copy of its tree.
//! Does not know: what the keys mean.

use std::collections::BTreeSet;
use std::mem;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::file::Reader;
use super::problem::{Problem, Problems};
use super::profile::overlay;
use super::tree::{self, Source, Table, Value};
use super::{Admin, Config, RolloutConfig, check, decide, secret};
use crate::names::Arm;

/// A longer file is the wrong file.
const BYTES_MAX: u64 = 1024 * 1024;

/// Reads a configuration: all defaults without a file, the base without a profile.
pub fn load(
    file: Option<&Path>,
    profile: Option<&str>,
    env: &Environment,
) -> Result<Config, Problems> {
    Document::open(file)?.load(profile, env)
}

/// The admin sockets that a configuration names, for whoever only wants to ask its router: secrets
/// that this user does not have are not missed.
pub fn admin_sockets(
    file: Option<&Path>,
    profile: Option<&str>,
    env: &Environment,
) -> Result<Admin, Problems> {
    without_secrets(file, profile, env).map(|config| config.admin)
}

/// The state directory that a configuration names, for whoever only wants to read in it; as above.
pub fn state_dir(
    file: Option<&Path>,
    profile: Option<&str>,
    env: &Environment,
) -> Result<PathBuf, Problems> {
    without_secrets(file, profile, env).map(|config| config.state_dir)
}

/// The profile and the arm that a name such as `production-secondary` means, unless there is a
/// profile of that very name.
pub fn profile_and_arm(file: Option<&Path>, given: &str) -> Option<(String, Arm)> {
    let (profile, arm) = given.rsplit_once('-')?;
    let arm = arm.parse().ok()?;
    let is_one = |document: Document| document.profiles.contains_key(given);
    if profile.is_empty() || Document::open(file).is_ok_and(is_one) {
        return None;
    }
    Some((profile.to_owned(), arm))
}

fn without_secrets(
    file: Option<&Path>,
    profile: Option<&str>,
    env: &Environment,
) -> Result<Config, Problems> {
    let mut document = Document::open(file)?;
    if let Some(name) = profile.filter(|name| !document.profiles.contains_key(*name)) {
        document.report(None, "profiles", &document.no_profile(name));
    }
    let config = document.check(profile, env, false);
    document.finish().map(|()| config)
}

/// Checks the base and every profile over it; the answer is the names of the profiles. What a
/// profile needs from the machine that it is for (variables, files, users) is not asked of this
/// one.
pub fn check_all(file: Option<&Path>, env: &Environment) -> Result<Vec<String>, Problems> {
    Document::open(file)?.check_all(env)
}

/// Reads the plan of one rollout: the keys of `[rollout]`, at the top. What it leaves out is as
/// in `defaults`. Nothing is filled in from the environment: a plan is sent by whoever may start
/// a rollout, and what the router's process holds is not theirs to see.
pub fn plan(text: &str, defaults: &RolloutConfig) -> Result<RolloutConfig, Problems> {
    let source = Source { name: "plan".into(), text: text.to_owned() };
    let (tree, mut problems) = tree::parse(&source);
    let env = Environment::default();
    let reader = Reader::new(&source, Path::new(""), &env, true);
    let plan = decide::rollout(reader.root(tree), defaults);
    add_understood(&mut problems, reader.finish());
    Problems::of(problems).map_or(Ok(plan), Err)
}

/// A file that was read, as far as it could be.
struct Document {
    file: Option<PathBuf>,
    source: Source,
    base: Table,
    profiles: Table,
    problems: Vec<Problem>,
}

impl Document {
    fn open(file: Option<&Path>) -> Result<Document, Problems> {
        let Some(file) = file else { return Ok(Document::parse(None, Vec::new())) };
        match secret::read_some(file, BYTES_MAX) {
            Ok(bytes) => Ok(Document::parse(Some(file), bytes)),
            Err(error) => {
                let mut document = Document::parse(Some(file), Vec::new());
                document.report(None, "", &format!("cannot read this file: {error}"));
                document.finish().map(|()| document)
            }
        }
    }

    fn parse(file: Option<&Path>, bytes: Vec<u8>) -> Document {
        let name = file.map_or("(defaults)".into(), |file| file.display().to_string());
        let file = file.map(Path::to_owned);
        let (text, broken) = utf8(bytes);
        let source = Source { name, text };
        let (base, problems) = match broken {
            Some(_) => (Table::new(), Vec::new()),
            None => tree::parse(&source),
        };
        let mut document = Document { file, source, base, profiles: Table::new(), problems };
        if let Some(at) = broken {
            document.report(Some(at), "", "this is not UTF-8, which TOML has to be");
        }
        document.take_profiles();
        document
    }

    /// Moves the profiles out of the base, so that what is left is a configuration.
    fn take_profiles(&mut self) {
        let Some(profiles) = self.base.remove("profiles") else { return };
        let (at, kind) = (profiles.at, profiles.value.kind());
        let Value::Table(profiles) = profiles.value else {
            return self.report(Some(at), "profiles", &format!("must be a table, not {kind}"));
        };
        for (name, node) in profiles {
            if matches!(node.value, Value::Table(_)) {
                self.profiles.insert(name, node);
            } else {
                let message = format!("must be a table, not {}", node.value.kind());
                self.report(Some(node.at), &node.path, &message);
            }
        }
    }

    fn load(mut self, profile: Option<&str>, env: &Environment) -> Result<Config, Problems> {
        if let Some(name) = profile.filter(|name| !self.profiles.contains_key(*name)) {
            self.report(None, "profiles", &self.no_profile(name));
        }
        let mut config = self.check(profile, env, true);
        config.file.clone_from(&self.file);
        config.profile = profile.map(str::to_owned);
        self.finish().map(|()| config)
    }

    fn check_all(mut self, env: &Environment) -> Result<Vec<String>, Problems> {
        self.check(None, env, true);
        let names: Vec<String> = self.profiles.keys().cloned().collect();
        for name in &names {
            self.check(Some(name), env, false);
        }
        self.finish().map(|()| names)
    }

    fn check(&mut self, profile: Option<&str>, env: &Environment, strict: bool) -> Config {
        let mut tree = self.base.clone();
        let over = profile.and_then(|name| self.profiles.get(name)).map(|node| node.value.clone());
        if let Some(Value::Table(over)) = over {
            overlay(&mut tree, over);
        }
        let env = env.of_service(self.file.as_deref());
        let reader = Reader::new(&self.source, self.folder(), &env, strict);
        reader.know("profiles");
        let config = check::config(&mut reader.root(tree));
        let found = reader.finish();
        add_understood(&mut self.problems, found);
        config
    }

    /// Where relative paths start.
    fn folder(&self) -> &Path {
        self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""))
    }

    fn no_profile(&self, name: &str) -> String {
        let names: Vec<_> = self.profiles.keys().map(|name| format!("`{name}`")).collect();
        match (&self.file, names.as_slice()) {
            (None, _) => format!(
                "there is no profile `{name}` without a configuration file: name one with --config or TIDEGATE_CONFIG"
            ),
            (_, []) => format!(
                "there is no profile `{name}`, nor any other: add a section [profiles.{name}], or leave --profile out"
            ),
            (_, names) => format!("there is no profile `{name}`; there is {}", names.join(", ")),
        }
    }

    fn report(&mut self, at: Option<usize>, key: &str, message: &str) {
        self.problems.push(self.source.problem(at, key, message));
    }

    fn finish(&mut self) -> Result<(), Problems> {
        Problems::of(mem::take(&mut self.problems)).map_or(Ok(()), Err)
    }
}

/// Adds the problems of lines that could be read. Where the text is broken, what was understood
/// of it is a guess.
fn add_understood(problems: &mut Vec<Problem>, found: Vec<Problem>) {
    let broken: BTreeSet<usize> =
        problems.iter().filter(|p| p.key.is_empty()).map(|p| p.line).collect();
    problems.extend(found.into_iter().filter(|p| !broken.contains(&p.line)));
}

/// The text, or as much as there is up to the offset where it breaks off.
fn utf8(bytes: Vec<u8>) -> (String, Option<usize>) {
    String::from_utf8(bytes).map_or_else(
        |error| {
            let at = error.utf8_error().valid_up_to();
            (String::from_utf8_lossy(&error.as_bytes()[..at]).into_owned(), Some(at))
        },
        |text| (text, None),
    )
}

#[cfg(test)]
mod tests;
