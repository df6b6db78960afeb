//! READ FIRST. One request, from the client's head to the last byte of the answer.
//!
//! [`handle`] tells it with one line a stage; each stage lives in a module of its own and has an
//! error of its own, because each can still answer differently. The table is loaded once and the
//! decision taken from it alone. Does not know: who changes the table, what is made of the counts.

pub mod inbound;

pub mod door;

pub mod events;

pub mod marks;

pub mod parting;

pub mod pass;

pub mod reply;

pub mod request_id;

pub mod room;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::names::Cut;
use crate::observe::tally::Tally;
use crate::overload::{Overload, Shedding};
use crate::route::affinity::Place;
use crate::route::choose::candidates;
use crate::route::endpoint::InFlight;
use crate::route::{Endpoint, Live, RoutingTable};
use crate::upstream::forward::{Answered, Forward, ForwardError, UNAVAILABLE};
use crate::upstream::forwarded::Peer;
use crate::upstream::pool::Pool;
use crate::upstream::request_body::BodyFault;
use crate::upstream::rewrite;

use inbound::Inbound;
use marks::Marks;
use parting::Parting;
use reply::{Refusal, ReplyBody};

/// What one worker works with; nothing in it is shared but the table and what is shed.
#[derive(Clone)]
pub struct Worker {
    /// The table in force.
    pub live: Arc<Live>,
    /// What is shed.
    pub overload: Arc<Overload>,
    /// This worker's connections to the servers.
    pub pool: Rc<Pool>,
    /// This worker's counts.
    pub tally: Rc<RefCell<Tally>>,
    /// When its event streams end.
    pub parting: Rc<Parting>,
}

/// Answers one request of a client. It is taken in at once, and not when the answer is first asked
/// for: a client that has already left is counted too.
pub fn handle(
    worker: Worker,
    peer: Peer,
    request: Request<Incoming>,
) -> impl Future<Output = Response<ReplyBody>> {
    let table = worker.live.load();
    let mut inbound = Inbound::receive(request, peer, &table, &worker.tally);
    async move {
        let marks = Marks::of(&inbound, &table.config);
        let mut response = match carry(&worker, &table, &mut inbound).await {
            Ok(response) => response,
            Err(refusal) => {
                if matches!(refusal, Refusal::Body(BodyFault::Stalled)) {
                    worker.tally.borrow_mut().cut(Cut::Body);
                }
                reply::refuse(&refusal, inbound, &table.config)
            }
        };
        marks.put_on(response.headers_mut());
        response
    }
}

/// The stages, in order.
async fn carry(
    worker: &Worker,
    table: &Arc<RoutingTable>,
    inbound: &mut Inbound,
) -> Result<Response<ReplyBody>, Refusal> {
    door::admit(inbound, &table.config)?;
    if marks::is_preflight(inbound, &table.config) {
        return Ok(reply::preflight());
    }
    match worker.overload.shed() {
        Shedding::Everything => return Err(Refusal::Overloaded),
        Shedding::NewWork if !inbound.has_session(table) => return Err(Refusal::Overloaded),
        _ => {}
    }
    inbound.classify().await?;
    let place = inbound.place(table)?;
    if inbound.ends_minted_session(&place) {
        return Ok(reply::session_ended(inbound));
    }
    let mut endpoints = candidates(table, &place, rand::random);
    if matches!(place, Place::New) && inbound.call.opens_session() {
        let share = table.effective.secondary;
        worker.tally.borrow_mut().draws.add(endpoints[0].arm, share);
    }
    let in_flight = room::enter(worker, inbound, &mut endpoints, &table.config).await?;
    let answered = send(worker, table, inbound, &place, &endpoints, in_flight).await?;
    pass::answer(worker, table, inbound, answered)
}

/// Asks the endpoints, and counts every attempt that came to nothing.
async fn send(
    worker: &Worker,
    table: &RoutingTable,
    inbound: &mut Inbound,
    place: &Place,
    endpoints: &[Arc<Endpoint>],
    in_flight: InFlight,
) -> Result<Answered, Refusal> {
    let config = &table.config;
    let forward = Forward {
        pool: &worker.pool,
        timeouts: &config.timeouts,
        stream_idle: inbound.stream_idle(config),
        method: inbound.method_in_body(),
    };
    let (session, body) = (place.upstream_session(), inbound.take_body());
    let first = endpoints[0].arm;
    let (arm, faults) = (Cell::new(first), Cell::new(0));
    let is_call = inbound.report.is_call();
    let head =
        |to: &Endpoint| rewrite::request(&inbound.head, to, session, &inbound.client, config);
    let failed = |on: &Endpoint, error: Option<&ForwardError>| {
        arm.set(on.arm);
        if error.is_none_or(ForwardError::is_fault) {
            match error {
                Some(ForwardError::Unreachable(_)) => on.note_refusal(),
                _ => on.note_fault(config.health.suspect_after),
            }
            if is_call {
                on.note_failed_call(config.health.eject_after);
            }
            faults.set(faults.get() + 1);
        }
        let reason = error.map_or(UNAVAILABLE, ForwardError::reason);
        worker.tally.borrow_mut().failed_attempt(on.arm, reason);
    };
    let answered = forward.send(endpoints, in_flight, head, failed, body).await;
    let asked = answered.as_ref().map_or(arm.get(), |answered| answered.endpoint.arm);
    if asked != first && faults.get() > 0 {
        inbound.report.covered(first);
    }
    inbound.report.set_arm(asked);
    Ok(answered?)
}
