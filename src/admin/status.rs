//! The status document, from what the control plane knows.
//!
//! Does not know: who asks.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::health::board::View;
use crate::health::diff::{Class, Diff};
use crate::health::handshake::ServerInfo;
use crate::health::outliers::Ejection;
use crate::health::state::Standing;
use crate::names::{Arm, PerArm};
use crate::overload::Shedding;
use crate::plane::Plane;
use crate::plane::certificates;
use crate::plane::memory::Memory;
use crate::plane::stopping::Left;
use crate::route::{Endpoint, RoutingTable};

use super::command::rollouts;
use super::minute;
use super::wire::{
    ArmStatus, CatalogueStatus, CertificateStatus, Compared, EjectedStatus, EndpointStatus,
    HealthStatus, LastReload, MemoryStatus, RoomStatus, ServerName, Status, Stopping,
};

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
        stopping: stopping(plane),
        config: table.config.file.as_ref().map(|file| file.display().to_string()),
        profile: table.config.profile.clone(),
        generation: table.generation,
        revision: state.revision,
        split: table.split,
        split_set_by: state.set_by.to_string(),
        split_set_at: state.set_at.clone(),
        stable: table.stable,
        memory: memory(plane.memory()),
        listen: plane.listen.iter().map(ToString::to_string).collect(),
        tls: table.config.tls.is_some(),
        metrics: plane.metrics_listen.map(|address| address.to_string()),
        metrics_tls: table.config.metrics.as_ref().is_some_and(|it| it.tls.is_some()),
        alerts_listen: plane.alerts_listen.map(|address| address.to_string()),
        certificates: plane.certificates().into_iter().map(certificate).collect(),
        certificate_fault: plane.certificate_fault(),
        alerts: state.alerts.open().cloned().map(Into::into).collect(),
        audit_log: control.journal_path().display().to_string(),
        last_reload: LastReload {
            at: humantime::format_rfc3339_seconds(reload.at).to_string(),
            accepted: reload.refused.is_none(),
            why: reload.refused.clone(),
        },
        nothing_healthy: table.effective.nothing_healthy,
        catalogue: plane.offers().diff.as_ref().map(in_short),
        decisions: rollouts::decisions(plane),
        exchanges_pending: plane.measures().join.pending(),
        arms: arms(plane, &table),
    }
}

fn stopping(plane: &Plane) -> Option<Stopping> {
    let (rest, left) = (plane.stopping()?, plane.left());
    let seconds_left = rest.as_secs() + u64::from(rest.subsec_nanos() > 0);
    let Left { connections, calls, streams } = left;
    Some(Stopping { seconds_left, connections, calls, streams })
}

/// How what the arms offer differs.
pub fn compared(plane: &Plane) -> Compared {
    let offers = plane.offers();
    let table = plane.table();
    let missing = Arm::ALL.into_iter().filter(|arm| offers.catalogue(*arm).is_none());
    let missing = missing.map(|arm| {
        let endpoints = &table.arms.get(arm).endpoints;
        let views = endpoints.iter().filter_map(|endpoint| plane.board().view(endpoint.id));
        let why = views.filter_map(|view| view.last).map(|probe| probe.verdict.to_string()).next();
        let why = why.unwrap_or_else(|| "no handshake has ended yet".to_owned());
        format!("the {arm} has not been listed: {why}")
    });
    Compared { missing: missing.collect(), diff: offers.diff.clone() }
}

fn certificate(it: certificates::Standing) -> CertificateStatus {
    CertificateStatus {
        used_by: it.used_by.to_owned(),
        overdue: it.is_overdue(),
        names: it.names,
        file: it.file,
        not_after: humantime::format_rfc3339_seconds(it.not_after).to_string(),
        days_left: it.days_left,
    }
}

fn in_short(diff: &Diff) -> CatalogueStatus {
    let mut changes = BTreeMap::new();
    for change in &diff.changes {
        *changes.entry(change.class).or_default() += 1;
    }
    if !diff.unknown.is_empty() {
        *changes.entry(Class::Unknown).or_default() += diff.unknown.len();
    }
    CatalogueStatus { worst: diff.worst(), changes }
}

fn endpoint(plane: &Plane, endpoint: &Endpoint, fitness: f64) -> EndpointStatus {
    EndpointStatus {
        url: endpoint.url.to_string(),
        in_flight: endpoint.in_flight(),
        room: RoomStatus {
            limit: endpoint.room().limit(),
            taken: endpoint.room().taken(),
            queued: endpoint.room().waiting(),
        },
        fitness,
        ejected: plane.outliers().why(endpoint.id, Instant::now()).map(ejected),
        health: plane.board().view(endpoint.id).as_ref().and_then(health),
    }
}

fn memory(memory: Memory) -> MemoryStatus {
    MemoryStatus {
        resident: memory.resident,
        limit: memory.limit,
        sheds_connections: memory.shed >= Shedding::Connections,
        sheds_new_work: memory.shed >= Shedding::NewWork,
        sheds_everything: memory.shed >= Shedding::Everything,
    }
}

fn ejected(ejection: &Ejection) -> EjectedStatus {
    let time = |at| humantime::format_rfc3339_seconds(at).to_string();
    EjectedStatus {
        why: ejection.to_string(),
        times: ejection.times,
        since: time(ejection.since),
        until: time(ejection.since + ejection.lasts),
    }
}

fn health(view: &View) -> Option<HealthStatus> {
    let probe = view.last.as_ref()?;
    let time = |at| humantime::format_rfc3339_seconds(at).to_string();
    Some(HealthStatus {
        up: view.state.standing() != Standing::Down,
        standing: view.state.standing().as_str().to_owned(),
        since: time(view.since.unwrap_or(probe.at)),
        verdict: probe.verdict.label().to_owned(),
        why: probe.verdict.to_string(),
        suspect: view.state.is_suspect(),
        at: time(probe.at),
        took_ms: probe.took.as_micros() as f64 / 1e3,
        eras: view.eras.names().into_iter().map(str::to_owned).collect(),
        protocol_version: probe.protocol_version.clone(),
        server: view.server.as_ref().map(name),
    })
}

fn name(server: &ServerInfo) -> ServerName {
    ServerName { name: server.name.clone(), version: server.version.clone() }
}

fn arms(plane: &Plane, table: &RoutingTable) -> PerArm<ArmStatus> {
    let measures = plane.measures();
    let (streams, sessions) = (measures.metrics.streams_open(), measures.join.sessions());
    let now = Instant::now();
    let counts = measures.window.last(now, minute::SPAN);
    let covered = measures.window.covered(now, minute::SPAN);
    PerArm::from_fn(|arm| ArmStatus {
        weight: table.split.weight(arm),
        server: table
            .arms
            .get(arm)
            .endpoints
            .iter()
            .find_map(|endpoint| plane.board().view(endpoint.id)?.server)
            .as_ref()
            .map(name),
        effective_weight: (table.effective.share(arm) * 1e4).round() / 1e2,
        sessions_opened: measures.metrics.sessions_opened(arm),
        sessions_active: *sessions.get(arm),
        streams_open: *streams.get(arm),
        last_minute: minute::of(&counts, arm, covered, &table.tools),
        endpoints: table
            .fitness()
            .filter(|(it, _)| it.arm == arm)
            .map(|(it, fitness)| endpoint(plane, it, fitness))
            .collect(),
        leaving: table.arms.get(arm).leaving.iter().map(|it| endpoint(plane, it, 0.0)).collect(),
    })
}
