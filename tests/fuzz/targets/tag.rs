//! Session ids and message URIs: what goes out comes back, and nothing else is taken for ours.

#![no_main]

use std::sync::{Arc, LazyLock};

use http::Uri;
use http::uri::PathAndQuery;
use libfuzzer_sys::fuzz_target;
use tidegate::config::{self, Environment};
use tidegate::names::{Arm, EndpointId, Split};
use tidegate::route::affinity::{URI_PARAMETER, tagged_uri, uri_tag};
use tidegate::route::principal::Salt;
use tidegate::route::tag::{Bearer, Keyring};
use tidegate::route::{Course, RoutingTable};

static TABLE: LazyLock<RoutingTable> = LazyLock::new(|| {
    let config = config::load(None, None, &Environment::default()).expect("the defaults hold");
    let course = Course { split: Split::PRIMARY_ONLY, stable: Arm::Primary, closed: None };
    let old = b"the old key, thirty-two bytes long".as_slice();
    let keys = Keyring::new(b"the new key, thirty-two bytes long", Some(old));
    RoutingTable::new(Arc::new(config), course, Arc::new(keys), Arc::new(Salt::new(b"salt")))
});

/// What a client sends back in place of an id or a URI that it got.
fn forged(keys: &Keyring, text: &str) {
    if let Ok(tag) = keys.read(text) {
        // Nobody makes a MAC by chance: it is one of ours, and of no other spelling.
        assert!(tag.bearer != Bearer::Uri && text.ends_with(tag.id));
        panic!("taken for ours: {text:?}");
    }
    assert!(keys.read_uri(text, text).is_err());
    if let Ok(uri) = text.parse::<Uri>()
        && let Some((tag, rest)) = uri_tag(&uri)
    {
        assert!(keys.read_uri(tag, &rest).is_err());
    }
}

/// A server's own id, through the client and back.
fn id(keys: &Keyring, endpoint: EndpointId, own: &str) {
    let Ok(session) = keys.attach(endpoint, own) else {
        assert!(own.is_empty() || own.len() > 1024 || !own.bytes().all(|it| it.is_ascii_graphic()));
        return;
    };
    let tag = keys.read(&session).expect("what went out comes back");
    assert_eq!((tag.bearer, tag.endpoint, tag.id), (Bearer::Server, endpoint, own));
    assert!(keys.read_uri(&session, own).is_err());
}

/// A server's own message URI, through the client and back.
fn uri(table: &RoutingTable, own: &str) {
    // As a client sends it: a path and query that is one.
    if !own.starts_with('/') || own.contains(URI_PARAMETER) {
        return;
    }
    let Ok(canonical) = own.parse::<PathAndQuery>() else { return };
    let endpoint = &table.arms.primary.endpoints[0];
    let given = tagged_uri(table, endpoint, canonical.as_str());
    let asked: Uri = given.parse().expect("still a URI");
    let (tag, rest) = uri_tag(&asked).expect("it is in there");
    let tag = table.keys.read_uri(tag, &rest).expect("what went out comes back");
    assert_eq!(tag.endpoint, endpoint.id);
    assert_eq!(tag.id, canonical.as_str().strip_suffix('?').unwrap_or(canonical.as_str()));
}

fuzz_target!(|input: &[u8]| {
    let (table, keys) = (&*TABLE, &*TABLE.keys);
    let (endpoint, own) = input.split_at(input.len().min(6));
    let endpoint = EndpointId(std::array::from_fn(|at| endpoint.get(at).copied().unwrap_or(0)));
    let Ok(text) = str::from_utf8(own) else { return };
    forged(keys, text);
    id(keys, endpoint, text);
    uri(table, text);
});
