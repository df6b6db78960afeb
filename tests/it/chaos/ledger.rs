//! What went wrong, what was done to the servers, and whether the one explains the other as the
//! documentation says.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::link::{Break, Wire};
use super::member::{Class, Fault};
use super::script::Manner;
use super::world::LOOK;

/// What a fault may still do after its end, and what a death does at its beginning to what is in
/// flight.
pub const SETTLE: Duration = Duration::from_secs(1);

/// When the last stream of a router that was replaced has ended, and its client has noticed:
/// `timeouts.drain_streams`, and a pause.
const DRAIN: Duration = Duration::from_secs(2);

/// How long after the end of its fault a server may still be judged down: the handshake that is
/// under way then (`health.timeout`, 2 s), and `health.healthy_after` (2) good ones, each after
/// `health.interval` and a tenth (550 ms) and itself a second long on a busy machine.
const RECOVERY: Duration = Duration::from_millis(2_000 + 2 * (550 + 1_000));

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// `initialize` and `server/discover`, which any server may answer.
    Opening,
    /// A list, outside of sessions.
    List,
    /// Anything else outside of sessions: calls, and streams of HTTP+SSE.
    Call,
    /// Anything in a session.
    Bound,
    /// An event stream.
    Stream,
    /// A call of an application on a released SDK.
    Real,
}

/// How a client fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// There was no connection to the router.
    Unconnected(String),
    /// It ended before an answer.
    Closed(String),
    /// It ended in the middle of one.
    Cut,
    /// A whole answer by the law of HTTP, and no message in it.
    Half(String),
    /// Nothing came for longer than anything may take.
    Silent,
    /// An error of the router's own.
    Ours(u16, String),
    /// An error of the server's.
    Theirs(u16, String),
    /// What an SDK makes of any of these.
    Told(String),
}

/// Reasons that a server's fault may have; all others would be our clients' fault.
const REASONS: [&str; 4] =
    ["server_unreachable", "server_closed_connection", "server_timeout", "bad_answer"];

/// Something that a client did not get.
#[derive(Clone, Debug)]
pub struct Failure {
    pub work: Work,
    /// The id of the request, which is in the router's log too.
    pub request: String,
    /// Whom it was for, if that is certain.
    pub server: Option<&'static str>,
    /// Since when it knows that server.
    pub since: Instant,
    /// Its way led over the wire that is made worse.
    pub is_far: bool,
    pub failed: Failed,
    pub began: Instant,
    pub ended: Instant,
}

/// Where something is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    Server(&'static str, Fault),
    /// A server gets no new work by a decision of the router's, which tells so: its arm is shut, or
    /// it is out for a while since its calls failed (`health.eject_after`).
    LeftOut(&'static str),
    /// Between some of the clients and the router.
    Clients,
    /// The router is killed, and started again.
    Killed,
    /// It is asked to end, and started again.
    Stopped,
    /// Another process takes over from it.
    Upgraded,
}

#[derive(Clone, Copy, Debug)]
struct Trouble {
    place: Place,
    from: Instant,
    to: Option<Instant>,
}

#[derive(Default)]
struct Book {
    troubles: Vec<Trouble>,
    failures: Vec<Failure>,
    wrong: Vec<String>,
    answered: BTreeMap<Work, u64>,
    done: BTreeMap<String, u64>,
    story: Vec<String>,
}

pub struct Ledger {
    begin: Instant,
    servers: Vec<&'static str>,
    book: RefCell<Book>,
}

impl Ledger {
    pub fn new(servers: Vec<&'static str>) -> Ledger {
        Ledger { begin: Instant::now(), servers, book: RefCell::default() }
    }

    /// A line of what happened, with its time.
    pub fn tell(&self, what: impl AsRef<str>) {
        let line = format!("{:8.3} {}", self.begin.elapsed().as_secs_f64(), what.as_ref());
        self.book.borrow_mut().story.push(line);
    }

