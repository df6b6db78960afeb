//! Every metric's name, labels and meaning in one place, and the text that Prometheus reads.
//!
//! Labels come from closed sets, so the number of series is bounded by this file and not by what
//! clients send. Does not know: where the numbers come from.

use std::collections::HashMap;

use prometheus::{Encoder as _, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::names::{Arm, PerArm, Split};
use crate::observe::collect::Sample;
use crate::observe::tally::Gauges;
use crate::upstream::pool::PoolCounts;

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    traffic: Traffic,
    connections: Connections,
    /// The latest sample of each worker, to add up what is there.
    gauges: HashMap<usize, (Gauges, PoolCounts)>,
}

/// What is done for clients, and what is in force.
#[derive(Debug)]
struct Traffic {
    exchanges: IntCounterVec,
    failed_attempts: IntCounterVec,
    sessions: IntCounterVec,
    streams: IntGaugeVec,
    weight: IntGaugeVec,
    generation: IntGaugeVec,
    reload_ok: IntGaugeVec,
    reload_time: IntGaugeVec,
}

/// Connections on both sides.
#[derive(Debug)]
struct Connections {
    client: IntGaugeVec,
    accepted: IntCounterVec,
    upstream: IntGaugeVec,
    connects: IntCounterVec,
    reused: IntCounterVec,
    races: IntCounterVec,
}

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

impl Traffic {
    fn new(to: &Registry) -> Traffic {
        let exchanges = "Exchanges that ended, by arm (none: no arm was asked), JSON-RPC method, outcome and class of the HTTP status that the client got.";
        let labels = ["arm", "method", "outcome", "status"];
        let failed =
            "Attempts to get an answer that came to nothing; some were made good elsewhere.";
        let failed_name = "tidegate_failed_attempts_total";
        let (sessions, streams) = ("Legacy sessions opened.", "Event streams open to clients.");
        let weight = "Share of new work in percent: as set, and as it is.";
        let generation = "Number of the routing table in force.";
        let reload_ok = "Whether the last reload was accepted.";
        let reload_time = "When the configuration in force was read.";
        let name = "tidegate_config_last_reload_success_timestamp_seconds";
        Traffic {
            exchanges: counter(to, "tidegate_exchanges_total", &labels, exchanges),
            failed_attempts: counter(to, failed_name, &["arm", "reason"], failed),
            sessions: counter(to, "tidegate_sessions_opened_total", &["arm"], sessions),
            streams: gauge(to, "tidegate_streams_open", &["arm"], streams),
            weight: gauge(to, "tidegate_split_weight", &["arm", "kind"], weight),
            generation: gauge(to, "tidegate_table_generation", &NONE, generation),
            reload_ok: gauge(to, "tidegate_config_last_reload_successful", &NONE, reload_ok),
            reload_time: gauge(to, name, &NONE, reload_time),
        }
    }
}

impl Connections {
    fn new(to: &Registry) -> Connections {
        let accepted = "Client connections accepted, or shed over the limit.";
        let upstream = "Connections to the servers.";
        let connects = "Attempts to connect to a server.";
        let reused = "Requests that went out on a kept connection.";
        let races = "Requests that met a kept connection in the moment when the server closed it.";
        let client = "Client connections open.";
        Connections {
            client: gauge(to, "tidegate_client_connections", &NONE, client),
            accepted: counter(to, "tidegate_client_connections_total", &["result"], accepted),
            upstream: gauge(to, "tidegate_upstream_connections", &["state"], upstream),
            connects: counter(to, "tidegate_upstream_connects_total", &["result"], connects),
            reused: counter(to, "tidegate_upstream_reused_total", &NONE, reused),
            races: counter(to, "tidegate_upstream_races_total", &NONE, races),
        }
    }

