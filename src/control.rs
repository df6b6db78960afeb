//! The one writer of the routing table: every change of the split or the configuration comes
//! through here, is checked, recorded and then published.
//!
//! Lives in the control plane's one thread, so changes have an order. Does not know: how a request
//! is routed, how an operator asks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::alerts::Alerts;
use crate::config::{self, Config, Environment, Problems};
use crate::names::{EndpointId, PerArm, Split};
use crate::records::journal::{Actor, Journal, JournalError, Restored, Sync};
use crate::records::keys::{self, KeyError, Missing};
use crate::records::state::State;
use crate::route::{Endpoint, Live, RoutingTable};

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
    state: State,
    last_reload: Reload,
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
    #[error("not changed, since it could not be recorded: {0}")]
    Record(#[from] std::io::Error),
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
        let state = state_at_start(&restored, config.split);
        let split = state.split;
        let keys = Arc::new(keys::keyring(&config.affinity, &dir, Missing::Make)?);
        let salt = Arc::new(keys::salt(&config.affinity, &dir, Missing::Make)?);
        let journal_damaged = restored.damaged;
        if !restored.holds {
            let detail = json!({ "damaged": journal_damaged, "split": split });
            journal.write_or_keep("state", &Actor::Start, detail, &state);
        }
        let detail = json!({
            "split": split,
            "version": env!("CARGO_PKG_VERSION"),
            "torn": restored.torn,
            "damaged": journal_damaged,
        });
        if restored.holds && known.as_ref() != Some(&state) {
            // The configuration asks for another split; that is a change as any other.
            journal.write("start", &Actor::Start, detail, &state, Sync::Now)?;
        } else {
            journal.write_or_keep("start", &Actor::Start, detail, &state);
        }
        let live = Arc::new(Live::new(RoutingTable::new(Arc::new(config), split, keys, salt)));
        let last_reload = Reload { at: SystemTime::now(), refused: None };
        Ok(Control { live, environment, journal, journal_damaged, state, last_reload })
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

    /// What was wrong with the journal at the start, for people.
    pub fn journal_damaged(&self) -> Option<&str> {
        self.journal_damaged.as_deref()
    }

    /// Writes what the disk has not taken yet; to be called now and then.
    pub fn catch_up(&mut self) {
        // The failure was logged when the line began to wait, and is counted.
        let _ = self.journal.write_pending();
    }

    /// Sets the split for the very next new session. Returns what was in force before.
    pub fn set_split(
        &mut self,
        actor: &Actor,
        split: Split,
        expected_revision: Option<u64>,
    ) -> Result<State, ChangeError> {
        match expected_revision {
            None => return Err(ChangeError::Unconditional(Box::new(self.state.clone()))),
            Some(expected) if expected != self.state.revision => {
                return Err(ChangeError::Stale(Box::new(self.state.clone())));
            }
            Some(_) => {}
        }
        let table = self.live.load();
        let next = self.state.next(split, table.config.split, actor.clone());
        let detail =
            json!({ "before": self.state.split, "after": split, "revision": next.revision });
        self.journal.write("split", actor, detail, &next, Sync::Now)?;
        self.live.publish(table.with_split(split));
        Ok(std::mem::replace(&mut self.state, next))
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
        let journal = self.journal.write(event, actor, detail);
        let state = state::write(&self.live.load().config.state_dir, &self.state);
        let recorded = journal.and(state);
        if let Err(error) = &recorded {
            tracing::error!(%error, event, "alerts: the change holds, but is not recorded");
        }
        recorded.is_ok()
    }

    /// Reads the configuration again: all of it is taken over, or nothing. Returns what the
    /// operator should know about the change.
    pub fn reload(&mut self, actor: &Actor) -> Result<Option<String>, ChangeError> {
        let result = self.try_reload(actor);
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

    fn try_reload(&mut self, actor: &Actor) -> Result<Option<String>, ChangeError> {
        let table = self.live.load();
        let old = &table.config;
        let new = config::load(old.file.as_deref(), old.profile.as_deref(), &self.environment)?;
        let fixed = old.restart_only_changes(&new);
        if !fixed.is_empty() {
            return Err(ChangeError::NeedsRestart(fixed));
        }
        let state = self.state.clone().under(new.split);
        let keys = Arc::new(keys::keyring(&new.affinity, &new.state_dir, Missing::Refuse)?);
        let salt = Arc::new(keys::salt(&new.affinity, &new.state_dir, Missing::Refuse)?);
        let warning = (!keys.accepts(&table.keys)).then(|| NEW_KEY.to_owned());
        if let Some(warning) = &warning {
            tracing::warn!("{warning}");
        }
        let next = table.with_config(Arc::new(new), state.split, keys, salt);
        self.journal.write(
            "reload",
            actor,
            json!({
                "accepted": true,
                "generation": next.generation,
                "split": state.split,
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

/// What is in force at the start. In doubt that is everything on the primary, since nobody knows
/// how much of the secondary an operator had allowed.
fn state_at_start(restored: &Restored, configured: Split) -> State {
    if let Some(damaged) = &restored.damaged {
        tracing::error!(%damaged, "the journal is damaged or was edited");
    }
    if !restored.holds {
        tracing::error!("starting with everything on the primary: set the split anew");
        return State::after_damage(restored.state.as_ref(), configured);
    }
    let state = restored.state.clone().unwrap_or_else(|| State::first(configured));
    state.under(configured)
}

/// The state directory, for its owner only.
fn create_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        std::io::Error::new(error.kind(), format!("cannot make {}: {error}", dir.display()))
    })
}
