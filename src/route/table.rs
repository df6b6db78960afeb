//! The routing table: one immutable value that a request loads once.
//!
//! Weights, endpoints, keys, salt and settings change together, so that no request sees half of a
//! change. Endpoints that stay keep their counters from table to table. Does not know: who
//! changed it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use http::HeaderValue;
use tokio::sync::Notify;

use serde::{Deserialize, Serialize};

use crate::config::{Balance, Config, OnRevert};
use crate::names::{Arm, EndpointId, EndpointUrl, PerArm, Split};

use super::eligible::Effective;
use super::principal::Salt;
use super::tag::Keyring;
use super::tools::Tools;

/// Where new work is to go: what a person or a rollout has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// The weights.
    pub split: Split,
    /// The arm that reverts go to.
    pub stable: Arm,
    /// An arm that is shut.
    pub closed: Option<Closed>,
}

/// An arm that gets no new work at all, not even where nobody else would take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// The arm; never the stable one.
    pub arm: Arm,
    /// What becomes of the sessions on it.
    pub sessions: OnRevert,
}

/// What routes every request until the next one is published.
#[derive(Clone, Debug)]
pub struct RoutingTable {
    /// Grows by one with every published table.
    pub generation: u64,
    /// The weights in force.
    pub split: Split,
    /// What the health of the endpoints leaves of them.
    pub effective: Effective,
    /// The arm that reverts go to, and what belongs to neither: OAuth, discovery documents, other
    /// paths.
    pub stable: Arm,
    /// An arm that is shut.
    pub closed: Option<Closed>,
    /// The endpoints.
    pub arms: PerArm<ArmTable>,
    /// Keys of the tags.
    pub keys: Arc<Keyring>,
    /// Key of the principal hash.
    pub salt: Arc<Salt>,
    /// What tools the servers list.
    pub tools: Arc<Tools>,
    /// The settings that go with it.
    pub config: Arc<Config>,
    by_id: HashMap<EndpointId, Arc<Endpoint>>,
}

/// The endpoints of one arm.
#[derive(Clone, Debug)]
pub struct ArmTable {
    /// At least one.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// How much of its share of new work each endpoint may get, in the same order: from 0 (none)
    /// over less (it is coming back) to 1.
    pub fitness: Vec<f64>,
    /// How new sessions are spread over them.
    pub balance: Balance,
    /// Counts the choices, for taking turns; goes on from table to table.
    turn: Arc<AtomicUsize>,
}

impl ArmTable {
    /// The number of the next choice.
    pub fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

/// One address of an arm.
#[derive(Debug)]
pub struct Endpoint {
    /// What tags remember of it.
    pub id: EndpointId,
    /// The arm it belongs to.
    pub arm: Arm,
    /// Where it is.
    pub url: EndpointUrl,
    /// Its address, when the URL names one and not a host.
    pub address: Option<IpAddr>,
    /// `host:port` for the `Host` header.
    pub authority: HeaderValue,
    in_flight: AtomicUsize,
    /// Transport faults in a row on real traffic.
    faults: AtomicU32,
    suspect: Notify,
}

impl Endpoint {
    /// An endpoint that nothing has been sent to.
    pub fn new(arm: Arm, url: &EndpointUrl) -> Endpoint {
        Endpoint {
            id: EndpointId::of(arm, url),
            arm,
            url: url.clone(),
            address: url.host().parse().ok(),
            authority: HeaderValue::try_from(url.authority())
                .expect("the authority of a parsed URL is visible ASCII"),
            in_flight: AtomicUsize::new(0),
            faults: AtomicU32::new(0),
            suspect: Notify::new(),
        }
    }

    /// Counts a transport fault of real traffic; the `threshold`th in a row makes the endpoint
    /// suspect.
    pub fn note_fault(&self, threshold: u32) {
        // Two workers at once may both find it reached: it is suspect once then.
        if self.faults.fetch_add(1, Ordering::Relaxed) + 1 >= threshold {
            self.faults.store(0, Ordering::Relaxed);
            self.suspect.notify_one();
        }
    }

    /// Counts a connection that was refused: nobody listens there, so it is suspect at once.
    pub fn note_refusal(&self) {
        self.faults.store(0, Ordering::Relaxed);
        self.suspect.notify_one();
    }

    /// Asks for a handshake soon, for other reasons than traffic.
    pub fn doubt(&self) {
        self.suspect.notify_one();
    }

    /// Notes that real traffic got through.
    pub fn note_success(&self) {
        // Nearly always there is nothing to forget, and no cache line to take from the others.
        if self.faults.load(Ordering::Relaxed) != 0 {
            self.faults.store(0, Ordering::Relaxed);
        }
    }

    /// Returns when the endpoint has become suspect, also when that was before the call. For one
    /// that waits.
    pub async fn suspected(&self) {
        self.suspect.notified().await;
    }

