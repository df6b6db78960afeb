//! What a router could say, for the tests of the view.
//!
//! Does not know: what is made of it.

use serde_json::{Value, json};

use crate::admin::wire::Status;
use crate::admin::wire::operate::Events;

/// One event, as the admin socket tells it.
pub(super) fn event(number: u64, event: &str, detail: &Value) -> Value {
    json!({
        "number": number, "at": "2026-03-01T12:00:05.123Z", "event": event,
        "actor": { "kind": "guard", "guard": "error_rate" }, "by": "guard error_rate",
        "detail": detail,
    })
}

pub(super) fn events(list: &[Value]) -> Events {
    let last = list.last().and_then(|it| it["number"].as_u64()).unwrap_or(0);
    serde_json::from_value(json!({ "last": last, "events": list })).unwrap()
}

/// A rollout in its second step.
pub(super) fn status() -> Status {
    changed(|_| ())
}

/// The same, but for something.
pub(super) fn changed(change: impl FnOnce(&mut Value)) -> Status {
    let mut status = json!({
        "version": "0.1.0", "pid": 4711, "uptime_seconds": 7380, "config": "tidegate.toml",
        "profile": "production", "generation": 3, "revision": 5,
        "split": { "primary": 90, "secondary": 10 }, "split_set_by": "the rollout",
        "split_set_at": "2026-03-01T12:00:00Z", "stable": "primary",
        "listen": ["127.0.0.1:8080"], "tls": false, "metrics": null, "metrics_tls": false, "alerts_listen": null,
        "certificates": [], "certificate_fault": null, "alerts": [],
        "audit_log": "audit.jsonl",
        "last_reload": { "at": "2026-03-01T10:00:00Z", "accepted": true, "why": null },
        "nothing_healthy": false, "catalogue": null, "exchanges_pending": 0,
        "decisions": decisions(),
        "arms": {
            "primary": arm(90, "2.3.1", 22, 12.0, 600, 6),
            "secondary": arm(10, "2.4.0", 3, 18.0, 20, 2),
        },
    });
    let fetch = work("fetch", 40, 0, 30.0);
    let list = json!({ "method": "tools/list", "tool": null, "exchanges": 5, "outcomes": { "ok": 5 }, "latency": null });
    let works = |status: &mut Value, arm: &str, work: Value| {
        status["arms"][arm]["last_minute"]["work"].as_array_mut().unwrap().push(work);
    };
    works(&mut status, "primary", fetch.clone());
    works(&mut status, "secondary", fetch);
    works(&mut status, "secondary", list);
    change(&mut status);
    serde_json::from_value(status).unwrap()
}

fn work(tool: &str, exchanges: u64, errors: u64, p50: f64) -> Value {
    json!({
        "method": "tools/call", "tool": tool, "exchanges": exchanges,
        "outcomes": { "ok": exchanges - errors, "tool_error": errors },
        "latency": { "p50_ms": p50, "p95_ms": p50 * 2.0, "p99_ms": p50 * 3.0 },
    })
}

fn arm(weight: u8, version: &str, sessions: u64, p50: f64, calls: u64, errors: u64) -> Value {
    json!({
        "weight": weight, "effective_weight": weight,
        "server": { "name": "search", "version": version },
        "sessions_active": sessions, "sessions_opened": 100, "streams_open": 3,
        "endpoints": [{
            "url": "http://127.0.0.1:3000/mcp", "in_flight": 1, "fitness": 1.0,
            "health": {
                "up": true, "standing": "up", "since": "2026-03-01T10:00:00Z",
                "verdict": "healthy", "why": "healthy", "suspect": false,
                "at": "2026-03-01T12:00:00Z", "took_ms": 3.0, "eras": ["legacy"],
                "protocol_version": "2025-06-18", "server": null,
            },
        }],
        "last_minute": {
            "seconds": 60, "exchanges": calls, "per_second": calls as f64 / 60.0,
            "outcomes": { "ok": calls - errors, "tool_error": errors },
            "faults": errors / 2, "failed_attempts": 0, "sessions_opened": sessions,
            "tool_calls": { "p50_ms": p50, "p95_ms": p50 * 2.0, "p99_ms": p50 * 3.0 },
            "work": [work("search", calls, errors, p50)],
        },
    })
}

fn decisions() -> Value {
    let guard = |guard: &str, state: &str, why: &str, level: Option<f64>| json!({ "guard": guard, "state": state, "why": why, "level": level, "forecast": null });
    json!({
        "rollout": {
            "id": "r3", "to": "secondary", "state": "progressing", "step": 2,
            "steps": [
                { "weight": 5, "hold": 60_000 }, { "weight": 10, "hold": 300_000 },
                { "weight": 100, "hold": 600_000 },
            ],
            "elapsed_ms": 63_000, "held_ms": 0, "reason": "search 2.4", "why": null, "guard": null,
        },
        "verbs": ["pause", "promote", "promote --full", "abort"],
        "stable": "primary", "closed": null, "split": { "primary": 90, "secondary": 10 },
        "guards": [
            guard("health_failures", "armed", "a server of the secondary answers", Some(0.0)),
            guard("error_rate", "armed", "not in each of the last 3 minutes: 1 of 20", Some(0.5)),
            guard("performance", "cannot", "20 calls of the secondary, and 50 are needed", None),
            guard("security_alert", "armed", "no critical alert is open", Some(0.0)),
            guard("sequential", "armed", "e-value 10.00, reverts at 100", Some(0.5)),
        ],
        "doubt": null,
        "evidence": {
            "e": 10.0, "reverts_at": 100.0, "tests": [["faults", 10.0]], "worst": ["search", 12.0],
            "calls": { "primary": 600, "secondary": 20 }, "errors": { "primary": 6, "secondary": 2 },
            "faults": { "primary": 3, "secondary": 1 }, "performance": 0.8, "odds_ratio": 2.0,
            "fault_rate": [0.0, 0.2], "enough": false, "clean_calls": 70, "more_calls": 90,
        },
    })
}
