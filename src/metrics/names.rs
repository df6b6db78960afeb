//! Look-ups of the names that stand for endpoints.
//!
//! Names come from the configuration alone. Does not know: how a name is looked up.

use std::collections::{BTreeMap, BTreeSet};

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::{counter, gauge, set};
use crate::dns::{Answer, NoAddress};
use crate::names::EndpointUrl;
use crate::route::RoutingTable;

/// Look-ups and what they have found.
#[derive(Debug)]
pub(super) struct Names {
    lookups: IntCounterVec,
    success: IntGaugeVec,
    addresses: IntGaugeVec,
    /// The names that have series.
    shown: BTreeSet<String>,
}

/// Every label of a look-up's result.
const RESULTS: [&str; 3] = ["found", "failed", "timeout"];

const SUCCESS: &str = "When a name of endpoints was last looked up with success.";
const ADDRESSES: &str =
    "Addresses of a name of endpoints: those it has, and those kept for their sessions.";

impl Names {
    pub(super) fn new(to: &Registry) -> Names {
        let success = "tidegate_dns_last_success_timestamp_seconds";
        let result = ["name", "result"];
        Names {
            lookups: counter(to, "tidegate_dns_lookups_total", &result, "Look-ups of names."),
            success: gauge(to, success, &["name"], SUCCESS),
            addresses: gauge(to, "tidegate_dns_addresses", &["name", "state"], ADDRESSES),
            shown: BTreeSet::new(),
        }
    }

    /// Look-ups that ended at so many seconds since 1970, and the table that they led to. Names
    /// that are gone from the configuration lose their series.
    pub(super) fn set(
        &mut self,
        answers: &BTreeMap<String, Answer>,
        table: &RoutingTable,
        at: u64,
    ) {
        for (name, answer) in answers {
            let result = match answer {
                Ok(_) => RESULTS[0],
                Err(NoAddress::Failed(_) | NoAddress::NotYet) => RESULTS[1],
                Err(NoAddress::Timeout(_)) => RESULTS[2],
            };
            self.lookups.with_label_values(&[name.as_str(), result]).inc();
            if answer.is_ok() {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                set(&self.success, &[name.as_str()], at);
            }
        }
        let present = table.config.urls().filter(|url| url.is_name());
        let present: BTreeSet<_> = present.map(EndpointUrl::authority).collect();
        for name in &present {
            let (serving, leaving) = table.known.count(name);
            set(&self.addresses, &[name.as_str(), "serving"], serving);
            set(&self.addresses, &[name.as_str(), "leaving"], leaving);
        }
        // A name that a refused reload would have brought has series, too.
        self.shown.extend(answers.keys().cloned());
        for gone in self.shown.difference(&present) {
            // A series that was never made cannot be removed, and need not be.
            for result in RESULTS {
                let _ = self.lookups.remove_label_values(&[gone.as_str(), result]);
            }
            let _ = self.success.remove_label_values(&[gone.as_str()]);
            for state in ["serving", "leaving"] {
                let _ = self.addresses.remove_label_values(&[gone.as_str(), state]);
            }
        }
        self.shown = present;
    }
}