    /// Counts an action by its kind.
    pub fn count(&self, kind: &str) {
        *self.book.borrow_mut().done.entry(kind.to_owned()).or_default() += 1;
    }

    pub fn counted(&self, kind: &str) -> u64 {
        self.book.borrow().done.get(kind).copied().unwrap_or_default()
    }

    pub fn answered(&self, work: Work) {
        *self.book.borrow_mut().answered.entry(work).or_default() += 1;
    }

    pub fn failed(&self, failure: Failure) {
        self.book.borrow_mut().failures.push(failure);
    }

    /// What nothing can explain.
    pub fn wrong(&self, what: impl Into<String>) {
        let what = what.into();
        self.tell(format!("WRONG {what}"));
        self.book.borrow_mut().wrong.push(what);
    }

    /// Something is wrong from now on; gives what ends it.
    pub fn begin(&self, place: Place) -> usize {
        self.tell(format!("{place:?}"));
        let mut book = self.book.borrow_mut();
        book.troubles.push(Trouble { place, from: Instant::now(), to: None });
        book.troubles.len() - 1
    }

    pub fn end(&self, number: usize) {
        let mut book = self.book.borrow_mut();
        book.troubles[number].to = Some(Instant::now());
        let place = book.troubles[number].place;
        drop(book);
        self.tell(format!("      over: {place:?}"));
    }

    /// Exchanges that failed on the far side of the router, as clients saw it.
    pub fn failed_behind(&self) -> u64 {
        let book = self.book.borrow();
        let is_behind = |it: &&Failure| {
            use Failed::{Cut, Half, Ours, Theirs};
            let is_server = matches!(it.failed, Ours(..) | Cut | Half(_) | Theirs(..));
            is_server && !it.is_far && it.work != Work::Stream
        };
        book.failures.iter().filter(is_behind).count() as u64
    }

    /// Those that were not answered by the fault of a server, of whom the log has to say which.
    pub fn unknown(&self) -> HashSet<String> {
        let book = self.book.borrow();
        let unknown = book.failures.iter().filter(|it| it.server.is_none());
        unknown.map(|it| it.request.clone()).collect()
    }

    /// What was lost, with `known` from the log.
    pub fn lost(&self, known: &HashMap<String, &'static str>) -> Vec<String> {
        let book = self.book.borrow();
        let troubles = &book.troubles;
        let line = |it: &Failure| {
            let began = it.began.duration_since(self.begin).as_secs_f64();
            let ended = it.ended.duration_since(self.begin).as_secs_f64();
            format!("{began:.3} to {ended:.3}: {it:?}")
        };
        let mut lost = book.wrong.clone();
        for failure in &book.failures {
            let server = failure.server.or_else(|| known.get(&failure.request).copied());
            let failure = Failure { server, ..failure.clone() };
            let out = |server: &str| troubles.iter().any(|it| it.keeps_out(server, &failure));
            let fit: Vec<_> = self.servers.iter().copied().filter(|it| !out(it)).collect();
            if !troubles.iter().any(|trouble| trouble.explains(&failure, &fit)) {
                lost.push(line(&failure));
            }
        }
        lost
    }

    /// All figures, in a few lines.
    pub fn sums(&self) -> String {
        let book = self.book.borrow();
        let mut failures = BTreeMap::<_, u64>::new();
        for it in &book.failures {
            let failed = match &it.failed {
                Failed::Ours(_, reason) => reason.clone(),
                other => format!("{other:?}").split(['(', ' ']).next().unwrap().to_owned(),
            };
            *failures.entry((it.work, failed)).or_default() += 1;
        }
        let answers: u64 = book.answered.values().sum();
        let failed = book.failures.len();
        format!(
            "done: {:?}\n{answers} answers: {:?}\n{failed} failures: {failures:?}",
            book.done, book.answered
        )
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what was done\n{}", self.book.borrow().story.join("\n"));
        }
    }
}

