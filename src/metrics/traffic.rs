//! What is done for clients.
//!
//! Does not know: connections, probes.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use crate::mcp::Era;
use crate::names::{Arm, PerArm};
use crate::observe::tally::{Count, Labels, Tally};
use crate::route::Tools;

use super::histogram::Durations;
use super::{NONE, counter, durations, gauge, set};

/// Exchanges, sessions and streams.
#[derive(Debug)]
pub(super) struct Traffic {
    exchanges: IntCounterVec,
    responses: IntCounterVec,
    bytes: IntCounterVec,
    by_endpoint: IntCounterVec,
    duration: Durations,
    first_byte: Durations,
    pending: IntGaugeVec,
    failed_attempts: IntCounterVec,
    without_room: IntCounterVec,
    opened: IntCounterVec,
    active: IntGaugeVec,
    streams: IntGaugeVec,
    unlabelled: IntGaugeVec,
}

/// The hundreds of a status; the client may have got none.
const STATUSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

const EXCHANGES: &str = "Exchanges that ended, by arm (none: no arm was asked), JSON-RPC method, tool (of those that a server lists), outcome, and whose fault that is.";
const RESPONSES: &str = "The same exchanges by the class of the HTTP status that the client got.";
const BYTES: &str = "Bytes of answers' bodies, as the servers sent them.";
const BY_ENDPOINT: &str =
    "The exchanges that an endpoint answered, by the client's era and by whose fault they are.";
const DURATION: &str = "Seconds to the JSON-RPC response, of exchanges with the outcome ok. What the server waited for its client does not count.";
const FIRST_BYTE: &str = "Seconds from the request to the head of its answer.";
const PENDING: &str = "Calls whose answer comes on another exchange; they are counted when it has.";
const FAILED: &str =
    "Attempts to get an answer that came to nothing; some were made good elsewhere.";
const WITHOUT_ROOM: &str = "Requests that found every endpoint of their arm as busy as it may be (limits.in_flight), and how they fared: waited (and went on), queue_full or too_long (refused).";
const ACTIVE: &str = "Legacy sessions in use: neither ended nor idle for half an hour.";
const UNLABELLED: &str =
    "Tools that are listed and have no label of their own, beyond the first 100.";

impl Traffic {
    pub(super) fn new(to: &Registry) -> Traffic {
        let work = ["arm", "method", "tool", "outcome", "blame"];
        let endpoint = ["arm", "endpoint", "era", "blame"];
        let by_endpoint = "tidegate_endpoint_exchanges_total";
        let traffic = Traffic {
            exchanges: counter(to, "tidegate_exchanges_total", &work, EXCHANGES),
            responses: counter(to, "tidegate_responses_total", &["arm", "status"], RESPONSES),
            bytes: counter(to, "tidegate_response_bytes_total", &["arm"], BYTES),
            by_endpoint: counter(to, by_endpoint, &endpoint, BY_ENDPOINT),
            duration: durations(
                to,
                "tidegate_exchange_duration_seconds",
                &["arm", "method", "tool"],
                DURATION,
            ),
            first_byte: durations(to, "tidegate_first_byte_seconds", &["arm"], FIRST_BYTE),
            pending: gauge(to, "tidegate_exchanges_pending", &NONE, PENDING),
            failed_attempts: counter(
                to,
                "tidegate_failed_attempts_total",
                &["arm", "reason"],
                FAILED,
            ),
            without_room: counter(
                to,
                "tidegate_requests_without_room_total",
                &["arm", "result"],
                WITHOUT_ROOM,
            ),
            opened: counter(
                to,
                "tidegate_sessions_opened_total",
                &["arm"],
                "Legacy sessions opened.",
            ),
            active: gauge(to, "tidegate_sessions_active", &["arm"], ACTIVE),
            streams: gauge(to, "tidegate_streams_open", &["arm"], "Event streams open to clients."),
            unlabelled: gauge(to, "tidegate_tools_unlabelled", &NONE, UNLABELLED),
        };
        for arm in Arm::ALL {
            traffic.opened.with_label_values(&[arm.as_str()]);
            // A series that begins with its first event hides that event from `increase()`.
            for status in STATUSES {
                traffic.responses.with_label_values(&[arm.as_str(), status]);
            }
        }
        traffic
    }

    /// Adds what was counted. `url` names an endpoint.
    pub(super) fn absorb(&self, tally: &Tally, tools: &Tools, url: impl Fn(&Labels) -> String) {
        for (labels, count) in &tally.exchanges {
            self.exchange(labels, count, tools, &url);
        }
        for ((arm, reason), count) in &tally.failed_attempts {
            self.failed_attempts.with_label_values(&[arm.as_str(), reason]).inc_by(*count);
        }
        for ((arm, result), count) in &tally.without_room {
            self.without_room.with_label_values(&[arm.as_str(), result]).inc_by(*count);
        }
        for arm in Arm::ALL {
            self.opened.with_label_values(&[arm.as_str()]).inc_by(*tally.sessions.get(arm));
            self.first_byte.add(&[arm.as_str()], tally.first_byte.get(arm));
        }
    }

    fn exchange(
        &self,
        labels: &Labels,
        count: &Count,
        tools: &Tools,
        url: impl Fn(&Labels) -> String,
    ) {
        let arm = labels.arm.map_or("none", Arm::as_str);
        let (method, tool) = (labels.method.as_str(), tools.text(labels.tool));
        let (outcome, blame) = (labels.outcome.as_str(), labels.blame.as_str());
        self.exchanges
            .with_label_values(&[arm, method, tool, outcome, blame])
            .inc_by(count.exchanges);
        let status = STATUSES.get(usize::from(labels.status)).unwrap_or(&"none");
        self.responses.with_label_values(&[arm, status]).inc_by(count.exchanges);
        self.bytes.with_label_values(&[arm]).inc_by(count.bytes);
        self.duration.add(&[arm, method, tool], &count.latency);
        if labels.endpoint.is_some() {
            let era = match labels.era {
                Era::Legacy => "legacy",
                Era::Modern => "modern",
            };
            self.by_endpoint
                .with_label_values(&[arm, &url(labels), era, blame])
                .inc_by(count.exchanges);
        }
    }

    /// What is there now.
    pub(super) fn set(&self, pending: usize, sessions: &PerArm<usize>, tools: &Tools) {
        set(&self.pending, &NONE, pending);
        set(&self.unlabelled, &NONE, tools.unlabelled());
        for arm in Arm::ALL {
            set(&self.active, &[arm.as_str()], *sessions.get(arm));
        }
    }

    /// Event streams open now.
    pub(super) fn set_streams(&self, streams: &PerArm<usize>) {
        for arm in Arm::ALL {
            set(&self.streams, &[arm.as_str()], *streams.get(arm));
        }
    }

    /// Sessions opened on an arm since the start.
    pub(super) fn sessions_opened(&self, arm: Arm) -> u64 {
        self.opened.with_label_values(&[arm.as_str()]).get()
    }
}
