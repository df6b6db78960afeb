//! A routing table for unit tests, without files and with fixed keys.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::config::{self, Config, Environment};
use crate::names::{Arm, Split};

use super::principal::Salt;
use super::tag::Keyring;
use super::{Course, RoutingTable};

/// A table of these endpoints, with this weight on the secondary and the settings changed so.
pub(crate) fn table(
    primary: &[&str],
    secondary: &[&str],
    weight: u8,
    change: impl FnOnce(&mut Config),
) -> Arc<RoutingTable> {
    let mut config = config::load(None, None, &Environment::default()).unwrap();
    for (arm, urls) in [(Arm::Primary, primary), (Arm::Secondary, secondary)] {
        let endpoints = &mut config.arms.get_mut(arm).endpoints;
        *endpoints = urls.iter().map(|url| url.parse().unwrap()).collect();
    }
    change(&mut config);
    let split = Split::new(100 - weight, weight).unwrap();
    let course = Course { split, stable: Arm::Primary, closed: None };
    let keys = Arc::new(Keyring::new(b"a key of at least thirty-two bytes", None));
    let salt = Arc::new(Salt::new(b"salt"));
    Arc::new(RoutingTable::new(Arc::new(config), course, keys, salt))
}

/// Headers, in order; a name may stand twice.
pub(crate) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    map
}
