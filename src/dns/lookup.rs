//! One name, looked up by the system.
//!
//! The system's look-up blocks a thread, for half a minute if no name server answers. So there is
//! never more than one under way for a name, however many wait for it; and one that came to nothing
//! is not repeated for each request of a storm. Does not know: what the addresses are for.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long a failure stands for the answer.
const FAILURE_KEPT: Duration = Duration::from_secs(1);

/// What a look-up has found: at least one address, in the system's order of preference.
pub type Answer = Result<Vec<IpAddr>, NoAddress>;

/// Why there is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// The system says so.
    #[error("{0}")]
    Failed(Arc<str>),
    /// It did not say anything in time.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// Nobody has asked.
    #[error("not looked up yet")]
    NotYet,
}

/// A name and its look-up, shared by all who wait for it.
#[derive(Clone, Debug)]
pub struct Lookup(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    host: String,
    ask: fn(&str) -> Answer,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    under_way: Option<watch::Receiver<Option<Answer>>>,
    failed: Option<(Instant, NoAddress)>,
}

impl Lookup {
    /// Of a host, by the system.
    pub fn new(host: &str) -> Lookup {
        Lookup::with(host, system)
    }

    fn with(host: &str, ask: fn(&str) -> Answer) -> Lookup {
        Lookup(Arc::new(Shared { host: host.to_owned(), ask, state: Mutex::default() }))
    }

    /// Its addresses now, for as long as the caller waits.
    ///
    /// # Errors
    /// When it has none, or had none a moment ago.
    pub async fn addresses(&self) -> Answer {
        let mut answer = self.begin()?;
        match answer.wait_for(Option::is_some).await {
            Ok(found) => found.clone().expect("it was waited for"),
            // The worker whose thread it was has stopped.
            Err(_) => Err(NoAddress::NotYet),
        }
    }

    /// Joins the look-up that is under way, or begins one.
    fn begin(&self) -> Result<watch::Receiver<Option<Answer>>, NoAddress> {
        let mut state = self.0.lock();
        if let Some((at, why)) = &state.failed
            && at.elapsed() < FAILURE_KEPT
        {
            return Err(why.clone());
        }
        if let Some(answer) = state.under_way.as_ref().filter(|it| it.has_changed().is_ok()) {
            return Ok(answer.clone());
        }
        let (told, answer) = watch::channel(None);
        state.under_way = Some(answer.clone());
        let shared = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            let answer = (shared.ask)(&shared.host);
            let mut state = shared.lock();
            state.under_way = None;
            state.failed = answer.as_ref().err().map(|why| (Instant::now(), why.clone()));
            drop(state);
            told.send_replace(Some(answer));
        });
        Ok(answer)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every state is whole between two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn system(host: &str) -> Answer {
    let failed = |why: &str| NoAddress::Failed(Arc::from(why));
    let found = (host, 0).to_socket_addrs().map_err(|error| {
        let text = error.to_string();
        // What every such error of the standard library begins with says nothing.
        failed(text.strip_prefix("failed to lookup address information: ").unwrap_or(&text))
    })?;
    let mut addresses = Vec::new();
    for address in found.map(|it| it.ip()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(failed("the name has none")) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static ASKED: AtomicUsize = AtomicUsize::new(0);

    fn fails(_: &str) -> Answer {
        ASKED.fetch_add(1, Ordering::Relaxed);
        Err(NoAddress::Failed("no such name".into()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_asks_once() {
        let lookup = Lookup::with("x", fails);
        let all: Vec<_> = (0..100)
            .map(|_| {
                let lookup = lookup.clone();
                tokio::spawn(async move { lookup.addresses().await })
            })
            .collect();
        for waits in all {
            assert_eq!(waits.await.unwrap().unwrap_err().to_string(), "no such name");
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);
        assert!(lookup.addresses().await.is_err());
        assert_eq!(ASKED.load(Ordering::Relaxed), 1, "the failure is known");
        tokio::time::advance(FAILURE_KEPT).await;
        assert!(lookup.addresses().await.is_err());
        assert_eq!(ASKED.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn the_system_is_asked() {
        let found = Lookup::new("127.0.0.1").addresses().await;
        assert_eq!(found, Ok(vec!["127.0.0.1".parse().unwrap()]));
        let none = Lookup::new("no-such-name.invalid").addresses().await.unwrap_err();
        assert!(!none.to_string().contains("lookup"), "{none}");
    }
}
