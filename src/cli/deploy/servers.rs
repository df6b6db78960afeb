//! What is done to the servers of an arm, and how it is found out what has become of them.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::cli::Exit;
use crate::config::{Health, Lifecycle};
use crate::dns;
use crate::health::handshake::{Memory, probe};
use crate::health::{Probe, Subject};
use crate::lifecycle::{self, Call, Ended, How, is_same, version_in};
use crate::names::{Arm, EndpointUrl};

use super::desk::Desk;
use super::steps::{Failure, Mark};

/// How often it is looked whether the servers are there, or gone.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Commands to be run one after the other.
pub(super) type Plan = Vec<(&'static str, Vec<String>)>;

/// What starts the servers, or restarts those that are there.
///
/// # Errors
/// Names the command that is missing.
pub(super) fn plan(lifecycle: &Lifecycle, is_there: bool) -> Result<Plan, &'static str> {
    let Lifecycle { start, stop, restart, .. } = lifecycle;
    let named = |name, words: &Option<Vec<String>>| Some((name, words.clone()?));
    let plan = match (is_there, restart, stop, start) {
        (true, Some(_), ..) | (false, Some(_), _, None) => vec![named("restart", restart)],
        (true, None, Some(_), Some(_)) => vec![named("stop", stop), named("start", start)],
        (false, _, _, Some(_)) => vec![named("start", start)],
        (true, ..) => return Err("restart"),
        (false, ..) => return Err("start"),
    };
    Ok(plan.into_iter().flatten().collect())
}

/// What to write where a command is missing.
pub(super) fn missing(arm: Arm, command: &str, file: Option<&std::path::Path>) -> String {
    let file = file.map_or_else(
        || "a configuration file (see `tidegate init`)".to_owned(),
        |file| file.display().to_string(),
    );
    let done = if command == "stop" { "stopped".to_owned() } else { format!("{command}ed") };
    format!(
        "nobody has said how the servers of the {arm} are to be {done}; add to {file}:\n\n\
         [{arm}.lifecycle]\n\
         start   = [\"systemctl\", \"start\", \"mcp@{arm}\"]\n\
         stop    = [\"systemctl\", \"stop\", \"mcp@{arm}\"]\n\
         restart = [\"systemctl\", \"restart\", \"mcp@{arm}\"]\n\n\
         ready examples: config/examples/systemd, config/lifecycle-docker.toml"
    )
}

