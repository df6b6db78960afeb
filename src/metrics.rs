//! Every metric's name, labels and meaning in one place, and the text that Prometheus reads.
//!
//! Labels come from closed sets, so the number of series is bounded by this module and not by what
//! clients send. Does not know: where the numbers come from.

mod histogram;

mod traffic;

mod connections;

mod health;

mod names;

mod memory;

mod decisions;

mod notices;

mod tls;

use std::collections::{BTreeMap, HashMap};

use prometheus::{Encoder as _, GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::alerts::{Alerts, Severity};
use crate::dns::Answer;
use crate::health::diff::Diff;
use crate::health::{Board, Outliers};
use crate::judge::Judgement;
use crate::names::{Arm, Guard, PerArm};
use crate::notify::WebhookStanding;
use crate::observe::tally::{Gauges, Labels, Tally};
use crate::overload::Shedding;
use crate::rollout::Rollout;
use crate::route::{Endpoint, RoutingTable, Tools};
use crate::upstream::pool::PoolCounts;

use connections::Connections;
use decisions::Decisions;
use health::Health;
use histogram::Durations;
use memory::Memory;
use names::Names;
use notices::Notifications;
use tls::Tls;
use traffic::Traffic;

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    traffic: Traffic,
    connections: Connections,
    table: Table,
    health: Health,
    names: Names,
    decisions: Decisions,
    notifications: Notifications,
    tls: Tls,
    memory: Memory,
    alerts: IntGaugeVec,
    /// The latest sample of each worker, to add up what is there.
    gauges: HashMap<usize, (Gauges, PoolCounts)>,
}

/// What is in force.
#[derive(Debug)]
struct Table {
    weight: GaugeVec,
    generation: IntGaugeVec,
    upgrades: IntCounterVec,
    reload_ok: IntGaugeVec,
    reload_time: IntGaugeVec,
}

/// Every label of an upgrade's result.
const UPGRADES: [&str; 2] = ["done", "refused"];

const ALERTS: &str = "Security alerts that nobody has cleared.";

pub use tls::Expiry;

/// No labels.
const NONE: [&str; 0] = [];

fn counter(registry: &Registry, name: &str, labels: &[&str], help: &str) -> IntCounterVec {
    let metric = IntCounterVec::new(Opts::new(name, help), labels)
        .expect("names and labels are valid and literal");
    registry.register(Box::new(metric.clone())).expect("names are distinct");
    metric
}

fn gauge(registry: &Registry, name: &str, labels: &[&str], help: &str) -> IntGaugeVec {
    let metric = IntGaugeVec::new(Opts::new(name, help), labels)
        .expect("names and labels are valid and literal");
    registry.register(Box::new(metric.clone())).expect("names are distinct");
    metric
}

/// A gauge of shares, seconds or other numbers that are not whole.
fn fraction(registry: &Registry, name: &str, labels: &[&str], help: &str) -> GaugeVec {
    let metric = GaugeVec::new(Opts::new(name, help), labels)
        .expect("names and labels are valid and literal");
    registry.register(Box::new(metric.clone())).expect("names are distinct");
    metric
}

fn durations(
    registry: &Registry,
    name: &str,
    labels: &'static [&'static str],
    help: &str,
) -> Durations {
    let metric = Durations::new(name, labels, help).expect("names and labels are valid");
    registry.register(Box::new(metric.clone())).expect("names are distinct");
    metric
}

/// Sets a gauge to a count.
fn set(gauge: &IntGaugeVec, labels: &[&str], count: usize) {
    gauge.with_label_values(labels).set(i64::try_from(count).unwrap_or(i64::MAX));
}

impl Table {
    fn new(to: &Registry) -> Table {
        let weight = "Share of new work in percent: as set, and as it is.";
        let generation = "Number of the routing table in force.";
        let reload_ok = "Whether the last reload was accepted.";
        let reload_time = "When the configuration in force was read.";
        let name = "tidegate_config_last_reload_success_timestamp_seconds";
        let upgrades = "Upgrades: that this process came by, and that came to nothing.";
        let upgrades = counter(to, "tidegate_upgrades_total", &["result"], upgrades);
        for result in UPGRADES {
            upgrades.with_label_values(&[result]);
        }
        Table {
            upgrades,
            weight: fraction(to, "tidegate_split_weight", &["arm", "kind"], weight),
            generation: gauge(to, "tidegate_table_generation", &NONE, generation),
            reload_ok: gauge(to, "tidegate_config_last_reload_successful", &NONE, reload_ok),
            reload_time: gauge(to, name, &NONE, reload_time),
        }
    }

    fn set(&self, table: &RoutingTable) {
        for arm in Arm::ALL {
            let weight = |kind, share| {
                self.weight.with_label_values(&[arm.as_str(), kind]).set(share);
            };
            weight("configured", f64::from(table.split.weight(arm)));
            weight("effective", table.effective.share(arm) * 100.0);
        }
        set(&self.generation, &NONE, usize::try_from(table.generation).unwrap_or(usize::MAX));
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let build = gauge(&registry, "tidegate_build_info", &["version"], "The router's version.");
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Metrics {
            traffic: Traffic::new(&registry),
            connections: Connections::new(&registry),
            table: Table::new(&registry),
            health: Health::new(&registry),
            names: Names::new(&registry),
            decisions: Decisions::new(&registry),
            notifications: Notifications::new(&registry),
            tls: Tls::new(&registry),
            memory: Memory::new(&registry),
            alerts: gauge(&registry, "tidegate_alerts_open", &["severity"], ALERTS),
            registry,
            gauges: HashMap::new(),
        }
    }

