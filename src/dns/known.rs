//! What every name stands for: addresses that come, stay, and go.
//!
//! Pure: the time is an argument. A look-up that fails changes nothing, since servers outlive name
//! servers; an address that goes is kept for the sessions on it. Does not know: how a name is
//! looked up, whether anybody answers at an address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::lookup::{Answer, NoAddress};
use crate::names::EndpointUrl;

/// Addresses of one arm, and of a name's that have left; more belong behind a balancer of their own.
pub const PLACES_MAX: usize = 64;

/// What is known of every name, by `host:port`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known(BTreeMap<String, Name>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Name {
    addresses: BTreeMap<IpAddr, Stay>,
    /// Why the last look-up came to nothing.
    failed: Option<NoAddress>,
}

/// When an address came and went.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stay {
    /// `None`: it was among the first.
    came: Option<Instant>,
    /// `None`: the name has it.
    left: Option<Instant>,
}

/// Where an arm's endpoints are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    /// For all work; at least one if the arm has an endpoint.
    pub serving: Vec<Place>,
    /// For the sessions that they hold, and for no new work.
    pub leaving: Vec<EndpointUrl>,
    /// Addresses beyond [`PLACES_MAX`].
    pub left_out: usize,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// With its address, if it is one of a name's.
    pub url: EndpointUrl,
    /// When it joined others of its name.
    pub came: Option<Instant>,
    /// Why its name has no address, if it never had one.
    pub missing: Option<NoAddress>,
}

impl Place {
    /// What needs no look-up, or has had none.
    pub fn new(url: &EndpointUrl) -> Place {
        let missing = url.is_name().then_some(NoAddress::NotYet);
        Place { url: url.clone(), came: None, missing }
    }
}

impl Known {
    /// Takes in what look-ups have found.
    pub fn learn<'a>(
        &mut self,
        answers: impl IntoIterator<Item = (&'a String, &'a Answer)>,
        now: Instant,
    ) {
        for (name, answer) in answers {
            let name = self.0.entry(name.clone()).or_default();
            let found = match answer {
                Ok(found) => found,
                Err(why) => {
                    name.failed = Some(why.clone());
                    continue;
                }
            };
            name.failed = None;
            let came = (!name.addresses.is_empty()).then_some(now);
            for (address, stay) in &mut name.addresses {
                if !found.contains(address) {
                    stay.left.get_or_insert(now);
                }
            }
            for address in found {
                let stay = name.addresses.entry(*address).or_insert(Stay { came, left: None });
                stay.left = None;
            }
        }
    }

    /// Forgets other names, addresses that left so long ago, those that have left and that nobody
    /// answers at, and of the rest that have left those beyond [`PLACES_MAX`], the first ones first:
    /// a name that tells a few of a great many each time would have all of them probed.
    pub fn forget(
        &mut self,
        names: &[String],
        now: Instant,
        keep: Duration,
        is_dead: impl Fn(&str, IpAddr) -> bool,
    ) {
        self.0.retain(|name, _| names.contains(name));
        for (name, known) in &mut self.0 {
            known.addresses.retain(|address, stay| match stay.left {
                None => true,
                Some(left) => {
                    now.saturating_duration_since(left) < keep && !is_dead(name, *address)
                }
            });
            let left =
                known.addresses.iter().filter_map(|(address, stay)| Some((stay.left?, *address)));
            let mut left: Vec<_> = left.collect();
            left.sort_unstable();
            for (_, address) in left.iter().rev().skip(PLACES_MAX) {
                known.addresses.remove(address);
            }
        }
    }

    /// Where the endpoints of an arm are, in the order of its configuration and then by address.
    pub fn places(&self, urls: &[EndpointUrl]) -> Places {
        let mut places = Places::default();
        for url in urls {
            let name = self.0.get(&url.authority()).filter(|_| url.is_name());
            let Some(name) = name.filter(|name| !name.addresses.is_empty()) else {
                let failed = name.and_then(|name| name.failed.clone());
                let mut place = Place::new(url);
                place.missing = failed.or(place.missing);
                places.add(place);
                continue;
            };
            for (address, stay) in &name.addresses {
                let url = url.at(*address);
                match stay.left {
                    None => places.add(Place { url, came: stay.came, missing: None }),
                    Some(_) => places.leaving.push(url),
                }
            }
        }
        places
    }

    /// The addresses that a name has, and why its last look-up came to nothing if it did.
    pub fn of(&self, name: &str) -> (Vec<IpAddr>, Option<&NoAddress>) {
        let Some(known) = self.0.get(name) else { return (Vec::new(), None) };
        let has = known.addresses.iter().filter(|(_, stay)| stay.left.is_none());
        (has.map(|(address, _)| *address).collect(), known.failed.as_ref())
    }

    /// How many addresses a name has, and how many are kept that it has no more.
    pub fn count(&self, name: &str) -> (usize, usize) {
        let all = self.0.get(name).map_or(0, |known| known.addresses.len());
        let has = self.of(name).0.len();
        (has, all - has)
    }

    /// Whether a name has, or had, an address.
    pub fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|known| !known.addresses.is_empty())
    }
}

impl Places {
    fn add(&mut self, place: Place) {
        if self.serving.len() < PLACES_MAX {
            self.serving.push(place);
        } else {
            self.left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests;
