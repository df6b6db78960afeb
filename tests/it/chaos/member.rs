//! A server of the run, scripted or real, behind a wire of its own: it dies, comes back, freezes
//! and forgets its manners.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use tidegate::names::Arm;

use super::link::{Break, Link, Wire};
use super::script::{Manner, Ran, script};
use crate::support::Server;
use crate::support::real::Lone;

/// A handshake at most: its requests, and the seconds that all it says would take at a byte a
/// second; what it takes by itself on a busy machine; and `health.timeout`.
const STEPS: u32 = 4;
const BYTES: Duration = Duration::from_secs(6_000);
const OWN: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(2);

/// What can be wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is gone.
    Dead,
    /// It is there and does nothing.
    Frozen,
    Wire(Wire),
    Manner(Manner),
}

/// What the documentation says that the router makes good, for work that is bound to no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Connections are refused: all of it.
    Refuses,
    /// Connections are lost before an answer's head: what may be asked twice.
    Loses,
    /// It says itself that it cannot: openings.
    Fails,
    /// All else: nothing.
    Hard,
}

/// How a fault is seen in the router's metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Handshakes fail.
    Verdict,
    /// Handshakes take at least so long.
    Time(Duration),
    Nothing,
}

impl Fault {
    pub fn class(self) -> Class {
        match self {
            Fault::Dead | Fault::Wire(Wire::Down) => Class::Refuses,
            Fault::Wire(Wire::Broken(0, Break::Close | Break::Reset)) => Class::Loses,
            Fault::Manner(Manner::Fails) => Class::Fails,
            _ => Class::Hard,
        }
    }

    pub fn shows(self) -> Shows {
        match self {
            Fault::Wire(Wire::Late(by)) | Fault::Manner(Manner::Slow(by)) => Shows::Time(by),
            Fault::Wire(Wire::Good | Wire::Narrow(_)) | Fault::Manner(Manner::Well) => {
                Shows::Nothing
            }
            _ => Shows::Verdict,
        }
    }

    /// Whether handshakes may fail by it: they have a time for all of their steps.
    pub fn takes_down(self) -> bool {
        let adds = match self {
            Fault::Wire(Wire::Late(by)) => 2 * STEPS * by,
            Fault::Manner(Manner::Slow(by)) => STEPS * by,
            Fault::Wire(Wire::Narrow(rate)) => BYTES / rate,
            Fault::Wire(Wire::Good) | Fault::Manner(Manner::Well) => Duration::ZERO,
            _ => return true,
        };
        adds + OWN > TIMEOUT
    }

    /// What is whole for HTTP may be half a message.
    pub fn lies(self) -> bool {
        self == Fault::Manner(Manner::HalfMessage)
    }
}

/// Where it runs.
enum House {
    Scripted(Option<Server>),
    Real(Box<Lone>),
}

pub struct Member {
    /// What it tells as its version.
    pub name: &'static str,
    pub arm: Arm,
    pub link: Link,
    /// Something is wrong with it at the moment.
    pub is_faulty: Cell<bool>,
    house: RefCell<House>,
    lives: Cell<u32>,
    manner: Arc<Mutex<Manner>>,
    ran: Ran,
}

impl Member {
    pub async fn scripted(name: &'static str, arm: Arm, ran: &Ran) -> Member {
        let manner = Arc::new(Mutex::new(Manner::Well));
        let server = Server::scripted(script(name, 0, Arc::clone(ran), Arc::clone(&manner))).await;
        let link = Link::to(server.address).await;
        Member::new(name, arm, link, House::Scripted(Some(server)), manner, ran)
    }

    /// A released server; `changes` name it.
    pub async fn real(
        server: &str,
        changes: &'static [(&'static str, &'static str)],
        arm: Arm,
        ran: &Ran,
    ) -> Member {
        let lone = Lone::start(server, changes).await;
        let name = changes.iter().find(|(key, _)| *key == "SERVER_VERSION").unwrap().1;
        let link = Link::to(lone.address).await;
        Member::new(name, arm, link, House::Real(Box::new(lone)), Arc::default(), ran)
    }

    fn new(
        name: &'static str,
        arm: Arm,
        link: Link,
        house: House,
        manner: Arc<Mutex<Manner>>,
        ran: &Ran,
    ) -> Member {
        Member {
            name,
            arm,
            link,
            is_faulty: Cell::new(false),
            house: RefCell::new(house),
            lives: Cell::new(0),
            manner,
            ran: Arc::clone(ran),
        }
    }

    pub fn is_real(&self) -> bool {
        matches!(*self.house.borrow(), House::Real(_))
    }

    pub fn begin(&self, fault: Fault) {
        match (fault, &mut *self.house.borrow_mut()) {
            (Fault::Dead, house) => {
                self.link.set(Wire::Down);
                match house {
                    House::Scripted(server) => *server = None,
                    House::Real(lone) => lone.process.kill(),
                }
            }
            (Fault::Frozen, House::Real(lone)) => lone.process.signal(Signal::SIGSTOP),
            (Fault::Frozen, House::Scripted(_)) => self.link.set(Wire::Silent),
            (Fault::Wire(wire), _) => self.link.set(wire),
            (Fault::Manner(manner), _) => *self.manner.lock().unwrap() = manner,
        }
    }

    pub async fn end(&self, fault: Fault) {
        if fault == Fault::Dead {
            self.revive().await;
        }
        if let (Fault::Frozen, House::Real(lone)) = (fault, &*self.house.borrow()) {
            lone.process.signal(Signal::SIGCONT);
        }
        *self.manner.lock().unwrap() = Manner::Well;
        self.link.set(Wire::Good);
    }

    /// Another process, which knows nothing of what the one before knew.
    async fn revive(&self) {
        self.lives.set(self.lives.get() + 1);
        // Nobody else looks at a house that is empty.
        let mut house = self.house.replace(House::Scripted(None));
        let address = match &mut house {
            House::Scripted(server) => {
                let (ran, manner) = (Arc::clone(&self.ran), Arc::clone(&self.manner));
                let next = Server::scripted(script(self.name, self.lives.get(), ran, manner)).await;
                server.insert(next).address
            }
            House::Real(lone) => {
                lone.anew().await;
                lone.address
            }
        };
        self.house.replace(house);
        self.link.lead(address);
    }
}
