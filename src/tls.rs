//! TLS on both sides: certificates with their keys, what a listener shows and asks for, what a
//! server has to show us.
//!
//! Values that are already true: what cannot work is found out when they are made, from files, and
//! not at the first handshake. They are immutable; files that have changed make new ones. Does not
//! know: the configuration's keys, who connects.

pub mod name;

pub mod identity;

pub mod server;

pub mod client;

pub mod fault;

pub mod stream;

use std::sync::Arc;

use tokio_rustls::rustls::SupportedProtocolVersion;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::version::{TLS12, TLS13};

/// A version of TLS, the least that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Version {
    /// TLS 1.2 (RFC 5246) and later.
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446) only.
    Tls13,
}

impl Version {
    fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        match self {
            Version::Tls12 => &ALL,
            Version::Tls13 => &ALL[..1],
        }
    }
}

/// Where algorithms come from.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
