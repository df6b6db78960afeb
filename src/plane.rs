//! The control plane: what the admin socket and the metrics listener see of the router.
//!
//! One thread, so a `RefCell` is all the locking there is, and none is held over an await. Does
//! not know: HTTP.

pub mod alerts;

mod baseline;

pub mod certificates;

pub mod baselines;

pub mod compare;

pub mod confirm;

mod decide;

pub mod drains;

mod deploys;

pub mod memory;

pub mod figures;

mod progress;

mod notices;

mod history;

mod names;

mod standing;

mod states;

pub mod stopping;

mod supervised;

mod validations;

pub mod upgrades;

use std::cell::{Cell, OnceCell, Ref, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::control::{ChangeError, Control};
use crate::dns::Lookups;
use crate::health::catalogue::Catalogue;
use crate::health::diff::{Class, Diff, diff};
use crate::health::{Board, Outliers};
use crate::judge::window::Window;
use crate::judge::{Judge, Judgement};
use crate::metrics::Metrics;
use crate::names::{Arm, PerArm, Split};
use crate::notify::Notices;
use crate::observe::collect::{Collector, Sample};
use crate::observe::join::Join;
use crate::overload::{Overload, Pressure};
use crate::records::baseline::read as recorded;
use crate::records::history::Writer;
use crate::records::journal::Actor;
use crate::records::state::State;
use crate::route::RoutingTable;
use crate::supervisor::Supervisor;

use baseline::Usual;
use baselines::Keeping;
use certificates::Certificates;
use decide::Alarms;
use drains::Activity;
use history::Recorder;
use memory::Memory;
use progress::Progress;
use upgrades::Upgrades;

/// Everything that is not on the way of a request.
#[derive(Debug)]
pub struct Plane {
    control: RefCell<Control>,
    collector: tokio::sync::Mutex<Collector>,
    measures: RefCell<Measures>,
    board: Rc<Board>,
    lookups: RefCell<Lookups>,
    outliers: RefCell<Outliers>,
    overload: Arc<Overload>,
    memory: Cell<Memory>,
    pressure: RefCell<Pressure>,
    offers: RefCell<Offers>,
    judgement: RefCell<Option<Judgement>>,
    /// When the last look was.
    looked: Cell<Instant>,
    alarms: RefCell<Alarms>,
    files: RefCell<Certificates>,
    usual: RefCell<Usual>,
    activity: RefCell<Activity>,
    keeping: RefCell<Keeping>,
    progress: RefCell<Progress>,
    notices: Notices,
    upgrades: Upgrades,
    /// The workers' counts are wanted at once.
    uncounted: Notify,
    started: Instant,
    ready: Cell<bool>,
    supervisor: OnceCell<Supervisor>,
    /// When each worker last handed over its counts.
    heard: RefCell<Vec<Option<Instant>>>,
    /// When the end is over, once it has begun.
    ends: Cell<Option<Instant>>,
    /// Where clients connect, as the sockets say.
    pub listen: Vec<SocketAddr>,
    /// Where Prometheus scrapes.
    pub metrics_listen: Option<SocketAddr>,
    /// Where Alertmanager sends its notifications.
    pub alerts_listen: Option<SocketAddr>,
}

/// What the arms offer, as their servers last listed it.
#[derive(Debug, Default)]
pub struct Offers {
    catalogues: PerArm<Option<Rc<Catalogue>>>,
    /// How the secondary differs from the primary; `None` while one of them is not known.
    pub diff: Option<Diff>,
    /// The gravest difference that clients of the other arm meet on this one.
    worst: PerArm<Option<Class>>,
}

impl Offers {
    /// What an arm offers, if it is known.
    pub fn catalogue(&self, arm: Arm) -> Option<&Catalogue> {
        self.catalogues.get(arm).as_deref()
    }
}

/// What is made of the workers' counts: one measurement for all who read it.
#[derive(Debug)]
pub struct Measures {
    /// For Prometheus.
    pub metrics: Metrics,
    /// For `status`.
    pub window: Window,
    /// The last hour, for baselines.
    pub hour: Window,
    /// Whether the candidate is worse.
    pub judge: Judge,
    /// What passed on several exchanges.
    pub join: Join,
    /// For reports.
    recorder: Recorder,
}

impl Measures {
    fn absorb(&mut self, mut samples: Vec<Sample>, table: &RoutingTable) {
        let now = Instant::now();
        self.recorder.collect();
        let settled = self.join.absorb(now, samples.iter_mut().map(|it| &mut it.tally));
        for Sample { worker, tally, pool } in &samples {
            self.metrics.absorb(*worker, tally, *pool);
        }
        let tallies: Vec<_> = samples.iter().map(|it| &it.tally).chain([&settled]).collect();
        for tally in &tallies {
            self.metrics.count(tally, table);
            self.window.add(now, tally);
            self.hour.add(now, tally);
            self.recorder.add(tally);
        }
        self.judge.absorb(now, &tallies);
        self.metrics.set_sessions(self.join.pending(), &self.join.sessions(), &table.tools);
    }
}

impl Plane {
    /// Puts the control plane together.
    pub fn new(
        control: Control,
        collector: Collector,
        listen: Vec<SocketAddr>,
        metrics_listen: Option<SocketAddr>,
        alerts_listen: Option<SocketAddr>,
    ) -> Plane {
        let (table, now) = (control.table(), Instant::now());
        let judge = Judge::new(now, table.config.guards.clone(), table.stable.other());
        let state_dir = &table.config.state_dir;
        let usual = Usual::new(recorded(state_dir), now);
        let running = control.running().map(|rollout| rollout.id.clone());
        let keeping = Keeping::find(state_dir, running.as_deref());
        let progress = Progress::find(state_dir, running.as_deref());
        let files = RefCell::new(Certificates::of(&table.config));
        let plane = Plane {
            files,
            control: RefCell::new(control),
            collector: tokio::sync::Mutex::new(collector),
            measures: RefCell::new(Measures {
                metrics: Metrics::new(),
                window: Window::new(now),
                hour: baselines::hour(now),
                judge,
                join: Join::default(),
                recorder: Recorder::new(Writer::new(&table.config.state_dir), now),
            }),
            board: Board::new(),
            lookups: RefCell::default(),
            outliers: RefCell::default(),
            overload: Arc::default(),
            memory: Cell::default(),
            pressure: RefCell::default(),
            offers: RefCell::default(),
            judgement: RefCell::default(),
            looked: Cell::new(now),
            alarms: RefCell::default(),
            usual: RefCell::new(usual),
            activity: RefCell::default(),
            keeping: RefCell::new(keeping),
            progress: RefCell::new(progress),
            notices: Notices::default(),
            upgrades: Upgrades::default(),
            uncounted: Notify::new(),
            started: now,
            ready: Cell::new(false),
            supervisor: OnceCell::new(),
            heard: RefCell::new(vec![None; table.config.workers]),
            ends: Cell::default(),
            listen,
            metrics_listen,
            alerts_listen,
        };
        plane.show_table();
        plane.show_alerts();
        plane.measures.borrow().metrics.set_reload(true, seconds(SystemTime::now()));
        plane
    }

    /// Brings in what the workers have counted, and writes what the disk has not taken before.
    pub async fn collect(&self) {
        let samples = self.collector.lock().await.collect().await;
        self.note_heard(&samples);
        let of = |arm| {
            samples.iter().any(|sample| sample.tally.exchanges.keys().any(|it| it.arm == Some(arm)))
        };
        self.note_activity(&PerArm::from_fn(of));
        self.measures.borrow_mut().absorb(samples, &self.table());
        self.control.borrow_mut().catch_up();
    }

    /// Whether new clients are welcome.
    pub fn is_ready(&self) -> bool {
        self.ready.get() && !self.overload.sheds_connections()
    }

    /// Opens or closes the door for load balancers in front of us.
    pub fn set_ready(&self, ready: bool) {
        self.ready.set(ready);
    }

    /// The table in force.
    pub fn table(&self) -> Arc<RoutingTable> {
        self.control.borrow().table()
    }

    /// Sets the split, and aborts a rollout that is running if that is wanted; returns what was in
    /// force before, and what is now.
    pub fn set_split(
        &self,
        actor: &Actor,
        split: Split,
        expected_revision: Option<u64>,
        abort: bool,
    ) -> Result<(State, State), ChangeError> {
        let before = self.control.borrow_mut().set_split(actor, split, expected_revision, abort)?;
        self.steered();
        Ok((before, self.control.borrow().state().clone()))
    }

    /// Reads the configuration again, and refuses it if it gives the candidate more and may not;
    /// returns what the operator should know about the change.
    pub async fn reload(
        &self,
        actor: &Actor,
        may_raise: bool,
    ) -> Result<Option<String>, ChangeError> {
        let _told = self.reloading();
        self.look_ahead().await;
        let before = self.files.borrow().before_reload();
        let result = self.control.borrow_mut().reload(actor, may_raise);
        let table = self.table();
        if result.is_ok() {
            self.files.borrow_mut().reloaded(&table.config, &before);
        }
        self.board.sync(&table);
        self.measures.borrow_mut().judge.set_rules(table.config.guards.clone());
        self.measures.borrow().metrics.set_reload(result.is_ok(), seconds(SystemTime::now()));
        self.steered();
        result
    }

    /// Changes and their history, to look at.
    pub fn control(&self) -> Ref<'_, Control> {
        self.control.borrow()
    }

    /// The figures, to look at.
    pub fn measures(&self) -> Ref<'_, Measures> {
        self.measures.borrow()
    }

    /// How long the router has been running.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// What is known of the endpoints.
    pub fn board(&self) -> &Rc<Board> {
        &self.board
    }

    /// What the arms offer.
    pub fn offers(&self) -> Ref<'_, Offers> {
        self.offers.borrow()
    }

    /// What is known of endpoints that fail their calls.
    pub fn outliers(&self) -> Ref<'_, Outliers> {
        self.outliers.borrow()
    }

    /// Takes over what the handshakes and the calls have told, and what time has changed in it.
    pub fn follow_health(&self) {
        let (table, now) = (self.table(), Instant::now());
        let mut fitness = self.board.fitness(now);
        let out = self.outliers.borrow_mut().judge(&table, &mut fitness, now);
        for endpoint in out.into_iter().filter_map(|id| table.endpoint(id)) {
            if let Some(why) = self.outliers.borrow().why(endpoint.id, now) {
                let (arm, url, lasts) =
                    (endpoint.arm, &endpoint.url, humantime::format_duration(why.lasts));
                tracing::warn!(%arm, endpoint = %url, %lasts, times = why.times, "no new work: {why}");
            }
            self.measures.borrow().metrics.count_ejection(endpoint);
        }
        self.control.borrow().set_fitness(&fitness);
        self.compare();
        self.show_table();
    }

    /// Compares the arms anew when one of them lists something else than before.
    fn compare(&self) {
        let table = self.table();
        let mut offers = self.offers.borrow_mut();
        let mut changed = false;
        for arm in Arm::ALL {
            let mut endpoints = table.arms.get(arm).endpoints.iter();
            // The endpoints of an arm are one version: the first that can tell speaks for all.
            let listed = endpoints.find_map(|it| self.board.view(it.id)?.catalogue);
            let known = offers.catalogues.get_mut(arm);
            // It is another one only when something in it is; to compare all of it each second
            // would be too much.
            changed |= known.as_ref().map(Rc::as_ptr) != listed.as_ref().map(Rc::as_ptr);
            *known = listed;
        }
        if !changed {
            return;
        }
        let names = |catalogue: &Rc<Catalogue>| catalogue.tools().map(str::to_owned).collect();
        self.control
            .borrow()
            .set_tools(&PerArm::from_fn(|arm| offers.catalogues.get(arm).as_ref().map(names)));
        self.recall();
        let PerArm { primary, secondary } = &offers.catalogues;
        let back =
            secondary.as_ref().zip(primary.as_ref()).and_then(|(one, two)| diff(one, two).worst());
        let there = primary.as_ref().zip(secondary.as_ref()).map(|(one, two)| diff(one, two));
        offers.worst = PerArm { primary: back, secondary: there.as_ref().and_then(Diff::worst) };
        offers.diff = there;
        self.measures.borrow().metrics.set_changes(offers.diff.as_ref());
    }

    fn show_table(&self) {
        let table = self.table();
        let mut measures = self.measures.borrow_mut();
        measures.metrics.set_table(&table);
        measures.metrics.set_health(&table, &self.board, &self.outliers.borrow());
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