    /// Exchanges that have begun on it and not ended, over all workers.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts an exchange until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

/// Keeps an exchange counted on its endpoint.
#[derive(Debug)]
pub struct InFlight(Arc<Endpoint>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl RoutingTable {
    /// The first table.
    pub fn new(
        config: Arc<Config>,
        course: Course,
        keys: Arc<Keyring>,
        salt: Arc<Salt>,
    ) -> RoutingTable {
        RoutingTable::build(1, config, course, keys, salt, None)
    }

    /// The same on another course.
    #[must_use]
    pub fn with_course(&self, course: Course) -> RoutingTable {
        let Course { split, stable, closed } = course;
        let effective = effective(course, &self.arms);
        RoutingTable { split, effective, stable, closed, ..self.next() }
    }

    /// Where new work is to go.
    pub fn course(&self) -> Course {
        Course { split: self.split, stable: self.stable, closed: self.closed }
    }

    /// Whether an arm is shut.
    pub fn is_closed(&self, arm: Arm) -> bool {
        self.closed.is_some_and(|closed| closed.arm == arm)
    }

    /// The table after a reload.
    #[must_use]
    pub fn with_config(
        &self,
        config: Arc<Config>,
        course: Course,
        keys: Arc<Keyring>,
        salt: Arc<Salt>,
    ) -> RoutingTable {
        RoutingTable::build(self.generation + 1, config, course, keys, salt, Some(self))
    }

    /// The same with other fitnesses, from 0 to 1. Nobody has found fault with an endpoint that is
    /// not among them.
    #[must_use]
    pub fn with_fitness(&self, fitness: &HashMap<EndpointId, f64>) -> RoutingTable {
        let mut arms = PerArm::from_fn(|arm| self.arms.get(arm).clone());
        for arm in Arm::ALL {
            let arm = arms.get_mut(arm);
            let of = |it: &Arc<Endpoint>| fitness.get(&it.id).map_or(1.0, |it| it.clamp(0.0, 1.0));
            arm.fitness = arm.endpoints.iter().map(of).collect();
        }
        RoutingTable { effective: effective(self.course(), &arms), arms, ..self.next() }
    }

    /// The same with other tools.
    #[must_use]
    pub fn with_tools(&self, tools: Arc<Tools>) -> RoutingTable {
        RoutingTable { tools, ..self.next() }
    }

    /// The same once more, to be changed.
    fn next(&self) -> RoutingTable {
        RoutingTable { generation: self.generation + 1, ..self.clone() }
    }

    /// The fitness of each endpoint.
    pub fn fitness(&self) -> impl Iterator<Item = (&Arc<Endpoint>, f64)> {
        let of = |arm: Arm| {
            let arm = self.arms.get(arm);
            arm.endpoints.iter().zip(arm.fitness.iter().copied())
        };
        Arm::ALL.into_iter().flat_map(of)
    }

    /// The endpoint that a tag names, if the configuration still has it.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.by_id.get(&id)
    }

    /// The same endpoint of the same arm, with its counters and its fitness.
    fn kept(&self, arm: Arm, url: &EndpointUrl) -> Option<(Arc<Endpoint>, f64)> {
        let arm = self.arms.get(arm);
        let at = arm.endpoints.iter().position(|it| it.url == *url)?;
        Some((Arc::clone(&arm.endpoints[at]), arm.fitness[at]))
    }

    fn build(
        generation: u64,
        config: Arc<Config>,
        course: Course,
        keys: Arc<Keyring>,
        salt: Arc<Salt>,
        before: Option<&RoutingTable>,
    ) -> RoutingTable {
        let arms = PerArm::from_fn(|arm| {
            let settings = config.arms.get(arm);
            let endpoint = |url: &EndpointUrl| {
                let kept = before.and_then(|table| table.kept(arm, url));
                kept.unwrap_or_else(|| (Arc::new(Endpoint::new(arm, url)), 1.0))
            };
            let (endpoints, fitness) = settings.endpoints.iter().map(endpoint).unzip();
            ArmTable {
                endpoints,
                fitness,
                balance: settings.balance,
                turn: before
                    .map_or_else(Arc::default, |table| Arc::clone(&table.arms.get(arm).turn)),
            }
        });
        let by_id = by_id(&arms);
        let effective = effective(course, &arms);
        let tools = before.map_or_else(Arc::default, |table| Arc::clone(&table.tools));
        RoutingTable {
            generation,
            split: course.split,
            effective,
            stable: course.stable,
            closed: course.closed,
            arms,
            keys,
            salt,
            tools,
            config,
            by_id,
        }
    }
}

/// What the endpoints' fitness leaves of the split.
fn effective(course: Course, arms: &PerArm<ArmTable>) -> Effective {
    let is_closed = |arm| course.closed.is_some_and(|closed| closed.arm == arm);
    let open = |arm| arms.get(arm).fitness.iter().copied().filter(move |_| !is_closed(arm));
    let best = |arm| open(arm).fold(0.0, f64::max);
    Effective::new(course.split, &PerArm::from_fn(best), course.stable)
}

/// Finds endpoints by what tags remember of them. Where the arms have been exchanged, as after a
/// promotion, an endpoint is found by its id in the other arm too: the server still holds its
/// sessions, whatever it is called now.
fn by_id(arms: &PerArm<ArmTable>) -> HashMap<EndpointId, Arc<Endpoint>> {
    let all = || Arm::ALL.into_iter().flat_map(|arm| &arms.get(arm).endpoints);
    let mut found: HashMap<_, _> = all().map(|it| (it.id, Arc::clone(it))).collect();
    for endpoint in all() {
        let elsewhere = EndpointId::of(endpoint.arm.other(), &endpoint.url);
        found.entry(elsewhere).or_insert_with(|| Arc::clone(endpoint));
    }
    found
}
