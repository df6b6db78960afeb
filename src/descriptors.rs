//! How many files and sockets the process may have open, and keeping some of them back.
//!
//! The kernel gives the lowest number that is free, so the number of a new socket tells how many
//! are taken, and nobody has to count. Does not know: what a descriptor is for.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that neither clients nor servers get: for the admin socket, metrics, the log, the
/// journal and the names of endpoints.
const RESERVE: u64 = 64;
/// Of the rest, one in this many is not for clients: a client that cannot be passed on to a server
/// is of no use to anybody.
const FOR_SERVERS: u64 = 4;
/// Descriptors that one client connection may need: its own, and one to a server.
const PER_CLIENT: u64 = 2;

/// Whom a new socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A client.
    Client,
    /// A connection to a server.
    Server,
}

/// Raises the soft limit to the hard one, and says so when this many client connections cannot be
/// open at once even then.
///
/// # Errors
/// When the limits are not to be read. A refusal to raise them is none.
pub fn prepare(connections: usize) -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(%error, soft, hard, "the limit of file descriptors stays where it is");
            soft
        }
    };
    let needed = (connections as u64).saturating_mul(PER_CLIENT).saturating_add(RESERVE);
    if needed > limit {
        tracing::warn!(
            limit,
            needed,
            "limits.connections = {connections} cannot be reached with so few file descriptors: \
             raise the limit (LimitNOFILE= in a systemd unit, `ulimit -n` in a shell) or lower \
             limits.connections"
        );
    }
    Ok(())
}

/// Whether a socket that has just been opened is to be closed again, because the last ones are
/// needed elsewhere.
pub fn is_one_too_many(socket: &impl AsRawFd, what: Use) -> bool {
    // Without an answer the kernel's own limit is the only one.
    getrlimit(Resource::RLIMIT_NOFILE)
        .is_ok_and(|(soft, _)| exceeds(socket.as_raw_fd(), soft, what))
}

fn exceeds(number: RawFd, limit: u64, what: Use) -> bool {
    let servers = limit.saturating_sub(RESERVE);
    let most = match what {
        Use::Server => servers,
        Use::Client => servers - servers / FOR_SERVERS,
    };
    u64::try_from(number).is_ok_and(|number| number >= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept() {
        for (number, limit, client, server) in [
            (3, 1024, false, false),
            (719, 1024, false, false),
            (720, 1024, true, false),
            (959, 1024, true, false),
            (960, 1024, true, true),
            (3, 64, true, true),
            (3, 10, true, true),
            (RawFd::MAX, u64::MAX, false, false),
        ] {
            assert_eq!(exceeds(number, limit, Use::Client), client, "{number} of {limit}");
            assert_eq!(exceeds(number, limit, Use::Server), server, "{number} of {limit}");
        }
    }
}
