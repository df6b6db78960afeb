//! What must outlive the process: who changed what, the state in force, the keys.
//!
//! Does not know: what a change does.

pub mod journal;

pub mod state;

pub mod keys;

pub mod baseline;

pub mod baselines;

pub mod figures;

pub mod exported;

pub mod backups;

pub mod history;
