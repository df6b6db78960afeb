//! Sockets for a process that we start: it finds them as it would find the service manager's.
//!
//! The kernel closes ours in every program that is started, but for copies that are made for that.
//! They have to lie side by side, since that is how they are named. Does not know: what is started,
//! what the sockets are for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::close;

/// Free numbers are looked for so far above the lowest one, where the other threads' new sockets
/// do not go, and so often.
const STRIDE: RawFd = 256;
const TRIES: RawFd = 16;

/// Copies of sockets that a started program keeps; closed here when this is dropped.
#[derive(Debug)]
pub struct Bequest {
    copies: Vec<RawFd>,
    names: Vec<String>,
}

impl Bequest {
    /// Copies of these, each with a name for whoever gets it.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn of(sockets: &[(String, BorrowedFd<'_>)]) -> io::Result<Bequest> {
        let names = sockets.iter().map(|(name, _)| name.clone()).collect();
        let mut bequest = Bequest { copies: Vec::new(), names };
        let Some((_, first)) = sockets.first() else { return Ok(bequest) };
        let lowest = first.try_clone_to_owned()?;
        let lowest = std::os::fd::AsRawFd::as_raw_fd(&lowest);
        for turn in 1..=TRIES {
            match bequest.copy(sockets, lowest + turn * STRIDE) {
                Ok(true) => return Ok(bequest),
                Ok(false) => {}
                // Beyond the limit there are none.
                Err(Errno::EINVAL | Errno::EMFILE) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::other(
            "too few file descriptors are free side by side: see LimitNOFILE or `ulimit -n`",
        ))
    }

    /// Copies all of them to numbers from `from` on; whether these are in a row.
    fn copy(&mut self, sockets: &[(String, BorrowedFd<'_>)], from: RawFd) -> nix::Result<bool> {
        self.close();
        for (_, socket) in sockets {
            let least = self.copies.last().map_or(from, |last| last + 1);
            let copy = fcntl(socket.as_fd(), FcntlArg::F_DUPFD(least))?;
            self.copies.push(copy);
            if self.copies.len() > 1 && copy != least {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the started program finds them by. `LISTEN_PID` must not be there: nobody knows it yet.
    pub fn variables(&self) -> [(&'static str, String); 3] {
        let first = self.copies.first().copied().unwrap_or(3);
        [
            ("LISTEN_FDS", self.copies.len().to_string()),
            ("LISTEN_FDS_FIRST_FD", first.to_string()),
            ("LISTEN_FDNAMES", self.names.join(":")),
        ]
    }

    fn close(&mut self) {
        for copy in self.copies.drain(..) {
            // It is ours and open; there is nothing that could be done anyway.
            let _ = close(copy);
        }
    }
}

impl Drop for Bequest {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_copies_lie_side_by_side() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let all = vec![("clients".to_owned(), socket.as_fd()); 40];
        let bequest = Bequest::of(&all).unwrap();
        assert!(bequest.copies.windows(2).all(|two| two[1] == two[0] + 1));
        let [count, first, names] = bequest.variables().map(|(_, value)| value);
        assert_eq!((count, first), ("40".to_owned(), bequest.copies[0].to_string()));
        assert_eq!(names.split(':').count(), 40);
        assert!(Bequest::of(&[]).unwrap().copies.is_empty());
    }
}
