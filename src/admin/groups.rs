//! The groups of a user, as the user database tells them.
//!
//! That may be a directory far away, so it is asked where it holds up nobody, by few at once, and
//! what it says is kept for a moment. `/proc` would be faster, but hides the processes of others
//! where a service is well locked up, and tells of another process where an id was given out again.
//! Does not know: what a group may do.

use std::cell::RefCell;
use std::ffi::CString;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Gid, Uid, User, getgrouplist};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How long an answer is good for.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// Users whose groups are kept.
const KEPT_MAX: usize = 64;
/// Questions at once: one that is never answered holds a thread.
const ASKED_MAX: usize = 4;
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// What is known.
#[derive(Debug)]
pub struct Groups {
    known: RefCell<Vec<Known>>,
    places: Arc<Semaphore>,
    ask: fn(u32) -> Vec<u32>,
}

#[derive(Debug)]
struct Known {
    uid: u32,
    groups: Rc<[u32]>,
    at: Instant,
}

impl Default for Groups {
    /// Nothing known yet.
    fn default() -> Groups {
        Groups::asking(look_up)
    }
}

impl Groups {
    fn asking(ask: fn(u32) -> Vec<u32>) -> Groups {
        let places = Arc::new(Semaphore::new(ASKED_MAX));
        Groups { known: RefCell::default(), places, ask }
    }

    /// The groups of a user, as gids; `None` if nobody says so in time.
    pub async fn of(&self, uid: u32) -> Option<Rc<[u32]>> {
        if let Some(known) = self.kept(uid) {
            return Some(known);
        }
        let asking = async {
            let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
            // Others of the same user may have asked meanwhile.
            if let Some(known) = self.kept(uid) {
                return Some(known);
            }
            let ask = self.ask;
            let asked = tokio::task::spawn_blocking(move || {
                let groups = ask(uid);
                drop(place);
                groups
            });
            Some(self.keep(uid, asked.await.ok()?.into()))
        };
        tokio::time::timeout(ANSWER_MAX, asking).await.ok().flatten()
    }

    fn kept(&self, uid: u32) -> Option<Rc<[u32]>> {
        let mut known = self.known.borrow_mut();
        known.retain(|it| it.at.elapsed() < KEPT_FOR);
        known.iter().find(|it| it.uid == uid).map(|it| Rc::clone(&it.groups))
    }

    fn keep(&self, uid: u32, groups: Rc<[u32]>) -> Rc<[u32]> {
        let mut known = self.known.borrow_mut();
        known.retain(|it| it.uid != uid);
        if known.len() == KEPT_MAX {
            known.remove(0);
        }
        known.push(Known { uid, groups: Rc::clone(&groups), at: Instant::now() });
        groups
    }
}

/// Asks the user database; a user that it does not have is in no group.
fn look_up(uid: u32) -> Vec<u32> {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else { return Vec::new() };
    let Ok(name) = CString::new(user.name) else { return Vec::new() };
    getgrouplist(&name, user.gid)
        .map(|groups| groups.into_iter().map(Gid::as_raw).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_a_moment() {
        static ASKED: AtomicU32 = AtomicU32::new(0);
        let groups = Groups::asking(|uid| vec![uid, ASKED.fetch_add(1, Ordering::Relaxed)]);
        for _ in 0..2 {
            assert_eq!(*groups.of(7).await.unwrap(), [7, 0]);
        }
        for uid in 0..KEPT_MAX as u32 {
            groups.of(100 + uid).await.unwrap();
        }
        assert_eq!(groups.known.borrow().len(), KEPT_MAX);
        let (one, other) = tokio::join!(groups.of(8), groups.of(8));
        assert_eq!(one.unwrap()[0], other.unwrap()[0]);
        tokio::time::advance(KEPT_FOR).await;
        assert!(groups.of(8).await.unwrap()[1] > KEPT_MAX as u32);
    }

    #[test]
    fn root_is_in_its_own_group() {
        assert!(look_up(0).contains(&0) && look_up(u32::MAX - 7).is_empty());
    }
}
