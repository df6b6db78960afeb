//! `tidegate diff`: how what the secondary offers differs from what the primary offers, as the
//! router knows it, or by a handshake with each where no router runs.

use clap::Args;
use http::Method;
use serde_json::json;

use crate::admin::client::AskError;
use crate::admin::wire::Compared;
use crate::config::{self, Environment};
use crate::dns;
use crate::health::Subject;
use crate::health::catalogue::Catalogue;
use crate::health::diff::{Class, diff};
use crate::health::handshake::{self, Memory};
use crate::names::{Arm, PerArm};

use super::ask::{Router, failed};
use super::health::FAREWELLS_MAX;
use super::{Common, Exit, complain, no_runtime, refuse, runtime, say, say_json};

#[derive(Debug, Args)]
pub(super) struct Differ {
    /// Ask the servers themselves, also where a router runs
    #[arg(long)]
    direct: bool,
}

pub(super) fn run(common: &Common, environment: &Environment, asked: &Differ) -> Exit {
    if asked.direct {
        return direct(common, environment);
    }
    let router = match Router::find(common, environment) {
        Ok(router) => router,
        Err(exit) => return exit,
    };
    match router.ask::<Compared>(Method::GET, "/v1/diff", &json!({})) {
        Ok(compared) => tell(common, &compared),
        Err(AskError::NotRunning { .. }) => {
            if !common.json {
                complain("no router answers; asking the servers themselves");
            }
            direct(common, environment)
        }
        Err(error) => failed(common, &error),
    }
}

/// Asks the endpoints of each arm until one tells what it offers.
fn direct(common: &Common, environment: &Environment) -> Exit {
    let loaded = config::load(common.config.as_deref(), common.profile.as_deref(), environment);
    let config = match loaded {
        Ok(config) => config,
        Err(problems) => {
            return refuse(common, format_args!("the configuration is refused:\n{problems}"));
        }
    };
    let (runtime, local) = match runtime() {
        Ok(made) => made,
        Err(error) => return no_runtime(common, &error),
    };
    let known = local.block_on(&runtime, dns::once(config.urls()));
    let subjects = Subject::all(&config, &known);
    let listed = PerArm::from_fn(|arm| local.block_on(&runtime, list(subjects.get(arm))));
    let missing = Arm::ALL.into_iter().filter_map(|arm| {
        let why = listed.get(arm).as_ref().err()?;
        Some(format!("the {arm} could not be listed: {why}"))
    });
    // Sessions that were opened are being ended still.
    let _ = runtime.block_on(async { tokio::time::timeout(FAREWELLS_MAX, local).await });
    let both = listed.primary.as_ref().ok().zip(listed.secondary.as_ref().ok());
    let diff = both.map(|(primary, secondary)| diff(primary, secondary));
    let compared = Compared { missing: missing.collect(), diff };
    tell(common, &compared)
}

/// What the first endpoint offers that tells its tools; else why the first of all does not.
async fn list(endpoints: &[Subject]) -> Result<Catalogue, String> {
    let mut why = None;
    for endpoint in endpoints {
        let probe = handshake::probe(endpoint, &mut Memory::default()).await;
        match probe.catalogue.filter(Catalogue::knows_tools) {
            Some(catalogue) => return Ok(catalogue),
            None => _ = why.get_or_insert(probe.verdict.to_string()),
        }
    }
    Err(why.expect("an arm has an endpoint"))
}

/// Prints the difference. 0: the same, or nothing that anybody has to look at; 1: breaking or
/// suspicious; 2: it could not be told.
fn tell(common: &Common, compared: &Compared) -> Exit {
    if common.json {
        say_json(compared);
    } else {
        compared.missing.iter().for_each(complain);
        if let Some(diff) = &compared.diff {
            say(diff);
        }
    }
    match &compared.diff {
        None => Exit::Unknown,
        Some(diff) => match diff.worst() {
            None | Some(Class::Cosmetic | Class::Additive) => Exit::Yes,
            Some(Class::Breaking | Class::Suspicious) => Exit::No,
            Some(Class::Unknown) => Exit::Unknown,
        },
    }
}
