//! One prober: the handshakes with one endpoint, again and again.
//!
//! Dropping it is all that it takes to stop it. Does not know: other endpoints, who listens.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::route::Endpoint;

use super::handshake::{self, Memory, Probe};
use super::state::{Standing, State};
use super::subject::Subject;

/// How long a suspicion, or its repetition, waits for the next handshake at most.
const QUICK: Duration = Duration::from_millis(200);

/// How far an interval is stretched or shortened, so that many probers do not march in step.
const JITTER: f64 = 0.1;

/// What a prober tells after each handshake.
#[derive(Debug)]
pub struct Report {
    /// What was found.
    pub probe: Rc<Probe>,
    /// What it means.
    pub state: State,
    /// Whether the standing is another one now.
    pub changed: bool,
}

/// Makes handshakes until it is dropped, the first at once; from `state` on. Returns where the
/// configuration switches them off. Needs a `LocalSet`.
pub async fn run(subject: Subject, mut state: State, report: impl Fn(Report)) {
    let health = &subject.settings.health;
    let Some(interval) = health.interval else { return };
    let mut memory = Memory::default();
    loop {
        let probe = handshake::probe(&subject, &mut memory).await;
        let changed = state.record(probe.verdict.is_up(), health, Instant::now());
        report(Report { probe: Rc::new(probe), state, changed });
        rest(&subject.endpoint, &mut state, interval).await;
    }
}

/// Waits for the next handshake's time: sooner while real traffic meets faults, but never more
/// often than once in [`QUICK`] for that.
async fn rest(endpoint: &Endpoint, state: &mut State, interval: Duration) {
    let soonest = Instant::now() + interval.min(QUICK);
    if state.is_suspect() {
        return sleep_until(soonest).await;
    }
    let regular = sleep(interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * rand::random::<f64>()));
    if state.standing() == Standing::Down {
        return regular.await;
    }
    tokio::select! {
        () = regular => {}
        () = endpoint.suspected() => {
            state.suspect();
            sleep_until(soonest).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::Notify;
    use tokio::task::LocalSet;

    use super::*;
    use crate::config::{self, Environment};
    use crate::names::Arm;

    /// A legacy server that never lists its tools. It tells of each method that it is asked.
    async fn server(seen: Rc<RefCell<Vec<String>>>, news: Rc<Notify>) -> Subject {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap()).parse().unwrap();
        tokio::task::spawn_local(async move {
            let mut open = Vec::new();
            loop {
                let mut stream = listener.accept().await.unwrap().0;
                let mut bytes = vec![0; 4096];
                let read = stream.read(&mut bytes).await.unwrap();
                let request = String::from_utf8_lossy(&bytes[..read]).into_owned();
                let known =
                    ["DELETE", "server/discover", "\"initialize\"", "initialized", "tools/list"];
                let asked = known.into_iter().find(|it| request.contains(it)).unwrap_or_default();
                let result = r#"{"id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}}}}"#;
                let (status, body) = match asked {
                    "server/discover" => (400, ""),
                    "\"initialize\"" => (200, result),
                    _ => (202, ""),
                };
                if asked != "tools/list" {
                    let answer = format!(
                        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n\
                         mcp-session-id: s\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
                seen.borrow_mut().push(asked.to_owned());
                news.notify_one();
                open.push(stream);
            }
        });
        let config = config::load(None, None, &Environment::default()).unwrap();
        Subject::new(
            &Arc::new(Endpoint::new(Arm::Primary, &url, &config.arms.primary.tls)),
            &config,
        )
    }

    async fn asked(seen: &RefCell<Vec<String>>, news: &Notify, method: &str) {
        let wait = async {
            while !seen.borrow().iter().any(|it| it == method) {
                news.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect(method);
    }

    #[tokio::test]
    async fn a_session_is_ended_when_its_prober_is_stopped() {
        let test = async {
            let (seen, news) = (Rc::default(), Rc::new(Notify::new()));
            let subject = server(Rc::clone(&seen), Rc::clone(&news)).await;
            let prober = tokio::task::spawn_local(run(subject, State::default(), |_| ()));
            asked(&seen, &news, "tools/list").await;
            prober.abort();
            asked(&seen, &news, "DELETE").await;
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn the_end_of_everything_is_no_panic() {
        let local = LocalSet::new();
        let (seen, news) = (Rc::default(), Rc::new(Notify::new()));
        let test = async {
            let subject = server(Rc::clone(&seen), Rc::clone(&news)).await;
            tokio::task::spawn_local(run(subject, State::default(), |_| ()));
            asked(&seen, &news, "tools/list").await;
        };
        local.run_until(test).await;
        drop(local);
    }
}
