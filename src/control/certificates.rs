//! Certificates that were read again, put into the table in force.
//!
//! Nobody has decided anything, so nothing is recorded. Does not know: when files are read.

use std::sync::Arc;

use crate::config::Config;

use super::Control;

impl Control {
    /// Takes over certificates, keys and authorities that have been read again for this
    /// configuration; `false` if it is not in force any more.
    pub fn renew_tls(&mut self, read_for: &Arc<Config>, renewed: Config) -> bool {
        let table = self.live.load();
        if !Arc::ptr_eq(&table.config, read_for) {
            return false;
        }
        let (keys, salt) = (Arc::clone(&table.keys), Arc::clone(&table.salt));
        self.live.publish(table.with_config(Arc::new(renewed), table.course(), keys, salt));
        true
    }
}
