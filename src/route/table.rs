//! The routing table: one immutable value that a request loads once.
//!
//! Weights, endpoints, keys, salt and settings change together, so that no request sees half of a
//! change. Endpoints that stay keep their counters from table to table. Does not know: who
//! changed it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;

use crate::config::{Balance, Config};
use crate::names::{Arm, EndpointId, EndpointUrl, PerArm, Split};

use super::principal::Salt;
use super::tag::Keyring;

/// What routes every request until the next one is published.
#[derive(Debug)]
pub struct RoutingTable {
    /// Grows by one with every published table.
    pub generation: u64,
    /// The weights in force.
    pub split: Split,
    /// The arm for what belongs to neither: OAuth, discovery documents, other paths.
    pub stable: Arm,
    /// The endpoints.
    pub arms: PerArm<ArmTable>,
    /// Keys of the tags.
    pub keys: Arc<Keyring>,
    /// Key of the principal hash.
    pub salt: Arc<Salt>,
    /// The settings that go with it.
    pub config: Arc<Config>,
    by_id: HashMap<EndpointId, Arc<Endpoint>>,
}

/// The endpoints of one arm.
#[derive(Debug)]
pub struct ArmTable {
    /// At least one.
    pub endpoints: Vec<Arc<Endpoint>>,
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
}

impl Endpoint {
    fn new(arm: Arm, url: &EndpointUrl) -> Endpoint {
        Endpoint {
            id: EndpointId::of(arm, url),
            arm,
            url: url.clone(),
            address: url.host().parse().ok(),
            authority: HeaderValue::try_from(url.authority())
                .expect("the authority of a parsed URL is visible ASCII"),
            in_flight: AtomicUsize::new(0),
        }
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
        split: Split,
        keys: Arc<Keyring>,
        salt: Arc<Salt>,
    ) -> RoutingTable {
        RoutingTable::build(1, config, split, keys, salt, None)
    }

    /// The same with other weights.
    #[must_use]
    pub fn with_split(&self, split: Split) -> RoutingTable {
        RoutingTable::build(
            self.generation + 1,
            Arc::clone(&self.config),
            split,
            Arc::clone(&self.keys),
            Arc::clone(&self.salt),
            Some(self),
        )
    }

    /// The table after a reload.
    #[must_use]
    pub fn with_config(
        &self,
        config: Arc<Config>,
        split: Split,
        keys: Arc<Keyring>,
        salt: Arc<Salt>,
    ) -> RoutingTable {
        RoutingTable::build(self.generation + 1, config, split, keys, salt, Some(self))
    }

    /// The endpoint that a tag names, if the configuration still has it.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.by_id.get(&id)
    }

    /// The same endpoint of the same arm, with its counters.
    fn kept(&self, arm: Arm, url: &EndpointUrl) -> Option<Arc<Endpoint>> {
        self.arms.get(arm).endpoints.iter().find(|it| it.url == *url).cloned()
    }

    fn build(
        generation: u64,
        config: Arc<Config>,
        split: Split,
        keys: Arc<Keyring>,
        salt: Arc<Salt>,
        before: Option<&RoutingTable>,
    ) -> RoutingTable {
        let arms = PerArm::from_fn(|arm| {
            let settings = config.arms.get(arm);
            ArmTable {
                endpoints: settings
                    .endpoints
                    .iter()
                    .map(|url| {
                        let kept = before.and_then(|table| table.kept(arm, url));
                        kept.unwrap_or_else(|| Arc::new(Endpoint::new(arm, url)))
                    })
                    .collect(),
                balance: settings.balance,
                turn: before
                    .map_or_else(Arc::default, |table| Arc::clone(&table.arms.get(arm).turn)),
            }
        });
        let by_id = by_id(&arms);
        let stable = Arm::Primary;
        RoutingTable { generation, split, stable, arms, keys, salt, config, by_id }
    }
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
