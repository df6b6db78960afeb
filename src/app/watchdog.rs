//! Tells the service manager that the router is alive, and only after it has shown that: every
//! worker has handed over its counts, the admin socket has answered, each address of clients has
//! taken a connection. Whoever hears nothing starts us anew.
//!
//! Does not know: how a manager is told, how the signs of life come about.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::Method;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::admin::client::ask;
use crate::plane::Plane;
use crate::supervisor::Message;

/// A question that costs nothing: whether something has happened after everything that can have.
const QUESTION: &str = "/v1/events?after=18446744073709551615";

/// Feeds the watchdog, whose patience ends after `limit`, for as long as the router is alive.
pub(super) async fn run(plane: Rc<Plane>, limit: Duration) {
    let look = async |since| look(&plane, since, limit / 4).await;
    feed(limit, look, || plane.supervisor().tell(&[Message::Watchdog])).await;
}

/// Feeds when half of the time is over and there are signs of life since the last time. Where they
/// are missing they are looked for again soon, so that one that came late is no death.
async fn feed(limit: Duration, look: impl AsyncFn(Instant) -> Result<(), String>, feed: impl Fn()) {
    let mut last = Instant::now();
    let mut complained: Option<String> = None;
    loop {
        let began = Instant::now();
        match look(last).await {
            Ok(()) => {
                feed();
                if complained.take().is_some() {
                    tracing::info!("watchdog: everything is alive again");
                }
                last = Instant::now();
                tokio::time::sleep_until(began + limit / 2).await;
            }
            Err(why) => {
                if complained.as_ref() != Some(&why) {
                    let limit = humantime::format_duration(limit);
                    tracing::error!(
                        "watchdog: {why}; unless that ends, the service manager starts the router anew after {limit} of it"
                    );
                }
                complained = Some(why);
                tokio::time::sleep(limit / 16).await;
            }
        }
    }
}

/// Looks for all signs of life; each may take so long.
async fn look(plane: &Plane, since: Instant, most: Duration) -> Result<(), String> {
    // A round of our own, unless one is under way. The silence of whoever misses it is seen below.
    let _ = timeout(most, plane.collect()).await;
    let silent = plane.silent_workers(since);
    if !silent.is_empty() {
        let names: Vec<_> = silent.iter().map(|number| format!("worker-{number}")).collect();
        return Err(format!("no sign of life from {}", names.join(", ")));
    }
    let table = plane.table();
    let socket = &table.config.admin.socket;
    let asked = timeout(most, ask::<IgnoredAny>(socket, Method::GET, QUESTION, &json!({}))).await;
    let answered = asked.map_err(|_| late(most)).and_then(|it| it.map_err(|it| it.to_string()));
    answered.map_err(|why| format!("the admin socket {}: {why}", socket.display()))?;
    for &address in &plane.listen {
        let knocked = timeout(most, knock(address)).await;
        let knocked =
            knocked.map_err(|_| late(most)).and_then(|it| it.map_err(|it| it.to_string()));
        knocked.map_err(|why| format!("clients cannot connect to {address}: {why}"))?;
    }
    Ok(())
}

fn late(most: Duration) -> String {
    format!("no answer within {}", humantime::format_duration(most))
}

/// Connects and says nothing. Whoever has accepted that closes, with TLS or without; a connection
/// that is shed is closed as well, with a word or by a reset.
async fn knock(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let closed = async {
        stream.shutdown().await?;
        stream.read(&mut [0]).await
    };
    match closed.await {
        Err(error) if !is_by_the_peer(&error) => Err(error),
        _ => Ok(()),
    }
}

/// The peer was there, and has gone.
fn is_by_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(16);

    /// When it was fed within 59 seconds, by signs of life that take so long and are
    /// missing meanwhile.
    async fn fed(takes: u64, missing: std::ops::Range<u64>) -> Vec<u64> {
        let (start, asked) = (Instant::now(), Cell::new(0));
        let fed = RefCell::new(Vec::new());
        let look = async |since: Instant| {
            assert!(since <= Instant::now());
            asked.set(asked.get() + 1);
            tokio::time::sleep(Duration::from_secs(takes)).await;
            let is_missing = missing.contains(&start.elapsed().as_secs());
            if is_missing { Err("gone".to_owned()) } else { Ok(()) }
        };
        let one = || fed.borrow_mut().push(start.elapsed().as_secs());
        let _ = timeout(Duration::from_secs(59), feed(LIMIT, look, one)).await;
        assert!(asked.get() < 80, "{} times", asked.get());
        fed.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_fed_while_there_are_signs_of_life() {
        for (takes, missing, expected) in [
            (0, 0..0, vec![0, 8, 16, 24, 32, 40, 48, 56]),
            (4, 0..0, vec![4, 12, 20, 28, 36, 44, 52]),
            (0, 0..100, vec![]),
            (0, 9..18, vec![0, 8, 18, 26, 34, 42, 50, 58]),
            (0, 30..100, vec![0, 8, 16, 24]),
        ] {
            assert_eq!(fed(takes, missing.clone()).await, expected, "{takes} {missing:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_accepts_is_alive_whatever_it_says() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let silent = timeout(LIMIT, knock(at)).await;
        assert!(silent.is_err(), "the system accepts, and nobody else");
        let (first, _) = listener.accept().await.unwrap();
        drop(first);
        for word in [None, Some(&b"HTTP/1.1 503 Busy\r\n\r\n"[..]), Some(b"")] {
            let host = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                match word {
                    None => stream.set_zero_linger().unwrap(),
                    Some(word) => stream.write_all(word).await.unwrap(),
                }
            };
            let ((), knocked) = tokio::join!(host, knock(at));
            assert!(knocked.is_ok(), "{word:?} {knocked:?}");
        }
        drop(listener);
        assert_eq!(knock(at).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
