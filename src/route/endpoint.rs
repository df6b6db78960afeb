//! One address of an arm: how it is reached, what happens on it now, and how it has fared.
//!
//! Shared by all workers and kept from table to table, so that its counts go on. Does not know:
//! weights, the other endpoints.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use http::HeaderValue;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::dns::{Lookup, NoAddress, Place};
use crate::names::{Arm, EndpointId, EndpointUrl};
use crate::tls::client::Client;

use super::room::{QueueFull, Room};

/// One address of an arm.
#[derive(Debug)]
pub struct Endpoint {
    /// What tags remember of it.
    pub id: EndpointId,
    /// The arm it belongs to.
    pub arm: Arm,
    /// Where it is.
    pub url: EndpointUrl,
    /// When it joined others of its name: it is new to work.
    pub came: Option<Instant>,
    way: Way,
    /// What the `Host` header says where it is to name the endpoint.
    pub authority: HeaderValue,
    /// How it is spoken to, which need not stay when the configuration is read again.
    tls: Option<ArcSwap<Client>>,
    in_flight: AtomicUsize,
    room: Room,
    /// Transport faults in a row on real traffic.
    faults: AtomicU32,
    suspect: Notify,
    /// Calls in a row that failed by the server's fault.
    failures: AtomicU32,
    failing: AtomicBool,
}

/// How the address of an endpoint is found.
#[derive(Debug)]
enum Way {
    /// It is known.
    Address(IpAddr),
    /// By the system, at each connect.
    Name(Lookup),
    /// Not at all: the name has never had one.
    Nowhere(NoAddress),
}

impl Endpoint {
    /// An endpoint that nothing has been sent to; `tls` is for those that are `https`.
    pub fn new(arm: Arm, url: &EndpointUrl, tls: &Arc<Client>) -> Endpoint {
        Endpoint::at(arm, &Place::new(url), tls)
    }

    /// The same at a place that names may have been looked up for.
    pub fn at(arm: Arm, place: &Place, tls: &Arc<Client>) -> Endpoint {
        let url = &place.url;
        let way = match (&place.missing, url.address()) {
            (Some(why), _) => Way::Nowhere(why.clone()),
            (None, Some(address)) => Way::Address(address),
            (None, None) => Way::Name(Lookup::new(url.host())),
        };
        Endpoint {
            id: EndpointId::of(arm, url),
            arm,
            url: url.clone(),
            came: place.came,
            way,
            authority: HeaderValue::try_from(url.host_header())
                .expect("the authority of a parsed URL is visible ASCII"),
            tls: url.is_secure().then(|| ArcSwap::new(Arc::clone(tls))),
            in_flight: AtomicUsize::new(0),
            room: Room::default(),
            faults: AtomicU32::new(0),
            suspect: Notify::new(),
            failures: AtomicU32::new(0),
            failing: AtomicBool::new(false),
        }
    }

    /// How TLS is spoken to it; `None`: it is not.
    pub fn tls(&self) -> Option<Arc<Client>> {
        self.tls.as_ref().map(ArcSwap::load_full)
    }

    /// Takes over settings, where they differ: what is alike keeps its connections.
    pub(super) fn set_tls(&self, new: &Arc<Client>) {
        if let Some(tls) = self.tls.as_ref().filter(|it| **it.load() != **new) {
            tls.store(Arc::clone(new));
        }
    }

    /// Its addresses now, in the system's order of preference.
    ///
    /// # Errors
    /// When it has none.
    pub async fn addresses(&self) -> Result<Vec<IpAddr>, NoAddress> {
        match &self.way {
            Way::Address(address) => Ok(vec![*address]),
            Way::Name(lookup) => lookup.addresses().await,
            Way::Nowhere(why) => Err(why.clone()),
        }
    }

