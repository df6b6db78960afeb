//! What names stand for now: endpoints that come and go without a change of the configuration.
//!
//! Nobody decides here, so nothing is recorded; the log has a line for each change. Does not know:
//! how a name is looked up.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::Control;
use crate::config;
use crate::dns::{Answer, Known};
use crate::names::{Arm, EndpointUrl};
use crate::route::RoutingTable;

impl Control {
    /// Takes over what look-ups have found, and forgets addresses that have left for long or that
    /// nobody answers at. `ahead` are names that a reload may bring.
    pub fn set_names(
        &self,
        answers: &BTreeMap<String, Answer>,
        ahead: &[String],
        is_dead: impl Fn(&str, IpAddr) -> bool,
    ) {
        let (table, now) = (self.live.load(), Instant::now());
        let mut known = Known::clone(&table.known);
        known.learn(answers, now);
        let mut names: Vec<_> = table.config.urls().map(EndpointUrl::authority).collect();
        names.extend_from_slice(ahead);
        known.forget(&names, now, table.config.dns.keep, is_dead);
        if known == *table.known {
            return;
        }
        let next = table.with_names(Arc::new(known));
        tell(&table, &next, answers.keys());
        self.live.publish(next);
    }

    /// The endpoints of the configuration as its file is now, if that can be read.
    pub fn urls_ahead(&self) -> Vec<EndpointUrl> {
        let old = &self.live.load().config;
        let new = config::load(old.file.as_deref(), old.profile.as_deref(), &self.environment);
        let Ok(new) = new else { return Vec::new() };
        new.urls().cloned().collect()
    }
}

/// A line for each name that another table knows other things of.
fn tell<'a>(before: &RoutingTable, now: &RoutingTable, names: impl Iterator<Item = &'a String>) {
    let list = |all: &[IpAddr]| {
        let all: Vec<_> = all.iter().map(ToString::to_string).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    };
    for name in names {
        let ((had, failed_before), (has, failed)) = (before.known.of(name), now.known.of(name));
        match failed {
            Some(why) if failed_before != Some(why) => {
                tracing::warn!(name, "no address found: {why}; kept: {}", list(&has));
            }
            None if failed_before.is_some() || had != has => {
                tracing::info!(name, had = %list(&had), "addresses: {}", list(&has));
            }
            _ => {}
        }
    }
    for arm in Arm::ALL {
        let left_out = |table: &RoutingTable| {
            table.known.places(&table.config.arms.get(arm).endpoints).left_out
        };
        match left_out(now) {
            count @ 1.. if count != left_out(before) => {
                tracing::warn!(%arm, "{count} addresses too many: they get nothing");
            }
            _ => {}
        }
    }
}
