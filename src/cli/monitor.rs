//! `tidegate monitor`: both arms side by side, live.
//!
//! A terminal gets a view that moves; anything else gets lines. Both end alike. Does not know: how
//! a verdict is come by.

mod figures;

mod keys;

mod model;

mod plain;

mod screen;

mod view;

mod watch;

#[cfg(test)]
mod fixture;

use std::io::IsTerminal as _;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::json;
use tokio::time::Instant;

use crate::config::{Environment, units};
use crate::names::Arm;

use super::ask::{Router, failed};
use super::{Common, Exit, complain, decide, refuse, runtime, say, wants_colour};
use model::Model;
use view::parts::Look;

/// How often the router may be asked.
const INTERVALS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(60)];
/// Looks to a plain line, unless somebody says otherwise.
const LOOKS_A_LINE: u32 = 10;

#[derive(Debug, Args)]
pub(super) struct Monitor {
    /// `primary` or `secondary` (default: that of `--profile`, else both)
    #[arg(value_name = "ARM")]
    arm: Option<Arm>,
    /// How long, such as 10m (default: until somebody leaves)
    #[arg(long, value_name = "TIME")]
    duration: Option<String>,
    /// How often to look, from 100ms to 1m
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: String,
    /// Without a terminal: how often to write a line (default: at every tenth look)
    #[arg(long, value_name = "TIME")]
    every: Option<String>,
}

/// The times that were asked for.
struct Times {
    duration: Option<Duration>,
    look: Duration,
    tell: Duration,
}

impl Monitor {
    fn times(&self) -> Result<Times, String> {
        let read = |name: &str, text: &str| {
            let time = units::duration(text).map_err(|error| format!("--{name}: {error}"))?;
            if time.is_zero() {
                Err(format!("--{name}: has to be more than {text}"))
            } else {
                Ok(time)
            }
        };
        let look = read("interval", &self.interval)?;
        if !(INTERVALS[0]..=INTERVALS[1]).contains(&look) {
            return Err(format!("--interval: `{}` is not from 100ms to 1m", self.interval));
        }
        let every = self.every.as_deref().map(|text| read("every", text)).transpose()?;
        let duration = self.duration.as_deref().map(|text| read("duration", text)).transpose()?;
        Ok(Times { duration, look, tell: every.unwrap_or(look * LOOKS_A_LINE) })
    }
}

/// Why the watch has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its time is over, or there is a verdict.
    Over,
    /// Whoever watched has left.
    Asked,
    /// A signal.
    Signal,
    /// Nobody reads any more.
    Unread,
}

pub(super) fn run(common: &Common, environment: &Environment, asked: &Monitor) -> Exit {
    let times = match asked.times() {
        Ok(times) => times,
        Err(why) => return refuse(common, why),
    };
    let focus = match common.arm(asked.arm) {
        Ok(focus) => focus,
        Err(exit) => return exit,
    };
    let router = match Router::find(common, environment) {
        Ok(router) => router,
        Err(exit) => return exit,
    };
    let (runtime, local) = match runtime() {
        Ok(both) => both,
        Err(error) => {
            complain(format_args!("cannot watch: {error}"));
            return Exit::Unknown;
        }
    };
    local.block_on(&runtime, async {
        let first = match watch::look(router.socket(), 0, None).await {
            Ok(first) => first,
            Err(error) => return failed(common, &error),
        };
        let began = Instant::now();
        let mut model = Model::new(focus, times.duration, began, first.clone());
        let is_dumb = environment.get("TERM").is_none_or(|term| term == "dumb");
        let live = std::io::stdout().is_terminal() && !common.json && !is_dumb;
        let ended = if live {
            let look = Look { color: wants_colour(environment) };
            screen::run(&mut model, router.socket(), times.look, &first, look).await
        } else {
            let pace = (times.look, times.tell);
            plain::run(&mut model, router.socket(), pace, &first, common.json).await
        };
        match ended {
            Ok(end) => told(common, &model, end, live),
            Err(error) => {
                complain(format_args!(
                    "cannot go on watching: {error}; without a terminal, try tidegate monitor | cat"
                ));
                if model.exit() == Exit::No { Exit::No } else { Exit::Unknown }
            }
        }
    })
}

/// Says how it has ended.
fn told(common: &Common, model: &Model, end: End, live: bool) -> Exit {
    let watched = decide::time(model.watched(Instant::now()));
    let cut = end == End::Signal && model.left(Instant::now()).is_some_and(|left| !left.is_zero());
    let (exit, why) = match (model.exit(), &model.verdict, &model.silence) {
        (Exit::No, Some(verdict), _) => (Exit::No, verdict.why.clone()),
        (_, _, Some(silence)) => (
            Exit::Unknown,
            format!(
                "the router does not answer since {}: {}; nothing was found in the time before",
                silence.at, silence.why
            ),
        ),
        _ if cut => (
            Exit::Unknown,
            format!(
                "ended by a signal after {watched}, before its time: watch again for all of it"
            ),
        ),
        _ => (Exit::Yes, format!("nothing would have shut the gate in {watched}")),
    };
    if common.json {
        say(json!({ "kind": "end", "at": now_text(), "exit": exit as u8, "why": why }));
    } else if exit != Exit::Yes {
        complain(why);
    } else if live || end == End::Over || end == End::Signal {
        say(why);
    }
    exit
}

/// Until the end; for ever where there is none, or where what follows it is waited for.
async fn rest(left: Option<Duration>) {
    match left.filter(|left| !left.is_zero()) {
        Some(left) => tokio::time::sleep(left).await,
        None => std::future::pending().await,
    }
}

/// The time, as the journal writes it.
fn now_text() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// The time of the day, as the journal's, in UTC.
fn clock() -> String {
    now_text().get(11..19).unwrap_or_default().to_owned()
}
