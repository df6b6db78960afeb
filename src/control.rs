//! The one writer of the routing table: every change of the split or the configuration comes
//! through here, is checked, recorded and then published.
//!
//! Lives in the control plane's one thread, so changes have an order. Does not know: how a request
//! is routed, how an operator asks.

mod certificates;

mod drains;

pub mod deploys;

mod names;

pub mod rollouts;

pub mod states;

mod upgrades;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::alerts::Alerts;
use crate::config::{self, Config, Environment, Problems};
use crate::names::{Arm, EndpointId, PerArm, Split};
use crate::records::journal::{Actor, Journal, JournalError, Restored, Sync};
use crate::records::keys::{self, KeyError, Missing};
use crate::records::state::State;
use crate::rollout::{self, Rollout, Verb};
use crate::route::{Endpoint, Live, RoutingTable};

use rollouts::Order;

/// What an operator should know who has changed the key without keeping the old one.
const NEW_KEY: &str = "the key has changed and affinity.previous_key is not the old one (a key that was made by the router is in session.key in the state directory): every session of before has ended";

/// An endpoint that comes back gets its share in steps of this size.
const FITNESS_STEP: f64 = 0.01;

/// Changes what is in force.
#[derive(Debug)]
pub struct Control {
    live: Arc<Live>,
    environment: Environment,
    journal: Journal,
    journal_damaged: Option<String>,
    /// Another process has served before with this state.
    is_continued: bool,
    state: State,
    last_reload: Reload,
    /// When the state in force was put in force.
    acted: Instant,
    /// When the hold clock was last written down.
    clock_kept: Instant,
    /// When something began to be done to an arm's servers that has not ended.
    under_way: PerArm<Option<Instant>>,
}

/// How the last reload ended.
#[derive(Clone, Debug)]
pub struct Reload {
    /// When.
    pub at: SystemTime,
    /// `None`: accepted.
    pub refused: Option<String>,
}

