//! Where the peers of an admin socket come in: who they are, and so what they may do.
//!
//! Whoever has no right to a place takes none of those who have. Does not know: what is asked.

use std::rc::Rc;

use tokio::net::UnixStream;
use tokio::net::unix::UCred;

use crate::admin::command::{Caller, Desk, Stranger};
use crate::admin::groups::Groups;
use crate::admin::peer;
use crate::admin::places::{Place, Places};
use crate::admin::verbs::Level;
use crate::plane::Plane;

use super::{CONNECTIONS_MAX, bounded, connection};

/// Connections at once of which nothing is known yet, or nothing good.
const STRANGERS_MAX: usize = 8;

/// The way into one socket.
pub(super) struct Entrance {
    plane: Rc<Plane>,
    most: Level,
    groups: Groups,
    places: Rc<Places>,
    strangers: Rc<Places>,
}

impl Entrance {
    /// The way into a socket where nobody may do more than `most`.
    pub(super) fn new(plane: Rc<Plane>, most: Level) -> Entrance {
        let (places, strangers) = (Places::new(CONNECTIONS_MAX), Places::new(STRANGERS_MAX));
        Entrance { plane, most, groups: Groups::default(), places, strangers }
    }

    /// Has a peer served as what it is.
    pub(super) async fn receive(self: &Rc<Self>, stream: UnixStream, peer: UCred) {
        let table = self.plane.table();
        let known = peer::level(&peer, &table.config.admin);
        let is_open = known < Some(self.most) && peer::is_open(known, &table.config.admin);
        let this = Rc::clone(self);
        match known {
            Some(level) if !is_open => {
                let place = self.places.take().await;
                tokio::task::spawn_local(async move {
                    this.serve(stream, &peer, level, &place).await;
                });
            }
            _ => {
                let place = self.strangers.take().await;
                tokio::task::spawn_local(async move {
                    this.examine(stream, &peer, (known, is_open), place).await;
                });
            }
        }
    }

    /// Finds out by its groups what a peer may do.
    async fn examine(
        &self,
        stream: UnixStream,
        peer: &UCred,
        (known, is_open): (Option<Level>, bool),
        place: Place,
    ) {
        let found = async {
            if !is_open {
                return Ok(None);
            }
            let table = self.plane.table();
            peer::level_by_groups(peer, &table.config.admin, &self.groups).await
        };
        let found = tokio::select! {
            found = found => found,
            () = place.lost() => return,
        };
        let late = found.as_ref().err().cloned();
        if let Some(level) = known.max(found.ok().flatten()) {
            let own = self.places.take().await;
            drop(place);
            return self.serve(stream, peer, level, &own).await;
        }
        let actor = peer::actor(peer);
        tracing::warn!(%actor, "admin socket: refused");
        let stranger = Stranger::new(&actor, late);
        bounded(&place, connection(stream, &place, &stranger)).await;
    }

    async fn serve(&self, stream: UnixStream, peer: &UCred, level: Level, place: &Place) {
        let caller = Caller { actor: peer::actor(peer), level, most: self.most };
        let desk = Desk::new(Rc::clone(&self.plane), caller);
        bounded(place, connection(stream, place, &desk)).await;
    }
}
