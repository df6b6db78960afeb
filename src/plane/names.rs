//! Follows the names of endpoints.
//!
//! Never on the way of a request: a name server that hangs costs the router nothing but news. Does
//! not know: what becomes of an address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Plane, seconds};
use crate::dns::{self, Asked, LOOK_MAX};
use crate::health::state::Standing;
use crate::names::EndpointUrl;
use crate::route::Endpoint;

impl Plane {
    /// Looks up the names of the configuration in force, each within this time, and brings routing
    /// and handshakes in line with what was found.
    pub async fn look_up(&self, limit: Duration) {
        let table = self.table();
        let asked = self.lookups.borrow_mut().of(table.config.urls());
        self.learn(asked, limit, &[]).await;
    }

    /// Looks up the names that a reload would bring, so that it finds them known.
    pub(super) async fn look_ahead(&self) {
        let (table, urls) = (self.table(), self.control.borrow().urls_ahead());
        let mut asked = self.lookups.borrow_mut().of(table.config.urls().chain(&urls));
        asked.retain(|(name, _)| !table.known.has(name));
        let ahead: Vec<_> = urls.iter().map(EndpointUrl::authority).collect();
        self.learn(asked, LOOK_MAX, &ahead).await;
    }

    async fn learn(&self, asked: Vec<Asked>, limit: Duration, ahead: &[String]) {
        let answers = dns::look_up(asked, limit).await;
        let table = self.table();
        let is_down = |it: &&Arc<Endpoint>| {
            let view = self.board.view(it.id);
            view.is_some_and(|view| view.state.standing() == Standing::Down)
        };
        let place = |it: &Arc<Endpoint>| (it.url.authority(), it.url.address());
        let dead: Vec<_> = table.leaving().filter(is_down).map(place).collect();
        let is_dead = |name: &str, address: IpAddr| {
            dead.iter().any(|(of, at)| of == name && *at == Some(address))
        };
        self.control.borrow().set_names(&answers, ahead, is_dead);
        let next = self.table();
        self.measures.borrow_mut().metrics.set_names(&answers, &next, seconds(SystemTime::now()));
        if next.generation != table.generation {
            self.board.sync(&next);
            self.follow_health();
        }
    }
}