impl Desk<'_> {
    fn endpoints(&self) -> Vec<EndpointUrl> {
        self.config.arms.get(self.arm).endpoints.clone()
    }

    /// The endpoints where something listens.
    pub(super) fn listening(&self) -> Vec<EndpointUrl> {
        let limit = self.config.timeouts.connect;
        self.wait("looking at the servers", listening(self.endpoints(), limit))
    }

    /// Runs one of the operator's commands; what it does is a step of its own.
    pub(super) fn run(
        &mut self,
        step: &'static str,
        words: &[String],
        version: Option<&str>,
    ) -> Result<Ended, Failure> {
        let profile = self.config.profile.clone();
        let call =
            Call { words, arm: self.arm, version, profile: profile.as_deref(), limit: self.limit };
        let what = format!("{step}: {}", words.join(" "));
        let ended = self.wait(&what, lifecycle::run(&call, self.signals.next()));
        let ended = ended.map_err(|error| Failure::no(step, error.to_string()))?;
        if ended.how.is_good() {
            return Ok(ended);
        }
        let is_broken_off = ended.how == How::Interrupted;
        let failure = if is_broken_off { Failure::unknown } else { Failure::no };
        let why = format!("{}: {}{}", words.join(" "), ended.how, left_out(&ended));
        Err(Failure { output: Some(ended.output.tail()), ..failure(step, why) })
    }

    /// Runs the commands of a plan, each a step.
    pub(super) fn carry_out(&mut self, plan: &Plan, version: Option<&str>) -> Result<(), Failure> {
        for (place, (step, words)) in plan.iter().enumerate() {
            let ended = self.run(step, words, version)?;
            let held = "; what it started writes to a pipe that nobody reads: let it write to a file or the system's log";
            let (mark, held) = if ended.is_held { (Mark::Warning, held) } else { (Mark::Ok, "") };
            let detail = format!("{}{}{held}", words.join(" "), left_out(&ended));
            self.steps.ended(step, ended.took, mark, &detail);
            if *step == "stop" {
                self.gone()?;
            } else if place + 1 < plan.len() {
                unreachable!("only a stop is followed by something");
            }
        }
        Ok(())
    }

    /// Waits until nothing listens any more.
    fn gone(&mut self) -> Result<(), Failure> {
        let (began, endpoints) = (Instant::now(), self.endpoints());
        let connect = self.config.timeouts.connect;
        let still = RefCell::new(Vec::new());
        let looking = async {
            loop {
                let there = listening(endpoints.clone(), connect).await;
                if there.is_empty() {
                    return;
                }
                *still.borrow_mut() = there;
                sleep(LOOK_EVERY).await;
            }
        };
        if self.wait_or_stop("stop", "waiting until nothing listens", looking)?.is_none() {
            let still: Vec<String> = still.take().iter().map(ToString::to_string).collect();
            let why = format!(
                "the command has ended well, but something listens on {} still",
                still.join(", ")
            );
            return Err(Failure::no("stop", why));
        }
        self.steps.ended("gone", began.elapsed(), Mark::Ok, "nothing listens any more");
        Ok(())
    }

    /// Waits until each server of the arm answers a handshake; a step of its own.
    pub(super) fn handshakes(&mut self) -> Result<Vec<Probe>, Failure> {
        let began = Instant::now();
        let last = RefCell::new("there was no time for one".to_owned());
        let looking = async {
            loop {
                // A server that is started anew may have another address.
                let known = dns::once(&self.endpoints()).await;
                let subjects = Subject::all(&self.config, &known).get(self.arm).clone();
                if let Some(probes) = working(&subjects, &last).await {
                    return probes;
                }
                sleep(LOOK_EVERY).await;
            }
        };
        let what = format!("waiting for the servers of the {}", self.arm);
        let Some(probes) = self.wait_or_stop("handshake", &what, looking)? else {
            let limit = humantime::format_duration(self.limit);
            let why = format!("no handshake within {limit}: {}", last.borrow());
            return Err(Failure::no("handshake", why));
        };
        let verdicts: Vec<_> =
            probes.iter().map(|it| format!("{} as {}", it.verdict.label(), named(it))).collect();
        self.steps.ended("handshake", began.elapsed(), Mark::Ok, &verdicts.join(", "));
        Ok(probes)
    }

    /// What the operator's own command says of the version.
    fn version_by_command(&mut self, version: Option<&str>) -> Result<Option<String>, Failure> {
        let Some(words) = self.lifecycle().version.clone() else { return Ok(None) };
        let ended = self.run("version", &words, version)?;
        let line = ended.output.first_line().unwrap_or_default();
        version_in(&line).map(Some).ok_or_else(|| {
            let why =
                format!("{} names no version in the first line of its output", words.join(" "));
            Failure { output: Some(line), ..Failure::no("version", why) }
        })
    }

    /// The version that is there before anything is done, as far as it can be found out; a step of
    /// its own.
    pub(super) fn version_before(
        &mut self,
        known: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        let began = Instant::now();
        let (mark, found, why) = match self.version_by_command(None) {
            Ok(Some(found)) => (Mark::Ok, Some(found), String::new()),
            Ok(None) => (Mark::Ok, known.and_then(version_in), String::new()),
            // Somebody has broken it off.
            Err(failure) if failure.exit == Exit::Unknown => return Err(failure),
            // Nothing may be there yet.
            Err(failure) => {
                (Mark::Warning, known.and_then(version_in), format!(" ({})", failure.why))
            }
        };
        let text = found.as_deref().unwrap_or("not known");
        self.steps.ended("before", began.elapsed(), mark, &format!("{text}{why}"));
        Ok(found)
    }

    /// The version that runs now, which is the one that was wanted; a step of its own.
    pub(super) fn version_now(
        &mut self,
        wanted: Option<&str>,
        before: Option<&str>,
        probes: &[Probe],
    ) -> Result<Option<String>, Failure> {
        let began = Instant::now();
        let said = self.version_by_command(wanted)?;
        let servers: Vec<_> = probes.iter().filter_map(|it| it.server.as_ref()).collect();
        let server = servers.iter().find_map(|it| version_in(&it.version));
        let Some(wanted) = wanted else {
            let found = said.or(server);
            let text = found.as_deref().unwrap_or("not known: nobody says it");
            self.steps.ended("version", began.elapsed(), Mark::Ok, text);
            return Ok(found);
        };
        if let Some(said) = said.as_ref().filter(|said| !is_same(said, wanted)) {
            let why = format!("the version command says {said}, and not {wanted}");
            return Err(Failure::no("version", why));
        }
        // Many servers give the version of their SDK. But one that gave its own before does so now.
        let others = servers.iter().filter(|it| !is_same(&it.version, wanted));
        let others: Vec<&str> = others.map(|it| it.version.as_str()).collect();
        let is_old = |other: &&&str| before.is_some_and(|before| is_same(other, before));
        if let Some(old) = others.iter().find(is_old) {
            let why = format!("the server still calls itself {old}, as before, and not {wanted}");
            return Err(Failure::no("version", why));
        }
        let (mark, detail) = match (said.is_some(), others.first()) {
            (_, None) if said.is_some() || !servers.is_empty() => (Mark::Ok, wanted.to_owned()),
            (true, Some(other)) => {
                (Mark::Ok, format!("{wanted} (the server calls itself {other})"))
            }
            (false, Some(other)) => {
                let why = format!(
                    "the server calls itself {other}, and not {wanted}; if that is no version of \
                     its own, add a `version` command to [{}.lifecycle]",
                    self.arm
                );
                return Err(Failure::no("version", why));
            }
            (_, None) => (
                Mark::Warning,
                format!(
                    "nobody says whether it is {wanted}: add a `version` command to [{}.lifecycle]",
                    self.arm
                ),
            ),
        };
        self.steps.ended("version", began.elapsed(), mark, &detail);
        Ok(Some(wanted.to_owned()))
    }

    /// Waits until the router has found out by itself that the servers work, since nothing starts
    /// before; a step of its own, left out where it makes no handshakes.
    pub(super) fn known_to_router(&mut self) -> Result<(), Failure> {
        let Some(limit) = patience(self.limit, &self.config.health) else { return Ok(()) };
        let (began, since) = (Instant::now(), SystemTime::now());
        let mut last = "it has not looked yet".to_owned();
        while began.elapsed() < limit {
            match self.status() {
                Ok(status) => {
                    let endpoints = &status.arms.get(self.arm).endpoints;
                    let waiting = endpoints.iter().find_map(|endpoint| {
                        let Some(health) = &endpoint.health else { return Some(last.clone()) };
                        let at = humantime::parse_rfc3339(&health.at).ok();
                        let is_news = at.is_some_and(|at| at >= since);
                        (!is_news || health.standing != "up").then(|| health.why.clone())
                    });
                    let Some(why) = waiting else {
                        self.steps.ended(
                            "noticed",
                            began.elapsed(),
                            Mark::Ok,
                            "it has found the servers well, too",
                        );
                        return Ok(());
                    };
                    last = why;
                }
                Err(error) => last = error.to_string(),
            }
            let pause = async { sleep(LOOK_EVERY).await };
            self.wait_or_stop("noticed", "waiting for the router's own handshake", pause)?;
        }
        Err(Failure::no(
            "noticed",
            format!("its own handshakes do not succeed: {last}; see `tidegate status`"),
        ))
    }
}

