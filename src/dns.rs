//! Names: which addresses they have now, and the endpoints that they stand for.
//!
//! They are looked up by the system, so that `/etc/hosts`, `nsswitch.conf` and resolvers hold here
//! as for everybody else. Does not know: connections, routing, who asks.

pub mod known;

pub mod lookup;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::names::EndpointUrl;

pub use known::{Known, Place};
pub use lookup::{Answer, Lookup, NoAddress};

/// What a name may take at the start, and for a command that cannot wait.
pub const LOOK_MAX: Duration = Duration::from_secs(2);

/// The look-ups of the names in a configuration, from one round to the next: what hangs in one is
/// waited for in the next, and not asked again.
#[derive(Debug, Default)]
pub struct Lookups(BTreeMap<String, Lookup>);

impl Lookups {
    /// Those of the names among these endpoints; others are forgotten.
    pub fn of<'a>(&mut self, urls: impl IntoIterator<Item = &'a EndpointUrl>) -> Vec<Asked> {
        let mut old = std::mem::take(&mut self.0);
        for url in urls.into_iter().filter(|url| url.is_name()) {
            let name = url.authority();
            let lookup = old.remove(&name).unwrap_or_else(|| Lookup::new(url.host()));
            self.0.entry(name).or_insert(lookup);
        }
        self.0.iter().map(|(name, lookup)| (name.clone(), lookup.clone())).collect()
    }
}

/// A name, as `host:port`, and its look-up.
pub type Asked = (String, Lookup);

/// Looks all of them up at once, each within this time.
pub async fn look_up(asked: Vec<Asked>, limit: Duration) -> BTreeMap<String, Answer> {
    let mut all: JoinSet<_> = asked
        .into_iter()
        .map(|(name, lookup)| async move {
            let answer = tokio::time::timeout(limit, lookup.addresses()).await;
            (name, answer.unwrap_or(Err(NoAddress::Timeout(limit))))
        })
        .collect();
    let mut answers = BTreeMap::new();
    while let Some(joined) = all.join_next().await {
        // One that broke down is like one that was not asked.
        answers.extend(joined);
    }
    answers
}

/// What the names among these endpoints stand for, for a command without a router.
pub async fn once<'a>(urls: impl IntoIterator<Item = &'a EndpointUrl>) -> Known {
    let mut known = Known::default();
    let answers = look_up(Lookups::default().of(urls), LOOK_MAX).await;
    known.learn(&answers, tokio::time::Instant::now());
    known
}