    /// Whether it is what stands at this place.
    pub(super) fn is_at(&self, place: &Place) -> bool {
        let missing = match &self.way {
            Way::Nowhere(why) => Some(why),
            Way::Address(_) | Way::Name(_) => None,
        };
        self.url == place.url && missing == place.missing.as_ref()
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

    /// Counts a call that failed by the server's fault; the `threshold`th in a row makes the endpoint
    /// one that is failing.
    pub fn note_failed_call(&self, threshold: Option<u32>) {
        let Some(threshold) = threshold else { return };
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= threshold {
            self.failures.store(0, Ordering::Relaxed);
            self.failing.store(true, Ordering::Relaxed);
        }
    }

    /// Notes a call that did not.
    pub fn note_call(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Whether it has been failing since the last time.
    pub fn take_failing(&self) -> bool {
        self.failing.swap(false, Ordering::Relaxed)
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

    /// For how many exchanges there is room, and who waits. Streams without an end take none.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Counts an exchange that takes no room, until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.entered(false)
    }

    /// Takes room for an exchange until the guard is dropped, if there is any.
    pub fn enter_if_room(self: &Arc<Self>) -> Option<InFlight> {
        self.room.enter().then(|| self.entered(true))
    }

    /// Waits for room behind at most `longest - 1` others.
    ///
    /// # Errors
    /// At once, when as many wait as may.
    pub async fn enter_in_turn(self: &Arc<Self>, longest: usize) -> Result<InFlight, QueueFull> {
        self.room.queue(longest).await?;
        Ok(self.entered(true))
    }

    fn entered(self: &Arc<Self>, has_room: bool) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { endpoint: Arc::clone(self), has_room }
    }
}

/// Keeps an exchange counted on its endpoint, and its room taken.
#[derive(Debug)]
pub struct InFlight {
    endpoint: Arc<Endpoint>,
    has_room: bool,
}

impl InFlight {
    /// Whether it is on this endpoint.
    pub fn is_on(&self, endpoint: &Arc<Endpoint>) -> bool {
        Arc::ptr_eq(&self.endpoint, endpoint)
    }

    /// Whether it takes room there.
    pub fn takes_room(&self) -> bool {
        self.has_room
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.has_room {
            self.endpoint.room.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::table;
    use super::*;
    use crate::tls::Version;

    fn endpoint(url: &str) -> Arc<Endpoint> {
        Arc::clone(&table(&[url], &["http://b:1/mcp"], 0, |_| {}).arms.primary.endpoints[0])
    }

    #[test]
    fn tls_is_taken_over_where_it_differs() {
        let client = |least| Arc::new(Client::new(None, None, None, least, "[a.tls]").unwrap());
        let endpoint = endpoint("https://a:1/mcp");
        let (old, new) = (client(Version::Tls12), client(Version::Tls13));
        endpoint.set_tls(&old);
        let before = endpoint.tls().unwrap();
        endpoint.set_tls(&client(Version::Tls12));
        assert!(Arc::ptr_eq(&endpoint.tls().unwrap(), &before), "alike: connections stay");
        endpoint.set_tls(&new);
        assert!(Arc::ptr_eq(&endpoint.tls().unwrap(), &new));
        assert!(self::endpoint("http://a:1/mcp").tls().is_none());
    }

    #[tokio::test]
    async fn an_address_needs_no_name_server() {
        let addresses = endpoint("http://127.0.0.1:1/mcp").addresses().await;
        assert_eq!(addresses.unwrap(), [IpAddr::from([127, 0, 0, 1])]);
        assert!(endpoint("dns+http://a:1/mcp").addresses().await.is_err());
    }

    #[test]
    fn calls_that_fail_in_a_row_make_an_endpoint_failing_once() {
        let endpoint = endpoint("http://a:1/mcp");
        let fail = |threshold| endpoint.note_failed_call(threshold);
        for _ in 0..9 {
            fail(Some(3));
            fail(Some(3));
            endpoint.note_call();
            fail(None);
        }
        assert!(!endpoint.take_failing());
        (0..3).for_each(|_| fail(Some(3)));
        assert_eq!([(); 2].map(|()| endpoint.take_failing()), [true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_doubt_asks_for_a_handshake() {
        let endpoint = endpoint("http://a:1/mcp");
        let asked = || tokio::time::timeout(Duration::from_secs(1), endpoint.suspected());
        asked().await.unwrap_err();
        endpoint.doubt();
        asked().await.unwrap();
    }

    #[test]
    fn an_exchange_knows_where_it_is_and_whether_it_takes_room() {
        let (one, two) = (endpoint("http://a:1/mcp"), endpoint("http://a:1/mcp"));
        one.room().resize(1);
        let inside = one.enter_if_room().unwrap();
        assert!(one.enter_if_room().is_none() && inside.takes_room());
        let stream = one.enter();
        assert!(!stream.takes_room() && stream.is_on(&one) && !stream.is_on(&two));
        drop((inside, stream));
        assert_eq!((one.in_flight(), one.room().taken()), (0, 0));
    }
}