/// How long the router's own handshakes are waited for: as many as it needs, and one that was on its
/// way, however far apart they are. `None` where it makes none.
fn patience(limit: Duration, health: &Health) -> Option<Duration> {
    Some(limit.max(health.interval?.saturating_mul(health.healthy_after.saturating_add(2))))
}

async fn listening(endpoints: Vec<EndpointUrl>, limit: Duration) -> Vec<EndpointUrl> {
    let mut there = Vec::new();
    for place in dns::once(&endpoints).await.places(&endpoints).serving {
        let (port, url) = (place.url.port(), place.url);
        let connecting = async {
            match url.address() {
                Some(address) => TcpStream::connect((address, port)).await,
                None => TcpStream::connect((url.host(), port)).await,
            }
        };
        // Nobody listens at a name without an address.
        if !url.is_name() && matches!(timeout(limit, connecting).await, Ok(Ok(_))) {
            there.push(url);
        }
    }
    there
}

/// Makes a handshake with each; nothing if one of them fails.
async fn working(subjects: &[Subject], last: &RefCell<String>) -> Option<Vec<Probe>> {
    let mut good = Vec::new();
    for subject in subjects {
        let probe = probe(subject, &mut Memory::default()).await;
        if !probe.verdict.is_up() {
            *last.borrow_mut() = format!("{}: {}", subject.endpoint.url, probe.verdict);
            return None;
        }
        good.push(probe);
    }
    Some(good)
}

