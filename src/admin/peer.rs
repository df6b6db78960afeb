//! Who is at the other end of an admin socket, as the kernel tells it, and what it may do.
//!
//! root, the router's own user and `[admin]` users and groups may change things; those of
//! `[admin.read_only]` may read. Does not know: what is asked, or which socket it is.

use nix::unistd::Uid;
use tokio::net::unix::UCred;

use crate::config::Admin;
use crate::records::journal::Actor;

use super::groups::Groups;
use super::verbs::Level;

/// The actor behind a connection.
pub fn actor(peer: &UCred) -> Actor {
    Actor::Peer { uid: peer.uid(), gid: peer.gid(), pid: peer.pid() }
}

/// What a peer may do by its user and its first group; `None`: nothing.
pub fn level(peer: &UCred, admin: &Admin) -> Option<Level> {
    let own = [0, Uid::current().as_raw()];
    if own.contains(&peer.uid()) {
        return Some(Level::Change);
    }
    of(Some(peer.uid()), &[peer.gid()], admin)
}

/// The same by all its groups, which have to be asked for.
///
/// # Errors
/// When nobody tells the groups in time.
pub async fn level_by_groups(
    peer: &UCred,
    admin: &Admin,
    groups: &Groups,
) -> Result<Option<Level>, String> {
    let uid = peer.uid();
    let late = || format!("the groups of uid {uid} cannot be found out now: try again");
    Ok(of(None, &groups.of(uid).await.ok_or_else(late)?, admin))
}

/// Whether groups can make more of a peer than this.
pub fn is_open(level: Option<Level>, admin: &Admin) -> bool {
    let readers = admin.read_only.as_ref().is_some_and(|it| !it.groups.is_empty());
    match level {
        None => readers || !admin.groups.is_empty(),
        Some(Level::Read) => !admin.groups.is_empty(),
        Some(Level::Change) => false,
    }
}

fn of(uid: Option<u32>, gids: &[u32], admin: &Admin) -> Option<Level> {
    let is_one = |users: &[u32], groups: &[u32]| {
        uid.is_some_and(|uid| users.contains(&uid)) || gids.iter().any(|it| groups.contains(it))
    };
    let readers = admin.read_only.as_ref();
    if is_one(&admin.users, &admin.groups) {
        Some(Level::Change)
    } else {
        readers.filter(|it| is_one(&it.users, &it.groups)).map(|_| Level::Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ReadOnly;

    #[test]
    fn users_and_groups_may_what_they_are_named_for() {
        let names = |admin: [&[u32]; 2], readers: Option<[&[u32]; 2]>| Admin {
            socket: "/x".into(),
            mode: 0o600,
            users: admin[0].to_vec(),
            groups: admin[1].to_vec(),
            read_only: readers.map(|[users, groups]| ReadOnly {
                socket: "/y".into(),
                mode: 0o600,
                users: users.to_vec(),
                groups: groups.to_vec(),
            }),
        };
        let both = names([&[1], &[10]], Some([&[2], &[20]]));
        let (change, read) = (Some(Level::Change), Some(Level::Read));
        for (uid, gids, level) in [
            (1, &[9][..], change),
            (2, &[9], read),
            (3, &[9], None),
            (3, &[9, 10], change),
            (3, &[20], read),
            (2, &[10], change),
            (10, &[1], None),
        ] {
            assert_eq!(of(Some(uid), gids, &both), level, "{uid} {gids:?}");
        }
        assert!(is_open(None, &both) && is_open(read, &both) && !is_open(change, &both));
        let alone = names([&[1], &[]], None);
        assert!(!is_open(None, &alone) && of(Some(2), &[2], &alone).is_none());
    }

    #[test]
    fn ourselves_we_may() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let peer = runtime.block_on(async {
            tokio::net::UnixStream::from_std(ours).unwrap().peer_cred().unwrap()
        });
        let (users, groups) = (vec![], vec![]);
        let nobody = Admin { socket: "/x".into(), mode: 0o600, users, groups, read_only: None };
        assert_eq!(level(&peer, &nobody), Some(Level::Change));
    }
}