impl Trouble {
    /// Whether it explains this, while these servers were fit to take over what another one fails.
    fn explains(&self, failure: &Failure, fit: &[&str]) -> bool {
        let is_drained = matches!(self.place, Place::Stopped | Place::Upgraded);
        let is_stream = is_drained && failure.work == Work::Stream;
        let to = self.to.map(|to| to + if is_stream { DRAIN } else { SETTLE });
        let overlaps =
            |began: Instant| self.from <= failure.ended && to.is_none_or(|to| began <= to);
        if !overlaps(failure.began) {
            // A session that its server has forgotten.
            let Place::Server(server, fault) = self.place else { return false };
            let forgot = matches!(failure.failed, Failed::Theirs(404, _) | Failed::Told(_))
                && (fault == Fault::Dead && overlaps(failure.since));
            return forgot && failure.server == Some(server);
        }
        match self.place {
            Place::Server(server, fault) => {
                let is_there = failure.server.is_none_or(|it| it == server);
                is_there && self.may(fault, failure, fit.iter().any(|it| *it != server))
            }
            Place::LeftOut(_) => false,
            Place::Clients => {
                failure.is_far && !matches!(failure.failed, Failed::Ours(..) | Failed::Half(_))
            }
            Place::Killed => !matches!(failure.failed, Failed::Ours(..) | Failed::Half(_)),
            Place::Stopped => {
                let is_new = failure.began + Duration::from_millis(50) >= self.from;
                let is_shut = matches!(failure.failed, Failed::Unconnected(_) | Failed::Closed(_));
                let is_anything = matches!(failure.work, Work::Stream | Work::Real);
                is_anything || (is_new && is_shut)
            }
            // Streams end, so that their clients come back.
            Place::Upgraded => failure.work == Work::Stream,
        }
    }

    /// Whether the router had no reason to send this to a server, since it was or had just been
    /// found down, or may not get new work. To hope for such a one could cost the client minutes.
    fn keeps_out(&self, server: &str, failure: &Failure) -> bool {
        let (name, before, after) = match self.place {
            Place::Server(name, fault) if fault.takes_down() => (name, Duration::ZERO, RECOVERY),
            Place::LeftOut(name) => (name, 2 * LOOK, 2 * LOOK),
            _ => return false,
        };
        let is_over = self.to.is_some_and(|to| to + after < failure.began);
        name == server && self.from <= failure.ended + before && !is_over
    }

    /// Whether a fault of its server may come to that; `elsewhere`: another one could have done it.
    fn may(&self, fault: Fault, failure: &Failure, elsewhere: bool) -> bool {
        let is_said_so = match &failure.failed {
            Failed::Half(_) => fault.lies(),
            Failed::Unconnected(_) => false,
            // A stream may be silent for ever.
            Failed::Silent => failure.work == Work::Stream,
            Failed::Ours(_, reason) => REASONS.contains(&reason.as_str()),
            // What is cut may be cut before its head has left the router.
            Failed::Cut | Failed::Closed(_) | Failed::Theirs(..) | Failed::Told(_) => true,
        };
        let in_flight = failure.began <= self.from + SETTLE;
        let made_good = match (failure.work, fault.class()) {
            (Work::Bound | Work::Stream | Work::Real, _) | (_, Class::Hard) => false,
            (_, Class::Refuses) => !in_flight,
            (work, Class::Loses) => work != Work::Call,
            (work, Class::Fails) => work == Work::Opening,
        };
        is_said_so && !(made_good && elsewhere)
    }
}

