//! Connections on both sides.
//!
//! Does not know: requests.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use crate::names::{Cut, Shed};
use crate::observe::tally::Tally;
use crate::upstream::pool::PoolCounts;

use super::{NONE, counter, gauge, set};

/// Connections on both sides.
#[derive(Debug)]
pub(super) struct Connections {
    client: IntGaugeVec,
    accepted: IntCounterVec,
    cut: IntCounterVec,
    upstream: IntGaugeVec,
    connects: IntCounterVec,
    reused: IntCounterVec,
    races: IntCounterVec,
}

impl Connections {
    pub(super) fn new(to: &Registry) -> Connections {
        let accepted = "Client connections accepted, or shed at once for this reason.";
        let cut = "Connections, requests and answers cut because of the client.";
        let upstream = "Connections to the servers.";
        let connects = "Attempts to connect to a server.";
        let reused = "Requests that went out on a kept connection.";
        let races = "Requests that met a kept connection in the moment when the server closed it.";
        let client = "Client connections open.";
        Connections {
            client: gauge(to, "tidegate_client_connections", &NONE, client),
            accepted: counter(
                to,
                "tidegate_client_connections_total",
                &["result", "reason"],
                accepted,
            ),
            cut: counter(to, "tidegate_client_connections_cut_total", &["reason"], cut),
            upstream: gauge(to, "tidegate_upstream_connections", &["state"], upstream),
            connects: counter(to, "tidegate_upstream_connects_total", &["result"], connects),
            reused: counter(to, "tidegate_upstream_reused_total", &NONE, reused),
            races: counter(to, "tidegate_upstream_races_total", &NONE, races),
        }
    }

    pub(super) fn absorb(&self, tally: &Tally, pool: PoolCounts) {
        self.accepted.with_label_values(&["accepted", "none"]).inc_by(tally.accepted);
        for reason in Shed::ALL {
            let shed = tally.shed.get(&reason).copied().unwrap_or_default();
            self.accepted.with_label_values(&["shed", reason.as_str()]).inc_by(shed);
        }
        for reason in Cut::ALL {
            let cut = tally.cuts.get(&reason).copied().unwrap_or_default();
            self.cut.with_label_values(&[reason.as_str()]).inc_by(cut);
        }
        self.connects.with_label_values(&["opened"]).inc_by(pool.opened);
        self.connects.with_label_values(&["failed"]).inc_by(pool.failed);
        self.reused.with_label_values(&NONE).inc_by(pool.reused);
        self.races.with_label_values(&NONE).inc_by(pool.races);
    }

    /// What is there now.
    pub(super) fn set(&self, clients: usize, open: usize, idle: usize) {
        set(&self.client, &NONE, clients);
        set(&self.upstream, &["idle"], idle);
        set(&self.upstream, &["busy"], open.saturating_sub(idle));
    }
}
