//! Who is examined and how: an endpoint, and everything of the configuration that a handshake with
//! it depends on.
//!
//! The same `Host`, path and headers as real traffic: a server that lets only `127.0.0.1` in would
//! look well while every client is refused. Does not know: what the answers mean.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use crate::config::{Config, Health, HostPolicy};
use crate::dns::Known;
use crate::names::{Arm, PerArm};
use crate::route::Endpoint;

/// An endpoint to be examined.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Where it is.
    pub endpoint: Arc<Endpoint>,
    /// How it is asked.
    pub settings: Arc<Settings>,
}

/// How an endpoint is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Intervals, thresholds, expectations.
    pub health: Health,
    /// The `Host` that real traffic has.
    pub host: HeaderValue,
    /// The path of the HTTP+SSE stream.
    pub sse_path: String,
    /// Headers that the arm's requests have.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// To connect.
    pub connect: Duration,
}

impl Subject {
    /// An endpoint under a configuration.
    pub fn new(endpoint: &Arc<Endpoint>, config: &Config) -> Subject {
        let settings = Settings {
            health: config.health.clone(),
            host: host(config, endpoint),
            sse_path: config.sse_path.clone(),
            headers: config.arms.get(endpoint.arm).headers.clone(),
            connect: config.timeouts.connect,
        };
        Subject { endpoint: Arc::clone(endpoint), settings: Arc::new(settings) }
    }

    /// The same endpoint, asked in another way.
    #[must_use]
    pub fn with(&self, change: impl FnOnce(&mut Settings)) -> Subject {
        let mut settings = Settings::clone(&self.settings);
        change(&mut settings);
        Subject { endpoint: Arc::clone(&self.endpoint), settings: Arc::new(settings) }
    }

    /// Every endpoint of a configuration, where there is no router that has them.
    pub fn all(config: &Config, known: &Known) -> PerArm<Vec<Subject>> {
        PerArm::from_fn(|arm: Arm| {
            let settings = config.arms.get(arm);
            let places = known.places(&settings.endpoints).serving;
            let endpoint = |place| Arc::new(Endpoint::at(arm, place, &settings.tls));
            places.iter().map(|place| Subject::new(&endpoint(place), config)).collect()
        })
    }
}

impl Settings {
    /// Whether requests carry an `Authorization`.
    pub fn sends_token(&self) -> bool {
        self.health.token.is_some() || self.headers.iter().any(|(name, _)| name == AUTHORIZATION)
    }
}

/// The `Host` that a server sees from real clients, as far as one can tell.
fn host(config: &Config, endpoint: &Endpoint) -> HeaderValue {
    let of_clients = || {
        let origin = config.public_origin.as_deref();
        let public = origin.and_then(|it| it.split_once("://")).map(|(_, it)| it.to_owned());
        let named = |it: &&SocketAddr| !it.ip().is_unspecified() && it.port() != 0;
        let listen = || config.listen.iter().find(named).map(ToString::to_string);
        HeaderValue::try_from(public.or_else(listen)?).ok()
    };
    let host = match &config.host {
        HostPolicy::Fixed(host) => Some(host.clone()),
        HostPolicy::Upstream => None,
        HostPolicy::Preserve => config.health.host.clone().or_else(of_clients),
    };
    host.unwrap_or_else(|| endpoint.authority.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Environment};

    type Change = fn(&mut Config);

    #[test]
    fn the_host_is_that_of_real_traffic() {
        let value = HeaderValue::from_static;
        let cases: [(&str, Change); 7] = [
            ("127.0.0.1:8080", |_| {}),
            ("mcp.example.com", |it| it.public_origin = Some("https://mcp.example.com".into())),
            ("10.0.0.1:80", |it| {
                it.listen = ["0.0.0.0:80", "10.0.0.1:80"].map(|at| at.parse().unwrap()).into();
            }),
            ("127.0.0.1:3000", |it| it.listen = vec!["[::]:80".parse().unwrap()]),
            ("127.0.0.1:3000", |it| it.host = HostPolicy::Upstream),
            ("fixed.example", |it| {
                it.health.host = Some(HeaderValue::from_static("other.example"));
                it.host = HostPolicy::Fixed(HeaderValue::from_static("fixed.example"));
            }),
            ("own.example", |it| {
                it.health.host = Some(HeaderValue::from_static("own.example"));
                it.public_origin = Some("https://mcp.example.com".into());
            }),
        ];
        for (host, change) in cases {
            let mut config = config::load(None, None, &Environment::default()).unwrap();
            change(&mut config);
            assert_eq!(
                Subject::all(&config, &Known::default()).primary[0].settings.host,
                value(host)
            );
        }
    }
}
