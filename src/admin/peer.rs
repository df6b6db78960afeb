//! Who is at the other end of the admin socket, as the kernel tells it, and whether it may be.
//!
//! root and the router's own user always may; others by user or group. Does not know: what is
//! asked.

use std::ffi::CString;

use nix::unistd::{Gid, Uid, User, getgrouplist};
use tokio::net::unix::UCred;

use crate::config::Admin;
use crate::records::journal::Actor;

/// The actor behind a connection.
pub fn actor(peer: &UCred) -> Actor {
    Actor::Peer { uid: peer.uid(), gid: peer.gid(), pid: peer.pid() }
}

/// Whether the peer may use the socket.
pub fn may(peer: &UCred, admin: &Admin) -> bool {
    let uid = peer.uid();
    uid == 0
        || uid == Uid::current().as_raw()
        || admin.users.contains(&uid)
        || admin.groups.contains(&peer.gid())
        || (!admin.groups.is_empty()
            && groups(uid, peer.gid()).iter().any(|gid| admin.groups.contains(gid)))
}

/// The groups of a user, supplementary ones included.
fn groups(uid: u32, gid: u32) -> Vec<u32> {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else { return Vec::new() };
    let Ok(name) = CString::new(user.name) else { return Vec::new() };
    getgrouplist(&name, Gid::from_raw(gid))
        .map(|groups| groups.into_iter().map(Gid::as_raw).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ourselves_we_may() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let peer = runtime.block_on(async {
            tokio::net::UnixStream::from_std(ours).unwrap().peer_cred().unwrap()
        });
        let nobody = Admin {
            socket: "/x".into(),
            mode: 0o600,
            users: vec![],
            groups: vec![],
            read_only: None,
        };
        assert!(may(&peer, &nobody));
    }
}