fn named(probe: &Probe) -> String {
    let server = probe.server.as_ref();
    server.map_or_else(|| "nobody".to_owned(), |it| format!("{} {}", it.name, it.version))
}

fn left_out(ended: &Ended) -> String {
    match ended.output.left_out() {
        0 => String::new(),
        bytes => format!(" (the first {bytes} bytes of its output were thrown away)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Environment};

    #[test]
    fn rare_handshakes_are_waited_for() {
        let config = config::load(None, None, &Environment::default()).unwrap();
        let seconds = Duration::from_secs;
        for (interval, healthy_after, wanted) in [
            (None, 1, None),
            (Some(seconds(5)), 2, Some(seconds(120))),
            (Some(seconds(300)), 2, Some(seconds(1200))),
            (Some(Duration::MAX), u32::MAX, Some(Duration::MAX)),
        ] {
            let health = Health { interval, healthy_after, ..config.health.clone() };
            assert_eq!(patience(seconds(120), &health), wanted);
        }
    }

    #[test]
    fn what_is_run() {
        let some = || Some(vec!["x".to_owned()]);
        let timeout = Duration::from_secs(1);
        let all =
            Lifecycle { start: some(), stop: some(), restart: some(), version: None, timeout };
        let steps = |lifecycle: &Lifecycle, is_there| {
            plan(lifecycle, is_there).map(|plan| plan.into_iter().map(|(step, _)| step).collect())
        };
        let [mut no_restart, mut only_restart, mut only_start] = [(); 3].map(|()| all.clone());
        no_restart.restart = None;
        (only_restart.start, only_restart.stop) = (None, None);
        (only_start.restart, only_start.stop) = (None, None);
        for (lifecycle, there, not_there) in [
            (&all, Ok(vec!["restart"]), Ok(vec!["start"])),
            (&no_restart, Ok(vec!["stop", "start"]), Ok(vec!["start"])),
            (&only_restart, Ok(vec!["restart"]), Ok(vec!["restart"])),
            (&only_start, Err("restart"), Ok(vec!["start"])),
        ] {
            assert_eq!((steps(lifecycle, true), steps(lifecycle, false)), (there, not_there));
        }
    }
}