/// Why a change was not made. The table is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Somebody else has changed it since the caller looked.
    #[error(
        "the split was changed meanwhile: it is {} (revision {}, set by {} at {}); look again and repeat",
        .0.split, .0.revision, .0.set_by, .0.set_at
    )]
    Stale(Box<State>),
    /// The caller did not say what it takes the present state to be.
    #[error(
        "say which revision is to be replaced, as `expected_revision`: it is {} now ({}, set by {})",
        .0.revision, .0.split, .0.set_by
    )]
    Unconditional(Box<State>),
    /// A rollout moves the weights.
    #[error("rollout {} to the {} is {} and moves the weights: abort it first", .0.id, .0.to, .0.state)]
    Running(Box<Rollout>),
    /// The verb does not fit the rollout.
    #[error(transparent)]
    Refused(#[from] rollout::Refused),
    /// There is none to steer.
    #[error("there is no rollout to steer; what can be done now: start")]
    NoRollout,
    /// It would go to where everything is.
    #[error("the {arm} is the stable arm already: a rollout goes to the {other}", arm = .0, other = .0.other())]
    IsStable(Arm),
    /// An exported state is of other servers.
    #[error(
        "the state of {0} is of a router with other endpoints: put back the configuration of that time first, or set what you want by hand"
    )]
    OtherServers(String),
    /// Nobody said that more of the candidate is meant.
    #[error(
        "it would give the {candidate} more than it has ({} with the {} as stable arm, now {} with the {}): if that is meant, say --allow-raise",
        .0.1.split, .0.1.stable, .0.0.split, .0.0.stable, candidate = .0.0.stable.other()
    )]
    RestoreRaises(Box<(State, State)>),
    /// The arm is drained.
    #[error("the {0} is drained: let it get work again first, with `tidegate undrain {0}`")]
    Drained(Arm),
    /// Reverts need somewhere to go.
    #[error(
        "the {0} is the stable arm, to which reverts go, so it cannot be drained: make the {other} the stable arm first, with a rollout to it",
        other = .0.other()
    )]
    DrainsStable(Arm),
    /// The candidate is not fit for it.
    #[error("not now: {}", .0.join("; "))]
    Gates(Vec<String>),
    /// Somebody would notice if the servers of this arm were touched.
    #[error("the servers of the {0} are not touched: {why} (or --force)", why = .1.join("; "))]
    ArmInUse(Arm, Vec<String>),
    /// A critical alert keeps the candidate shut.
    #[error(
        "a critical alert keeps the candidate shut ({0}): clear it first, with `tidegate alert clear`"
    )]
    AlertOpen(String),
    /// The plan is wrong.
    #[error("the plan was refused:\n{0}")]
    Plan(Problems),
    /// The configuration is wrong.
    #[error("the configuration was refused and the running one kept:\n{0}")]
    Config(#[from] Problems),
    /// The configuration is right, but cannot be taken over by a running router.
    #[error("the configuration was refused and the running one kept: a restart is needed to change {}", .0.join(", "))]
    NeedsRestart(Vec<&'static str>),
    /// A key could not be read.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The disk did not take the record, and a change that nobody can account for is not made.
    #[error("not changed, since it could not be recorded: {0}; make room in state_dir, and repeat")]
    Record(#[from] std::io::Error),
    /// There is nowhere to keep anything.
    #[error("cannot make the state directory {dir}: {source}; name another state_dir")]
    StateDir {
        /// Where it should be.
        dir: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no journal to record anything in.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Control {
    /// Builds the first table.
    pub fn start(config: Config, environment: Environment) -> Result<Control, ChangeError> {
        let dir = config.state_dir.clone();
        create_private(&dir)?;
        let (mut journal, restored) = Journal::open(&dir)?;
        let known = restored.state.clone();
        let is_continued = known.is_some();
        let state = state_at_start(&restored, &config);
        let split = state.split;
        let keys = Arc::new(keys::keyring(&config.affinity, &dir, Missing::Make)?);
        let salt = Arc::new(keys::salt(&config.affinity, &dir, Missing::Make)?);
        let journal_damaged = restored.damaged;
        if !restored.holds {
            let detail = json!({ "damaged": journal_damaged, "split": split });
            journal.write_or_keep("state", &Actor::Start, detail, &state);
        }
        let is_changed = known.as_ref() != Some(&state);
        let mut detail = json!({
            "split": split,
            "version": env!("CARGO_PKG_VERSION"),
            "torn": restored.torn,
            "damaged": journal_damaged,
        });
        if let Some(rollout) =
            state.rollout.as_ref().filter(|_| known.is_some_and(|it| it.running().is_some()))
        {
            tracing::info!(id = rollout.id, state = %rollout.state, why = rollout.why, "rollout restored");
            detail["rollout"] = json!(rollout.id);
            detail["state"] = json!(rollout.state);
            detail["why"] = json!(rollout.why);
        }
        if restored.holds && is_changed {
            // The configuration asks for another split; that is a change as any other.
            journal.write("start", &Actor::Start, detail, &state, Sync::Now)?;
        } else {
            journal.write_or_keep("start", &Actor::Start, detail, &state);
        }
        let live =
            Arc::new(Live::new(RoutingTable::new(Arc::new(config), state.course(), keys, salt)));
        let last_reload = Reload { at: SystemTime::now(), refused: None };
        let now = Instant::now();
        let (acted, clock_kept) = (now, now);
        Ok(Control {
            live,
            environment,
            journal,
            journal_damaged,
            is_continued,
            state,
            last_reload,
            acted,
            clock_kept,
            under_way: PerArm::default(),
        })
    }

    /// Where the table in force is found.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    /// The table in force.
    pub fn table(&self) -> Arc<RoutingTable> {
        self.live.load()
    }

    /// The split in force, and who set it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// How the last reload ended.
    pub fn last_reload(&self) -> &Reload {
        &self.last_reload
    }

    /// Where changes are recorded.
    pub fn journal_path(&self) -> PathBuf {
        self.journal.path().to_owned()
    }

    /// The journal, to look at.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether another process has served before with this state: clients may hold what this one
    /// has never seen.
    pub fn is_continued(&self) -> bool {
        self.is_continued
    }

    /// What was wrong with the journal at the start, for people.
    pub fn journal_damaged(&self) -> Option<&str> {
        self.journal_damaged.as_deref()
    }

    /// Writes what the disk has not taken yet; to be called now and then.
    pub fn catch_up(&mut self) {
        // The failure was logged when the line began to wait, and is counted.
        let _ = self.journal.write_pending();
    }

    /// Sets the split for the very next new session; a rollout that is running is aborted if that
    /// is wanted. Returns what was in force before.
    pub fn set_split(
        &mut self,
        actor: &Actor,
        split: Split,
        expected_revision: Option<u64>,
        abort: bool,
    ) -> Result<State, ChangeError> {
        match expected_revision {
            None => return Err(ChangeError::Unconditional(Box::new(self.state.clone()))),
            Some(expected) if expected != self.state.revision => {
                return Err(ChangeError::Stale(Box::new(self.state.clone())));
            }
            Some(_) => {}
        }
        let before = self.state.clone();
        let running = before.running();
        // Whoever aborts a rollout begins at nothing.
        let now = running.map_or(before.split, |_| Split::all(before.stable));
        let candidate = before.stable.other();
        let raises = split.weight(candidate) > now.weight(candidate);
        if split.weight(candidate) > 0 {
            self.is_open(candidate)?;
        }
        if let Some(alert) = before.alerts.critical().filter(|_| raises) {
            return Err(ChangeError::AlertOpen(format!("{}: {}", alert.source, alert.reason)));
        }
        if let Some(running) = running {
            if !abort {
                return Err(ChangeError::Running(Box::new(running.clone())));
            }
            let reason = Some(format!("the split was set to {split}"));
            self.steer(actor, Verb::Abort { reason }, json!({}))?;
        }
        let configured = self.live.load().config.split;
        let next = self.state.next(split, configured, actor.clone());
        let detail = json!({ "revision": next.revision });
        self.commit(actor, "split", || detail, next, Order::of_raise(raises))?;
        Ok(before)
    }

    /// Gives endpoints the share of new work that they are fit for, from 0 to 1. Nobody decides
    /// here, so nothing is recorded; the weights stay as they were set.
    pub fn set_fitness(&self, fitness: &HashMap<EndpointId, f64>) {
        let table = self.live.load();
        let differs = |(endpoint, now): (&Arc<Endpoint>, f64)| {
            let next = fitness.get(&endpoint.id).copied().unwrap_or(1.0);
            let at_an_end = (next <= 0.0) != (now <= 0.0) || (next >= 1.0) != (now >= 1.0);
            at_an_end || (next - now).abs() > FITNESS_STEP
        };
        if !table.fitness().any(differs) {
            return;
        }
        let next = table.with_fitness(fitness);
        match (table.effective.nothing_healthy, next.effective.nothing_healthy) {
            (false, true) => tracing::error!(
                stable = %next.stable,
                "no endpoint is healthy: new work goes to the stable arm anyway"
            ),
            (true, false) => tracing::info!("an endpoint is healthy again"),
            _ => {}
        }
        self.live.publish(next);
    }

    /// Takes over what tools the servers list.
    pub fn set_tools(&self, lists: &PerArm<Option<Vec<String>>>) {
        let table = self.live.load();
        self.live.publish(table.with_tools(Arc::new(table.tools.with(lists))));
    }

    /// Changes the alerts, and says whether the disk has it. What it refuses holds nonetheless, until
    /// a restart: a full disk must not hide an alert.
    pub fn change_alerts(
        &mut self,
        actor: &Actor,
        event: &str,
        detail: Value,
        change: impl FnOnce(&mut Alerts),
    ) -> bool {
        change(&mut self.state.alerts);
        self.journal.write_or_keep(event, actor, detail, &self.state);
        self.journal.pending() == 0
    }

    /// What the critical alert says that keeps the candidate shut, if one does.
    pub fn latch(&self) -> Option<String> {
        self.alert().filter(|_| self.live.load().config.guards.security_alert)
    }

    /// What the critical alert says that is open.
    fn alert(&self) -> Option<String> {
        let alert = self.state.alerts.critical()?;
        Some(format!("{}: {}", alert.source, alert.reason))
    }

    /// Records what was seen and changes nothing.
    pub fn note(&mut self, event: &str, actor: &Actor, detail: Value) {
        self.journal.write_or_keep(event, actor, detail, &self.state);
    }

    /// Reads the configuration again: all of it is taken over, or nothing; nothing, too, if it gives
    /// the candidate more and may not. Returns what the operator should know about the change.
    pub fn reload(
        &mut self,
        actor: &Actor,
        may_raise: bool,
    ) -> Result<Option<String>, ChangeError> {
        let result = self.try_reload(actor, may_raise);
        let refused = result.as_ref().err().map(ToString::to_string);
        if let Some(why) = &refused {
            tracing::error!(%why, "reload refused");
            // The refusal is told to whoever asked; a full disk does not make it a success.
            let detail = json!({ "accepted": false, "why": why });
            self.journal.write_or_keep("reload", actor, detail, &self.state);
        }
        self.last_reload = Reload { at: SystemTime::now(), refused };
        result
    }

    fn try_reload(
        &mut self,
        actor: &Actor,
        may_raise: bool,
    ) -> Result<Option<String>, ChangeError> {
        let table = self.live.load();
        let old = &table.config;
        let new = config::load(old.file.as_deref(), old.profile.as_deref(), &self.environment)?;
        let fixed = old.restart_only_changes(&new);
        if !fixed.is_empty() {
            return Err(ChangeError::NeedsRestart(fixed));
        }
        if let Some(running) = self.state.running() {
            let moved = !self.state.is_at(&new.arms.get(running.to).endpoints);
            if moved || new.split != self.state.configured {
                return Err(ChangeError::Running(Box::new(running.clone())));
            }
        }
        let followed = self.state.clone().follow(&new.addresses());
        let state = followed.clone().under(new.split);
        let candidate = state.stable.other();
        if let Some(drained) = state.drained.filter(|_| state.split.weight(candidate) > 0) {
            return Err(ChangeError::Drained(drained));
        }
        if !may_raise && state.raises(&followed) {
            return Err(ChangeError::RestoreRaises(Box::new((followed, state))));
        }
        let latch = new.guards.security_alert.then(|| self.alert()).flatten();
        if let (true, Some(alert)) = (state.raises(&followed), latch) {
            return Err(ChangeError::AlertOpen(alert));
        }
        let keys = Arc::new(keys::keyring(&new.affinity, &new.state_dir, Missing::Refuse)?);
        let salt = Arc::new(keys::salt(&new.affinity, &new.state_dir, Missing::Refuse)?);
        let renamed = followed.stable != self.state.stable;
        let warning = (!keys.accepts(&table.keys)).then(|| NEW_KEY.to_owned());
        let warning = warning.or_else(|| renamed.then(|| renamed_to(followed.stable)));
        if let Some(warning) = &warning {
            tracing::warn!("{warning}");
        }
        let next = table.with_config(Arc::new(new), state.course(), keys, salt);
        self.journal.write(
            "reload",
            actor,
            json!({
                "accepted": true,
                "generation": next.generation,
                "split": state.split,
                "stable": state.stable,
                "warning": warning,
            }),
            &state,
            Sync::Now,
        )?;
        self.state = state;
        self.live.publish(next);
        Ok(warning)
    }
}

/// What is in force at the start. In doubt that is everything on the stable arm, since nobody knows
/// how much of the candidate an operator had allowed.
fn state_at_start(restored: &Restored, config: &Config) -> State {
    if let Some(damaged) = &restored.damaged {
        tracing::error!(%damaged, "the journal is damaged or was edited");
    }
    let configured = config.split;
    if !restored.holds {
        let state = State::after_damage(restored.state.as_ref(), configured);
        tracing::error!(stable = %state.stable, "starting with everything on the stable arm: set the split anew");
        return state;
    }
    let addresses = config.addresses();
    let known = restored.state.clone().unwrap_or_else(|| State::first(configured));
    let state = known.clone().follow(&addresses);
    if state.stable != known.stable {
        tracing::warn!("{}", renamed_to(state.stable));
    }
    let candidate = &config.arms.get(state.stable.other()).endpoints;
    let has_weight = state.split.weight(state.stable.other()) > 0;
    let started = if restored.is_news && has_weight {
        tracing::error!(stable = %state.stable, "starting with everything on the stable arm: nobody knows what was edited");
        state.aborted(Actor::Start, configured, "the journal is damaged or was edited")
    } else {
        state.clone().restored(configured, candidate).follow(&addresses)
    };
    let is_latched = config.guards.security_alert && state.alerts.critical().is_some();
    if !is_latched && state.drained.is_none() {
        return started;
    }
    if started.raises(&state) {
        let why = if is_latched { "a critical alert is open" } else { "the candidate is drained" };
        tracing::error!(asked = %started.split, "{why}: everything stays on the stable arm");
    }
    started.without_raise(&state)
}

/// What an operator should know who has given the stable arm's address to the other arm.
fn renamed_to(stable: Arm) -> String {
    format!("the server of the stable arm is the {stable} now: weights and rollouts follow it")
}

/// The state directory, for its owner only.
fn create_private(dir: &Path) -> Result<(), ChangeError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| ChangeError::StateDir { dir: dir.to_owned(), source })
}
