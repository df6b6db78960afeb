//! A network, as people write it: `10.0.0.0/8`, or one address.
//!
//! Does not know: what it is a network of.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::BadName;

/// All addresses of one family that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// How many bits, 0 to 32 or 128.
    prefix: u8,
}

impl Network {
    /// Whether an address is in it. A mapped address (`::ffff:10.0.0.1`) is one of IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        cut(address, self.prefix) == self.address && address.is_ipv4() == self.address.is_ipv4()
    }
}

/// An address without what stands behind its first bits.
fn cut(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(four.to_bits() & mask).into()
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(six.to_bits() & mask).into()
        }
    }
}

impl FromStr for Network {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Network, BadName> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let bad =
            || BadName(format!("`{text}` is no network or address, such as 10.0.0.0/8 or ::1"));
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let digits = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
        let prefix = match prefix {
            None => most,
            Some(text) if digits(text) => text.parse().map_err(|_| bad())?,
            Some(_) => return Err(bad()),
        };
        if prefix > most {
            return Err(bad());
        }
        let network = Network { address: cut(address, prefix), prefix };
        if network.address != address {
            return Err(BadName(format!(
                "`{text}` is an address in a network; did you mean `{network}`?"
            )));
        }
        Ok(network)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_network_or_not() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "1.2.3.4", false),
            ("::/0", "fe80::1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("192.0.2.4/31", "192.0.2.5", true),
            ("192.0.2.4/31", "192.0.2.6", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::1", "::1", true),
            ("::1/128", "::2", false),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), inside, "{network} {address}");
        }
    }

    #[test]
    fn what_is_none_says_so() {
        let all = ["", "/", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/+8"];
        for text in all.into_iter().chain(["10.0.0.0/8/8", "10.0.0.0/256", " 10.0.0.0/8", "x"]) {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.0.contains("is no network"), "{text}: {}", error.0);
        }
        let error = "10.1.2.3/8".parse::<Network>().unwrap_err();
        assert!(error.0.contains("did you mean `10.0.0.0/8`?"), "{}", error.0);
    }
}
