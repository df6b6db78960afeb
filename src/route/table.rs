//! The routing table: one immutable value that a request loads once.
//!
//! Weights, endpoints, keys, salt and settings change together, so that no request sees half of a
//! change. Endpoints that stay keep their counters from table to table. Does not know: who
//! changed it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::config::{Balance, Config, OnRevert};
use crate::dns::{Known, Place};
use crate::names::{Arm, EndpointId, PerArm, Split};

use super::eligible::Effective;
use super::endpoint::Endpoint;
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
    /// What the names in them stand for.
    pub known: Arc<Known>,
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
    /// Those whose address their name has no more: they hold sessions and get no new work, whatever
    /// becomes of the others.
    pub leaving: Vec<Arc<Endpoint>>,
    /// How new sessions are spread over them.
    pub balance: Balance,
    /// Counts the choices, for taking turns; goes on from table to table.
    turn: Arc<AtomicUsize>,
}

impl ArmTable {
    /// Those that get new work, and then those that do not.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.iter().chain(&self.leaving)
    }

    /// The number of the next choice.
    pub fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
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
        RoutingTable::build(config, course, keys, salt, Arc::default(), None)
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
        RoutingTable::build(config, course, keys, salt, Arc::clone(&self.known), Some(self))
    }

    /// The same with what names stand for now.
    #[must_use]
    pub fn with_names(&self, known: Arc<Known>) -> RoutingTable {
        let (keys, salt) = (Arc::clone(&self.keys), Arc::clone(&self.salt));
        RoutingTable::build(Arc::clone(&self.config), self.course(), keys, salt, known, Some(self))
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

    /// The endpoints that hold sessions and get no new work.
    pub fn leaving(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        Arm::ALL.into_iter().flat_map(|arm| &self.arms.get(arm).leaving)
    }

    /// Whether a name in it has never had an address.
    pub fn awaits_address(&self) -> bool {
        self.endpoints().any(|endpoint| endpoint.url.is_name())
    }

    /// Every endpoint.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        Arm::ALL.into_iter().flat_map(|arm| self.arms.get(arm).all())
    }

    /// The endpoint that a tag names, if there still is one.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.by_id.get(&id)
    }

    /// Has the endpoints go by its settings, of which they share some with the tables before. Not
    /// before it is in force: a reload may be refused when its table is there already.
    pub(super) fn take_effect(&self) {
        for endpoint in self.endpoints() {
            endpoint.room().resize(self.config.limits.in_flight);
            endpoint.set_tls(&self.config.arms.get(endpoint.arm).tls);
        }
    }

    /// The same endpoint of the same arm, with its counters and its fitness.
    fn kept(&self, arm: Arm, place: &Place) -> Option<(Arc<Endpoint>, f64)> {
        let arm = self.arms.get(arm);
        let fitness = arm.fitness.iter().copied().chain(std::iter::repeat(1.0));
        let (kept, fitness) = arm.all().zip(fitness).find(|(it, _)| it.is_at(place))?;
        Some((Arc::clone(kept), fitness))
    }

    fn build(
        config: Arc<Config>,
        course: Course,
        keys: Arc<Keyring>,
        salt: Arc<Salt>,
        known: Arc<Known>,
        before: Option<&RoutingTable>,
    ) -> RoutingTable {
        let arms = PerArm::from_fn(|arm| {
            let settings = config.arms.get(arm);
            let endpoint = |place: &Place| {
                let kept = before.and_then(|table| table.kept(arm, place));
                kept.unwrap_or_else(|| (Arc::new(Endpoint::at(arm, place, &settings.tls)), 1.0))
            };
            let places = known.places(&settings.endpoints);
            let (endpoints, fitness) = places.serving.iter().map(endpoint).unzip();
            let leaving = places.leaving.iter().map(|url| endpoint(&Place::new(url)).0);
            ArmTable {
                endpoints,
                fitness,
                leaving: leaving.collect(),
                balance: settings.balance,
                turn: before
                    .map_or_else(Arc::default, |table| Arc::clone(&table.arms.get(arm).turn)),
            }
        });
        let by_id = by_id(&arms);
        let effective = effective(course, &arms);
        let tools = before.map_or_else(Arc::default, |table| Arc::clone(&table.tools));
        RoutingTable {
            generation: before.map_or(1, |table| table.generation + 1),
            split: course.split,
            effective,
            stable: course.stable,
            closed: course.closed,
            arms,
            keys,
            salt,
            tools,
            config,
            known,
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
    let all = || Arm::ALL.into_iter().flat_map(|arm| arms.get(arm).all());
    let mut found: HashMap<_, _> = all().map(|it| (it.id, Arc::clone(it))).collect();
    for endpoint in all() {
        let elsewhere = EndpointId::of(endpoint.arm.other(), &endpoint.url);
        found.entry(elsewhere).or_insert_with(|| Arc::clone(endpoint));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{Live, tests as fixture};
    use super::*;
    use crate::names::EndpointUrl;

    fn table() -> Arc<RoutingTable> {
        fixture::table(&["http://a:1/mcp"], &["http://b:1/mcp"], 0, |_| {})
    }

    #[test]
    fn another_course_is_in_force_at_once() {
        let closed = Some(Closed { arm: Arm::Primary, sessions: OnRevert::Keep });
        let split = Split::new(70, 30).unwrap();
        let course = Course { split, stable: Arm::Secondary, closed: None };
        let open = table().with_course(course);
        assert_eq!((open.course(), open.generation), (course, 2));
        assert!((open.effective.share(Arm::Secondary) - 0.3).abs() < 1e-9);
        let shut = open.with_course(Course { closed, ..course });
        assert!((shut.effective.share(Arm::Secondary) - 1.0).abs() < 1e-9);
        assert_eq!(Arm::ALL.map(|arm| shut.is_closed(arm)), [true, false]);
    }

    #[test]
    fn tools_are_kept_until_there_are_others() {
        let lists = PerArm { primary: Some(vec!["add".to_owned()]), secondary: None };
        let with = table().with_tools(Arc::new(Tools::default().with(&lists)));
        assert_eq!((with.tools.labelled(), with.generation), (1, 2));
        assert_eq!(with.with_course(with.course()).tools.labelled(), 1);
    }

    #[test]
    fn a_session_is_found_when_the_arms_have_changed_places() {
        let table = table();
        let url: EndpointUrl = "http://a:1/mcp".parse().unwrap();
        let id = |arm| EndpointId::of(arm, &url);
        for arm in Arm::ALL {
            assert_eq!(table.endpoint(id(arm)).unwrap().url, url);
        }
        assert!(table.endpoint(EndpointId([0; 6])).is_none());
    }

    #[test]
    fn what_is_published_is_in_force_and_its_limits_with_it() {
        let live = Live::new(table().with_course(table().course()));
        let limit = || live.load().arms.primary.endpoints[0].room().limit();
        let before = (live.load().generation, limit());
        let mut config = Config::clone(&live.load().config);
        config.limits.in_flight = before.1 + 1;
        let now = live.load();
        let keys = (Arc::clone(&now.keys), Arc::clone(&now.salt));
        let next = now.with_config(Arc::new(config), now.course(), keys.0, keys.1);
        assert_eq!((live.load().generation, limit()), before, "not before it is published");
        live.publish(next);
        assert_eq!((live.load().generation, limit()), (before.0 + 1, before.1 + 1));
    }
}
