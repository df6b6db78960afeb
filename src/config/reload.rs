//! What a reload cannot change.
//!
//! Listeners, threads and files are made once; refusing with a sentence is better than a key that
//! seems to have changed. Does not know: how a reload is carried out.

use std::path::Path;

use super::{Config, ReadOnly};
use crate::names::{Arm, EndpointUrl, PerArm, fingerprint};

impl Config {
    /// Where the arms are.
    pub fn addresses(&self) -> PerArm<Vec<String>> {
        let of = |arm| self.arms.get(arm).endpoints.iter().map(ToString::to_string).collect();
        PerArm::from_fn(of)
    }

    /// The endpoints of both arms as they are written.
    pub fn urls(&self) -> impl Iterator<Item = &EndpointUrl> {
        Arm::ALL.into_iter().flat_map(|arm| &self.arms.get(arm).endpoints)
    }

    /// Tells two configurations apart in records: secrets are not in it, so they are all alike.
    pub fn fingerprint(&self) -> String {
        fingerprint(format!("{self:?}").as_bytes())
    }

    /// The keys that differ in a new configuration although only a restart changes them.
    pub fn restart_only_changes(&self, new: &Config) -> Vec<&'static str> {
        let listen = |config: &Config| config.alerts.as_ref().map(|alerts| alerts.listen);
        let metrics = |config: &Config| config.metrics.as_ref().map(|metrics| metrics.listen);
        let differ = [
            ("listen", self.listen != new.listen),
            ("workers", self.workers != new.workers),
            ("state_dir", self.state_dir != new.state_dir),
            ("admin.socket", self.admin.socket != new.admin.socket),
            ("admin.mode", self.admin.mode != new.admin.mode),
            ("admin.read_only.socket", read_only(self) != read_only(new)),
            ("metrics.listen", metrics(self) != metrics(new)),
            ("alerts.listen", listen(self) != listen(new)),
            ("log.format", self.log.format != new.log.format),
            ("log.level", self.log.level != new.log.level),
        ];
        differ.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

/// The file of the second admin socket.
fn read_only(config: &Config) -> Option<(&Path, u32)> {
    config.admin.read_only.as_ref().map(ReadOnly::file)
}