    fn absorb(&self, accepted: u64, shed: u64, pool: PoolCounts) {
        self.accepted.with_label_values(&["accepted"]).inc_by(accepted);
        self.accepted.with_label_values(&["shed"]).inc_by(shed);
        self.connects.with_label_values(&["opened"]).inc_by(pool.opened);
        self.connects.with_label_values(&["failed"]).inc_by(pool.failed);
        self.reused.with_label_values(&NONE).inc_by(pool.reused);
        self.races.with_label_values(&NONE).inc_by(pool.races);
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
        let (traffic, connections) = (Traffic::new(&registry), Connections::new(&registry));
        let build = gauge(&registry, "tidegate_build_info", &["version"], "The router's version.");
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for arm in Arm::ALL {
            traffic.sessions.with_label_values(&[arm.as_str()]);
        }
        Metrics { registry, traffic, connections, gauges: HashMap::new() }
    }

    /// Adds what the workers have counted.
    pub fn absorb(&mut self, samples: Vec<Sample>) {
        for Sample { worker, tally, pool } in samples {
            for (labels, count) in &tally.exchanges {
                let status = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
                let status = status.get(usize::from(labels.status)).unwrap_or(&"none");
                let arm = labels.arm.map_or("none", Arm::as_str);
                self.traffic
                    .exchanges
                    .with_label_values(&[
                        arm,
                        labels.method.as_str(),
                        labels.outcome.as_str(),
                        status,
                    ])
                    .inc_by(*count);
            }
            for ((arm, reason), count) in &tally.failed_attempts {
                let failed = &self.traffic.failed_attempts;
                failed.with_label_values(&[arm.as_str(), reason]).inc_by(*count);
            }
            for arm in Arm::ALL {
                self.traffic
                    .sessions
                    .with_label_values(&[arm.as_str()])
                    .inc_by(*tally.sessions.get(arm));
            }
            self.connections.absorb(tally.accepted, tally.shed, pool);
            self.gauges.insert(worker, (tally.now, pool));
        }
        self.add_up();
    }

    /// The split in force.
    pub fn set_split(&self, split: Split, generation: u64) {
        for arm in Arm::ALL {
            for kind in ["configured", "effective"] {
                let weight = self.traffic.weight.with_label_values(&[arm.as_str(), kind]);
                weight.set(i64::from(split.weight(arm)));
            }
        }
        self.traffic
            .generation
            .with_label_values(&NONE)
            .set(i64::try_from(generation).unwrap_or(i64::MAX));
    }

    /// The end of a reload, at so many seconds since 1970.
    pub fn set_reload(&self, accepted: bool, at: u64) {
        self.traffic.reload_ok.with_label_values(&NONE).set(i64::from(accepted));
        if accepted {
            self.traffic
                .reload_time
                .with_label_values(&NONE)
                .set(i64::try_from(at).unwrap_or(i64::MAX));
        }
    }

    /// Sessions opened on an arm since the start.
    pub fn sessions_opened(&self, arm: Arm) -> u64 {
        self.traffic.sessions.with_label_values(&[arm.as_str()]).get()
    }

    /// Event streams open now.
    pub fn streams_open(&self) -> PerArm<usize> {
        let mut all = PerArm::default();
        for arm in Arm::ALL {
            *all.get_mut(arm) = self.gauges.values().map(|(now, _)| *now.streams.get(arm)).sum();
        }
        all
    }

    /// The Prometheus text format, version 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        prometheus::TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("writing to memory does not fail");
        text
    }

    fn add_up(&self) {
        let sum = |of: fn(&(Gauges, PoolCounts)) -> usize| {
            i64::try_from(self.gauges.values().map(of).sum::<usize>()).unwrap_or(i64::MAX)
        };
        let streams = self.streams_open();
        for arm in Arm::ALL {
            let open = i64::try_from(*streams.get(arm)).unwrap_or(i64::MAX);
            self.traffic.streams.with_label_values(&[arm.as_str()]).set(open);
        }
        self.connections.client.with_label_values(&NONE).set(sum(|(now, _)| now.connections));
        let (open, idle) = (sum(|(_, pool)| pool.open), sum(|(_, pool)| pool.idle));
        self.connections.upstream.with_label_values(&["idle"]).set(idle);
        self.connections.upstream.with_label_values(&["busy"]).set((open - idle).max(0));
    }
}
