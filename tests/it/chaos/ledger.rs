//! What went wrong, what was done to the servers, and whether the one explains the other as the
//! documentation says.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::link::{Break, Wire};
use super::member::{Class, Fault};
use super::script::Manner;

/// What a fault may still do after its end, and what a death does at its beginning to what is in
/// flight.
pub const SETTLE: Duration = Duration::from_secs(1);

/// When the last stream of a router that was replaced has ended, and its client has noticed:
/// `timeouts.drain_streams`, and a pause.
const DRAIN: Duration = Duration::from_secs(2);

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
    book: RefCell<Book>,
}

impl Ledger {
    pub fn new() -> Ledger {
        Ledger { begin: Instant::now(), book: RefCell::default() }
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
        let line = |it: &Failure| {
            let began = it.began.duration_since(self.begin).as_secs_f64();
            let ended = it.ended.duration_since(self.begin).as_secs_f64();
            format!("{began:.3} to {ended:.3}: {it:?}")
        };
        let mut lost = book.wrong.clone();
        for failure in &book.failures {
            let server = failure.server.or_else(|| known.get(&failure.request).copied());
            let failure = Failure { server, ..failure.clone() };
            if !book.troubles.iter().any(|trouble| trouble.explains(&failure)) {
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
    fn explains(&self, failure: &Failure) -> bool {
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
                is_there && self.may(fault, failure)
            }
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

    /// Whether a fault of its server may come to that.
    fn may(&self, fault: Fault, failure: &Failure) -> bool {
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
        is_said_so && !made_good
    }
}

/// Whether this failure is explained while `p1` has this fault for two minutes, a minute after its
/// beginning.
fn is_explained(fault: Fault, server: &'static str, work: Work, failed: Failed) -> bool {
    let now = Instant::now();
    let minute = Duration::from_secs(60);
    let place = Place::Server("p1", fault);
    let trouble = Trouble { place, from: now, to: Some(now + 2 * minute) };
    let (began, ended, request) = (now + minute, now + minute, String::new());
    let server = Some(server);
    let failure =
        Failure { work, request, server, since: began, is_far: false, failed, began, ended };
    trouble.explains(&failure)
}

#[test]
fn what_is_promised_is_explained_by_nothing() {
    let ours = || Failed::Ours(503, "server_unreachable".to_owned());
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
        let told = is_explained(fault, server, work, failed.clone());
        assert_eq!(told, expected, "{fault:?} of p1, {work:?} of {server}, {failed:?}");
    }
}
