//! Who calls, as a point between 0 and 1 that stays where it is.
//!
//! Modern requests carry no session, so what belongs together is kept together by a keyed hash of
//! the caller. An arm is a threshold on that point: raising a weight only adds callers to the arm
//! (after Kamal's rollout by cookie hash), and without the salt nobody can choose a side. Does not
//! know: weights.

use std::net::IpAddr;

use aws_lc_rs::hmac;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::config::PrincipalSource;

/// The key of the hash.
pub struct Salt(hmac::Key);

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[salt]")
    }
}

impl Salt {
    /// A salt from secret bytes.
    pub fn new(secret: &[u8]) -> Salt {
        Salt(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The point of the first source that the request has, in `[0, 1)`; `None` when it has none.
    pub fn point(
        &self,
        sources: &[PrincipalSource],
        headers: &HeaderMap,
        client: IpAddr,
    ) -> Option<f64> {
        sources.iter().find_map(|source| match source {
            PrincipalSource::Authorization => {
                Some(self.hash(b"authorization", headers.get(AUTHORIZATION)?.as_bytes()))
            }
            PrincipalSource::Header(name) => {
                Some(self.hash(name.as_str().as_bytes(), headers.get(name)?.as_bytes()))
            }
            PrincipalSource::ClientAddress => {
                Some(self.hash(b"client-address", client.to_canonical().to_string().as_bytes()))
            }
        })
    }

    fn hash(&self, source: &[u8], value: &[u8]) -> f64 {
        let mut mac = hmac::Context::with_key(&self.0);
        mac.update(b"tidegate-principal/1");
        mac.update(&(source.len() as u64).to_be_bytes());
        mac.update(source);
        mac.update(value);
        let digest = mac.sign();
        let mut high = [0; 8];
        high.copy_from_slice(&digest.as_ref()[..8]);
        // 53 bits are what a float between 0 and 1 can hold.
        (u64::from_be_bytes(high) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::eligible::Effective;
    use super::*;
    use crate::names::{Arm, PerArm, Split};

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn sources() -> Vec<PrincipalSource> {
        let key = "x-api-key".parse().unwrap();
        vec![
            PrincipalSource::Authorization,
            PrincipalSource::Header(key),
            PrincipalSource::ClientAddress,
        ]
    }

    fn point(headers: &[(&str, String)], client: IpAddr) -> f64 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        Salt::new(b"salt").point(&sources(), &map, client).unwrap()
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "equal keys give the very same point")]
    fn the_first_source_decides() {
        let token = ("authorization", "Bearer a".to_owned());
        let key = ("x-api-key", "a".to_owned());
        let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(point(&[token.clone(), key.clone()], HOME), point(&[token], other));
        assert_eq!(point(std::slice::from_ref(&key), HOME), point(&[key], other));
        assert_ne!(point(&[], HOME), point(&[], other));
        assert!(Salt::new(b"salt").point(&[], &HeaderMap::new(), HOME).is_none());
    }

    #[test]
    fn shares_follow_weights_and_a_raise_moves_nobody_back() {
        let points: Vec<f64> = (0..10_000)
            .map(|caller| point(&[("authorization", format!("Bearer {caller}"))], HOME))
            .collect();
        let on = |weight: u8| {
            let split = Split::new(100 - weight, weight).unwrap();
            let healthy = PerArm { primary: 1.0, secondary: 1.0 };
            let share = Effective::new(split, &healthy, Arm::Primary);
            points.iter().map(|&at| share.arm_at(at) == Arm::Secondary).collect::<Vec<_>>()
        };
        let (ten, fifty) = (on(10), on(50));
        let share = |arms: &[bool]| arms.iter().filter(|&&secondary| secondary).count();
        assert!((900..1100).contains(&share(&ten)), "{}", share(&ten));
        assert!((4800..5200).contains(&share(&fifty)), "{}", share(&fifty));
        assert!(ten.iter().zip(&fifty).all(|(before, after)| !before || *after));
    }
}
