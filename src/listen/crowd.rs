//! Who is let in: how many connections there may be, in all and from one address, over all workers.
//!
//! Whoever is not is told so in a few bytes that cost nothing. Does not know: what is served, who
//! is exempt.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpStream;

use crate::descriptors::{self, Use};
use crate::names::Shed;

/// What a client in cleartext is told.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json\r\n\
    retry-after: 2\r\n\
    connection: close\r\n\
    content-length: 156\r\n\
    \r\n\
    {\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32603,\"message\":\"the router is overloaded\
    : try again later\",\"data\":{\"origin\":\"tidegate\",\"reason\":\"overloaded\"}}}";

/// The connections that are open.
#[derive(Debug, Default)]
pub struct Crowd {
    open: AtomicUsize,
    /// By address, of those that are not exempt.
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A place that a connection has taken.
#[derive(Debug)]
pub struct Slot {
    crowd: Arc<Crowd>,
    address: Option<IpAddr>,
}

impl Crowd {
    /// Lets a connection in, if there are fewer than `limit`, and fewer than `per_address` from
    /// this address; without that it is exempt.
    ///
    /// # Errors
    /// Why not.
    pub fn enter(
        self: &Arc<Self>,
        stream: &TcpStream,
        address: IpAddr,
        limit: usize,
        per_address: Option<usize>,
    ) -> Result<Slot, Shed> {
        if descriptors::is_one_too_many(stream, Use::Client) {
            return Err(Shed::Descriptors);
        }
        self.take(address, limit, per_address)
    }

    fn take(
        self: &Arc<Self>,
        address: IpAddr,
        limit: usize,
        per_address: Option<usize>,
    ) -> Result<Slot, Shed> {
        // From here on the slot gives back what was counted.
        let mut slot = Slot { crowd: Arc::clone(self), address: None };
        if self.open.fetch_add(1, Ordering::Relaxed) >= limit {
            return Err(Shed::Limit);
        }
        if let Some(most) = per_address {
            let address = block(address);
            let mut open = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let own = open.entry(address).or_default();
            if *own >= most {
                return Err(Shed::Address);
            }
            *own += 1;
            slot.address = Some(address);
        }
        Ok(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.crowd.open.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut open = self.crowd.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&address) {
            *own -= 1;
            if *own == 0 {
                open.remove(&address);
            }
        }
    }
}

/// What counts as one address: of IPv6 a /64, which is what one customer has.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        four @ IpAddr::V4(_) => four,
    }
}

/// Closes a connection that is not let in. In cleartext it is told so, if that costs no waiting.
pub fn shed(stream: &TcpStream, is_cleartext: bool) {
    if !is_cleartext {
        return;
    }
    // Bytes that nobody has read would turn the farewell into a reset.
    let _ = stream.try_read(&mut [0; 4096]);
    let _ = stream.try_write(BUSY);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let crowd = Arc::new(Crowd::default());
        let take = |address: &str, limit, most| crowd.take(address.parse().unwrap(), limit, most);
        let one = take("192.0.2.1", 3, Some(2)).unwrap();
        let two = take("::ffff:192.0.2.1", 3, Some(2)).unwrap();
        assert_eq!(take("192.0.2.1", 3, Some(2)).unwrap_err(), Shed::Address);
        let exempt = take("192.0.2.1", 3, None).unwrap();
        assert_eq!(take("192.0.2.2", 3, Some(2)).unwrap_err(), Shed::Limit);
        drop((one, two, exempt));
        assert_eq!(crowd.open.load(Ordering::Relaxed), 0);
        assert!(crowd.by_address.lock().unwrap().is_empty());
    }

    #[test]
    fn one_customer_is_one_address() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:1:2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let [one, other] = [one, other].map(|it| block(it.parse().unwrap()));
            assert_eq!(one == other, same, "{one} {other}");
        }
    }

    #[test]
    fn the_farewell_is_as_long_as_it_says() {
        let text = str::from_utf8(BUSY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["jsonrpc"], "2.0");
    }
}
