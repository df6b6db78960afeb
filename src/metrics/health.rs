//! What the handshakes with the servers say.
//!
//! Does not know: how a handshake is made.

use std::collections::{BTreeMap, HashSet};

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Registry};
use tokio::time::Instant;

use crate::health::diff::{Class, Diff};
use crate::health::state::Standing;
use crate::health::{Board, Outliers, Verdict};
use crate::names::Arm;
use crate::route::{Endpoint, RoutingTable};

use super::{counter, fraction, gauge};

/// Endpoints and what they offer.
#[derive(Debug)]
pub(super) struct Health {
    up: IntGaugeVec,
    fitness: GaugeVec,
    in_flight: IntGaugeVec,
    queued: IntGaugeVec,
    ejected: IntGaugeVec,
    ejections: IntCounterVec,
    probes: IntCounterVec,
    duration: GaugeVec,
    server: IntGaugeVec,
    changes: IntGaugeVec,
    /// The endpoints that have series.
    shown: HashSet<[String; 2]>,
    /// The names and versions that servers have had.
    names: HashSet<[String; 2]>,
}

/// Names and versions of servers that get series; a server that calls itself something else each
/// time would fill the disk of Prometheus.
const NAMES_MAX: usize = 100;
/// What all others are called.
const OTHER: &str = "_other";

const UP: &str = "Whether an endpoint gets new work: 0 after health.unhealthy_after handshakes in a row have failed.";
const FITNESS: &str =
    "The share of its usual new work that an endpoint gets: less than 1 while it comes back.";
const IN_FLIGHT: &str =
    "Exchanges with an endpoint that count for limits.in_flight: streams without an end do not.";
const QUEUED: &str = "Exchanges that wait for an endpoint to have less to do.";
const EJECTED: &str =
    "Whether an endpoint gets no new work for a while since its calls fail (health.eject_after).";
const EJECTIONS: &str = "How often an endpoint began to get no new work since its calls fail.";
const SERVER: &str =
    "What the server behind an endpoint calls itself, and the eras that it speaks.";
const CHANGES: &str = "How what the secondary offers differs from what the primary offers: tools, prompts, resources and templates.";

impl Health {
    pub(super) fn new(to: &Registry) -> Health {
        let endpoint = ["arm", "endpoint"];
        let verdict = ["arm", "endpoint", "verdict"];
        let server = ["arm", "endpoint", "name", "version", "eras"];
        Health {
            up: gauge(to, "tidegate_endpoint_up", &endpoint, UP),
            fitness: fraction(to, "tidegate_endpoint_fitness", &endpoint, FITNESS),
            in_flight: gauge(to, "tidegate_endpoint_in_flight", &endpoint, IN_FLIGHT),
            queued: gauge(to, "tidegate_endpoint_queued", &endpoint, QUEUED),
            ejected: gauge(to, "tidegate_endpoint_ejected", &endpoint, EJECTED),
            ejections: counter(to, "tidegate_ejections_total", &endpoint, EJECTIONS),
            probes: counter(to, "tidegate_probes_total", &verdict, "Handshakes, by verdict."),
            duration: fraction(
                to,
                "tidegate_probe_duration_seconds",
                &endpoint,
                "How long the last handshake took.",
            ),
            server: gauge(to, "tidegate_server_info", &server, SERVER),
            changes: gauge(to, "tidegate_catalogue_changes", &["class"], CHANGES),
            shown: HashSet::new(),
            names: HashSet::new(),
        }
    }

    /// What is known now. Endpoints that are gone lose their series.
    pub(super) fn set(&mut self, table: &RoutingTable, board: &Board, outliers: &Outliers) {
        self.server.reset();
        let now = Instant::now();
        let mut present = HashSet::new();
        let leaving = table.leaving().map(|endpoint| (endpoint, 0.0));
        for (endpoint, fitness) in table.fitness().chain(leaving) {
            let labels = [endpoint.arm.as_str().to_owned(), endpoint.url.to_string()];
            let view = board.view(endpoint.id).unwrap_or_default();
            let up = view.state.standing() != Standing::Down;
            self.up.with_label_values(&labels).set(i64::from(up));
            self.fitness.with_label_values(&labels).set(fitness);
            let room = endpoint.room();
            let ejected = usize::from(outliers.why(endpoint.id, now).is_some());
            for (gauge, count) in [
                (&self.in_flight, room.taken()),
                (&self.queued, room.waiting()),
                (&self.ejected, ejected),
            ] {
                super::set(gauge, &labels.each_ref().map(String::as_str), count);
            }
            // A series that begins with its first event hides that event from `increase()`.
            self.ejections.with_label_values(&labels);
            if let Some(probe) = &view.last {
                self.duration.with_label_values(&labels).set(probe.took.as_secs_f64());
            }
            if let Some(server) = &view.server {
                let [arm, url] = labels.each_ref().map(String::as_str);
                let eras = view.eras.names().join("+");
                let named = [server.name.clone(), server.version.clone()];
                let is_kept = self.names.contains(&named) || self.names.len() < NAMES_MAX;
                let [name, version] =
                    if is_kept { named.each_ref().map(String::as_str) } else { [OTHER; 2] };
                let info = [arm, url, name, version, eras.as_str()];
                self.server.with_label_values(&info).set(1);
                if is_kept {
                    self.names.insert(named);
                }
            }
            present.insert(labels);
        }
        for gone in self.shown.difference(&present) {
            // A series that was never made cannot be removed, and need not be.
            let _ = self.up.remove_label_values(gone);
            let _ = self.fitness.remove_label_values(gone);
            let _ = self.in_flight.remove_label_values(gone);
            let _ = self.queued.remove_label_values(gone);
            let _ = self.ejected.remove_label_values(gone);
            let _ = self.ejections.remove_label_values(gone);
            let _ = self.duration.remove_label_values(gone);
            let [arm, url] = gone.each_ref().map(String::as_str);
            for verdict in Verdict::LABELS {
                let _ = self.probes.remove_label_values(&[arm, url, verdict]);
            }
        }
        self.shown = present;
    }

    /// Counts an endpoint that is taken out.
    pub(super) fn count_ejection(&self, endpoint: &Endpoint) {
        let labels = [endpoint.arm.as_str().to_owned(), endpoint.url.to_string()];
        self.ejections.with_label_values(&labels).inc();
    }

    /// Counts handshakes that have ended.
    pub(super) fn count(&self, arm: Arm, endpoint: &str, verdict: &str, count: u64) {
        self.probes.with_label_values(&[arm.as_str(), endpoint, verdict]).inc_by(count);
    }

    /// How the arms differ; `None` while that is not known.
    pub(super) fn set_changes(&self, diff: Option<&Diff>) {
        self.changes.reset();
        let Some(diff) = diff else { return };
        let mut counts: BTreeMap<Class, usize> = BTreeMap::new();
        for change in &diff.changes {
            *counts.entry(change.class).or_default() += 1;
        }
        *counts.entry(Class::Unknown).or_default() += diff.unknown.len();
        for class in Class::ALL {
            let count = counts.get(&class).copied().unwrap_or_default();
            super::set(&self.changes, &[class.as_str()], count);
        }
    }
}
