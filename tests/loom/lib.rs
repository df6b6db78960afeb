//! The files that threads of the router share, as they are, upon what loom can follow.
//!
//! loom runs a piece of code in every order in which its threads can meet (up to a number of
//! preemptions), with every value that the memory model lets a relaxed load see. It has to stand in
//! for atomics and locks for that. No file under `src` knows of it: here, `std`, `tokio` and
//! `arc_swap` are names of the crate `beneath`, and `crate::…` finds only as much as these files
//! need. A file that comes to import more does not compile until that is added here or there.
//!
//! One model: `cargo test --release --test models NAME`.
//!
//! What threads share, and what must hold:
//!
//! - `route::room`: never more inside than there is room for, nor after the limit was lowered;
//!   whoever waits is woken; a place is given back once (`models/room.rs`)
//! - `route::endpoint`: a fault, refusal or failed call that counts is never lost between who notes
//!   it and who takes it; what is in flight is counted once (`models/endpoint.rs`)
//! - `route::live`: whoever has a table finds its limits and its TLS in effect, and never gets an
//!   older one afterwards (`models/live.rs`)
//! - `listen::crowd`: never more connections than the limits; a place is given back once
//!   (`models/crowd.rs`)
//! - `overload`: what was set last stays so; nothing is shed for ever (`models/overload.rs`)
//! - `observe::collect`: each count arrives once, whoever is late or gives up (`models/collect.rs`)
//! - `dns::lookup`: one look-up of a name at a time; whoever joins it gets its answer
//!   (`models/lookup.rs`)
//!
//! Shared as well, and not here:
//!
//! - `route::table::ArmTable::next_turn`: one `fetch_add`, for which any order will do
//! - `tls::client::Client`: a `OnceLock`, of which all see one value, and a flag that is only set
//! - `records::history::Writer`: two locks and no atomics, always taken in one order
//! - `drain`, and the end of the workers: channels of tokio with nothing of our own around them
//! - whatever stands behind an `Arc` and never changes: configuration, keys, names, tools

#![allow(dead_code, unreachable_pub)]

// The names by which the files import it. The code that the compiler adds still finds the real ones.
extern crate beneath as arc_swap;
extern crate beneath as std;
extern crate beneath as tokio;

#[path = "../../src/observe/collect.rs"]
pub mod collect;
#[path = "../../src/listen/crowd.rs"]
pub mod crowd;
#[path = "../../src/route/endpoint.rs"]
pub mod endpoint;
#[path = "../../src/route/live.rs"]
pub mod live;
#[path = "../../src/dns/lookup.rs"]
pub mod lookup;
#[path = "../../src/overload.rs"]
pub mod overload;
#[path = "../../src/route/room.rs"]
pub mod room;

/// As much of the names as is asked for.
pub mod names {
    use std::net::IpAddr;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Arm {
        Primary,
    }

    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct EndpointUrl;

    impl EndpointUrl {
        pub fn address(&self) -> Option<IpAddr> {
            Some([192, 0, 2, 1].into())
        }

        pub fn host(&self) -> &str {
            "192.0.2.1"
        }

        pub fn host_header(&self) -> &str {
            self.host()
        }

        pub fn is_secure(&self) -> bool {
            true
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct EndpointId;

    impl EndpointId {
        pub fn of(_: Arm, _: &EndpointUrl) -> EndpointId {
            EndpointId
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Shed {
        Limit,
        Address,
        Descriptors,
    }
}

/// Where an endpoint is.
pub mod dns {
    pub use crate::lookup::{Lookup, NoAddress};
    use crate::names::EndpointUrl;

    #[derive(Debug)]
    pub struct Place {
        pub url: EndpointUrl,
        pub came: Option<tokio::time::Instant>,
        pub missing: Option<NoAddress>,
    }

    impl Place {
        pub fn new(url: &EndpointUrl) -> Place {
            Place { url: url.clone(), came: None, missing: None }
        }
    }
}

/// TLS settings, told apart by a number.
pub mod tls {
    pub mod client {
        #[derive(Debug, PartialEq, Eq)]
        pub struct Client(pub u32);
    }
}

/// There are always enough descriptors.
pub mod descriptors {
    pub enum Use {
        Client,
    }

    pub fn is_one_too_many(_: &tokio::net::TcpStream, _: Use) -> bool {
        false
    }
}

/// A table is its number, its limit and one endpoint.
pub mod table {
    use std::sync::Arc;

    use crate::endpoint::Endpoint;
    use crate::tls::client::Client;

    #[derive(Debug)]
    pub struct RoutingTable {
        pub number: u32,
        pub endpoint: Arc<Endpoint>,
    }

    impl RoutingTable {
        pub(crate) fn take_effect(&self) {
            self.endpoint.room().resize(self.number as usize);
            self.endpoint.set_tls(&Arc::new(Client(self.number)));
        }
    }
}

/// A worker's counts are one number.
pub mod tally {
    #[derive(Debug, Default)]
    pub struct Tally(pub u64);

    impl Tally {
        pub fn take(&mut self) -> Tally {
            std::mem::take(self)
        }
    }
}

/// A worker's connections have none.
pub mod upstream {
    pub mod pool {
        #[derive(Debug, Default)]
        pub struct Pool;

        #[derive(Debug)]
        pub struct PoolCounts;

        impl Pool {
            pub fn take_counts(&self) -> PoolCounts {
                PoolCounts
            }
        }
    }
}
