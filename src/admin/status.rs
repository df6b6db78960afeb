//! The status document, from what the control plane knows.
//!
//! Does not know: who asks.

use crate::names::PerArm;
use crate::plane::Plane;
use crate::route::RoutingTable;

use super::wire::{ArmStatus, EndpointStatus, LastReload, Status};

/// What is in force and what it does.
pub fn of(plane: &Plane) -> Status {
    let control = plane.control();
    let table = control.table();
    let reload = control.last_reload();
    let state = control.state();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_seconds: plane.uptime().as_secs(),
        config: table.config.file.as_ref().map(|file| file.display().to_string()),
        profile: table.config.profile.clone(),
        generation: table.generation,
        revision: state.revision,
        split: table.split,
        split_set_by: state.set_by.to_string(),
        split_set_at: state.set_at.clone(),
        stable: table.stable,
        listen: plane.listen.iter().map(ToString::to_string).collect(),
        metrics: plane.metrics_listen.map(|address| address.to_string()),
        audit_log: control.journal_path().display().to_string(),
        last_reload: LastReload {
            at: humantime::format_rfc3339_seconds(reload.at).to_string(),
            accepted: reload.refused.is_none(),
            why: reload.refused.clone(),
        },
        arms: arms(plane, &table),
    }
}

fn arms(plane: &Plane, table: &RoutingTable) -> PerArm<ArmStatus> {
    let metrics = plane.metrics();
    let streams = metrics.streams_open();
    PerArm::from_fn(|arm| ArmStatus {
        weight: table.split.weight(arm),
        sessions_opened: metrics.sessions_opened(arm),
        streams_open: *streams.get(arm),
        endpoints: table
            .arms
            .get(arm)
            .endpoints
            .iter()
            .map(|endpoint| EndpointStatus {
                url: endpoint.url.to_string(),
                in_flight: endpoint.in_flight(),
            })
            .collect(),
    })
}