/// What a minute of these troubles leaves of a failure, a minute after they began.
fn is_explained(troubles: &[Trouble], now: Instant, failure: (&'static str, Work, Failed)) -> bool {
    let ledger = Ledger::new(vec!["p1", "p2"]);
    let (server, work, failed) = failure;
    ledger.book.borrow_mut().troubles = troubles.to_vec();
    let (request, server) = (String::new(), Some(server));
    let (since, began, ended, is_far) = (now, now, now, false);
    ledger.failed(Failure { work, request, server, since, is_far, failed, began, ended });
    ledger.lost(&HashMap::new()).is_empty()
}

fn ours() -> Failed {
    Failed::Ours(503, "server_unreachable".to_owned())
}

#[test]
fn what_is_promised_is_explained_by_nothing() {
    let fails = Fault::Manner(Manner::Fails);
    let lies = Fault::Manner(Manner::HalfMessage);
    for (fault, server, work, failed, expected) in [
        (Fault::Dead, "p1", Work::Bound, ours(), true),
        (Fault::Dead, "p2", Work::Bound, ours(), false),
        (Fault::Dead, "p1", Work::Opening, ours(), false),
        (Fault::Dead, "p1", Work::Call, ours(), false),
        (Fault::Dead, "p1", Work::Bound, Failed::Ours(503, "overloaded".to_owned()), false),
        (Fault::Dead, "p1", Work::Bound, Failed::Unconnected(String::new()), false),
        (Fault::Frozen, "p1", Work::Opening, ours(), true),
        (fails, "p1", Work::Opening, ours(), false),
        (fails, "p1", Work::List, ours(), true),
        (Fault::Wire(Wire::Broken(0, Break::Close)), "p1", Work::List, ours(), false),
        (Fault::Wire(Wire::Broken(0, Break::Close)), "p1", Work::Call, ours(), true),
        (Fault::Wire(Wire::Broken(9, Break::Close)), "p1", Work::Opening, Failed::Cut, true),
        (Fault::Frozen, "p1", Work::Bound, Failed::Half(String::new()), false),
        (lies, "p1", Work::Bound, Failed::Half(String::new()), true),
    ] {
        let now = Instant::now() + Duration::from_secs(60);
        let trouble =
            Trouble { place: Place::Server("p1", fault), from: now - 60 * SETTLE, to: None };
        let told = is_explained(&[trouble], now, (server, work, failed.clone()));
        assert_eq!(told, expected, "{fault:?} of p1, {work:?} of {server}, {failed:?}");
    }
}

#[test]
fn only_a_server_that_is_fit_can_take_over() {
    let late = |millis| Fault::Wire(Wire::Late(Duration::from_millis(millis)));
    let server = |fault| Place::Server("p2", fault);
    let ages = 3600;
    for (place, from, to, expected) in [
        // Milliseconds before the failure.
        (server(Fault::Frozen), 60_000, -1, true),
        (server(Fault::Frozen), 60_000, 3_000, true),
        (server(Fault::Frozen), 60_000, 5_000, true),
        (server(Fault::Frozen), 60_000, 5_200, false),
        // It begins afterwards.
        (server(Fault::Dead), -10, -20, false),
        (server(late(350)), 60_000, -1, true),
        (server(late(50)), 60_000, -1, false),
        (server(Fault::Wire(Wire::Narrow(40_000))), 60_000, -1, false),
        (Place::LeftOut("p2"), 60_000, -1, true),
        (Place::LeftOut("p2"), 60_000, 1_000, false),
        (Place::LeftOut("p1"), 60_000, -1, false),
        (Place::Clients, 60_000, -1, false),
    ] {
        let now = Instant::now() + Duration::from_secs(ages);
        let at = |millis: i64| {
            let by = Duration::from_millis(millis.unsigned_abs());
            if millis < 0 { now + by } else { now - by }
        };
        let fails = Place::Server("p1", Fault::Manner(Manner::Fails));
        let fails = Trouble { place: fails, from: at(60_000), to: None };
        let other = Trouble { place, from: at(from), to: Some(at(to)) };
        let failed = Failed::Theirs(500, String::new());
        let told = is_explained(&[fails, other], now, ("p1", Work::Opening, failed));
        assert_eq!(told, expected, "{place:?} from {from} to {to}");
    }
}
