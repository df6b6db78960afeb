//! `tidegate upgrade`: another process takes over, and no client notices.

use std::path::PathBuf;

use clap::Args;

use crate::admin::wire::operate::Upgrade as Asked;
use crate::config::Environment;

use super::ask::{Router, failed};
use super::{Common, Exit, refuse, say, say_json};

#[derive(Debug, Args)]
pub(super) struct Upgrade {
    /// The new program (default: the file that the router was started from, as it is now)
    #[arg(value_name = "BINARY")]
    binary: Option<PathBuf>,
}

pub(super) fn run(common: &Common, environment: &Environment, asked: Upgrade) -> Exit {
    let found = |path: PathBuf| {
        std::fs::canonicalize(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let binary = match asked.binary.map(found).transpose() {
        Ok(binary) => binary,
        Err(why) => return refuse(common, why),
    };
    let router = match Router::find(common, environment) {
        Ok(router) => router,
        Err(exit) => return exit,
    };
    match router.upgrade(&Asked { binary }) {
        Ok(done) => {
            if common.json {
                say_json(&done);
            } else {
                let drain = std::time::Duration::from_millis(done.drain_ms);
                say(format_args!(
                    "tidegate {} (pid {}) has taken over from {} (pid {}), which finishes what it has within {}",
                    done.version,
                    done.pid,
                    done.from_version,
                    done.from_pid,
                    humantime::format_duration(drain),
                ));
            }
            Exit::Yes
        }
        Err(error) => failed(common, &error),
    }
}