    /// Adds exchanges that were counted; `table` has the names of tools and endpoints.
    pub fn count(&self, tally: &Tally, table: &RoutingTable) {
        let url = |labels: &Labels| {
            let endpoint = labels.endpoint.and_then(|id| table.endpoint(id));
            endpoint.map_or_else(|| "removed".to_owned(), |it| it.url.to_string())
        };
        self.traffic.absorb(tally, &table.tools, url);
        self.decisions.count_unseen(tally.unseen);
    }

    /// Adds what a worker has done with connections, and notes what is there.
    pub fn absorb(&mut self, worker: usize, tally: &Tally, pool: PoolCounts) {
        self.connections.absorb(tally, pool);
        for (result, count) in &tally.handshakes {
            self.tls.count("listen", result, *count);
        }
        self.gauges.insert(worker, (tally.now, pool));
        let sum = |of: fn(&(Gauges, PoolCounts)) -> usize| self.gauges.values().map(of).sum();
        self.connections.set(
            sum(|(now, _)| now.connections),
            sum(|(_, pool)| pool.open),
            sum(|(_, pool)| pool.idle),
        );
        self.traffic.set_streams(&self.streams_open());
    }

    /// What is known of calls that wait and of sessions in use.
    pub fn set_sessions(&self, pending: usize, sessions: &PerArm<usize>, tools: &Tools) {
        self.traffic.set(pending, sessions, tools);
    }

    /// The table in force.
    pub fn set_table(&self, table: &RoutingTable) {
        self.table.set(table);
    }

    /// What the handshakes say now, and those that have ended since the last time.
    pub fn set_health(&mut self, table: &RoutingTable, board: &Board, outliers: &Outliers) {
        for ((id, verdict), count) in board.take_counts() {
            if let Some(endpoint) = table.endpoint(id) {
                self.health.count(endpoint.arm, &endpoint.url.to_string(), verdict, count);
            }
        }
        self.health.set(table, board, outliers);
    }

    /// Counts an endpoint that gets no new work for a while, since its calls fail.
    pub fn count_ejection(&self, endpoint: &Endpoint) {
        self.health.count_ejection(endpoint);
    }

    /// Counts an upgrade: one by which this process took over, or one that came to nothing.
    pub fn count_upgrade(&self, is_done: bool) {
        let result = UPGRADES[usize::from(!is_done)];
        self.table.upgrades.with_label_values(&[result]).inc();
    }

    /// How much memory there is, in bytes, and what is shed for it.
    pub fn set_memory(&self, resident: u64, limit: u64, shed: Shedding) {
        self.memory.set(resident, limit, shed);
    }

    /// Look-ups of names that ended at so many seconds since 1970, and the table that they led to.
    pub fn set_names(&mut self, answers: &BTreeMap<String, Answer>, table: &RoutingTable, at: u64) {
        self.names.set(answers, table, at);
    }

    /// How what the arms offer differs; `None` while that is not known.
    pub fn set_changes(&self, diff: Option<&Diff>) {
        self.health.set_changes(diff);
    }

    /// The alerts that are open.
    pub fn set_alerts(&self, alerts: &Alerts) {
        for severity in Severity::ALL {
            let count = alerts.open().filter(|alert| alert.severity == severity).count();
            set(&self.alerts, &[severity.as_str()], count);
        }
    }

    /// The rollout, and what the last look has found.
    pub fn set_decisions(
        &self,
        rollout: Option<&Rollout>,
        judgement: Option<&Judgement>,
        table: &RoutingTable,
    ) {
        self.decisions.set_rollout(rollout, table);
        if let Some(judgement) = judgement {
            self.decisions.set_judgement(judgement);
        }
    }

    /// How the webhooks fare.
    pub fn set_notices(&self, webhooks: &[WebhookStanding]) {
        self.notifications.set(webhooks);
    }

    /// Counts a handshake of TLS on one of the control plane's listeners.
    pub fn count_handshake(&self, listener: &str, result: &str) {
        self.tls.count(listener, result, 1);
    }

    /// The certificates in use, and whether all files could be read when they last changed.
    pub fn set_certificates(&self, certificates: &[Expiry], all_read: bool) {
        self.tls.set(certificates, all_read);
    }

    /// Counts a revert.
    pub fn count_revert(&self, guard: Guard) {
        self.decisions.count_revert(guard);
    }

    /// How the journal fares: how often the disk has not taken a line, and lines that wait.
    pub fn set_journal(&self, failures: u64, pending: usize) {
        self.decisions.set_journal(failures, pending);
    }

    /// The end of a reload, at so many seconds since 1970.
    pub fn set_reload(&self, accepted: bool, at: u64) {
        self.table.reload_ok.with_label_values(&NONE).set(i64::from(accepted));
        if accepted {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            set(&self.table.reload_time, &NONE, at);
        }
    }

    /// Sessions opened on an arm since the start.
    pub fn sessions_opened(&self, arm: Arm) -> u64 {
        self.traffic.sessions_opened(arm)
    }

    /// Client connections open now.
    pub fn clients(&self) -> usize {
        self.gauges.values().map(|(now, _)| now.connections).sum()
    }

    /// What is there, in all workers together.
    pub fn now(&self) -> Gauges {
        let mut all = Gauges::default();
        for (now, _) in self.gauges.values() {
            all.connections += now.connections;
            all.calls += now.calls;
            all.endless += now.endless;
        }
        all.streams = self.streams_open();
        all
    }

    /// Event streams open now.
    pub fn streams_open(&self) -> PerArm<usize> {
        PerArm::from_fn(|arm| self.gauges.values().map(|(now, _)| *now.streams.get(arm)).sum())
    }

    /// The Prometheus text format, version 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        prometheus::TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("writing to memory does not fail");
        text
    }
}
