//! The socket files: made with their mode before anyone can connect, never on top of a stranger's,
//! never where strangers could put their own in place of it.
//!
//! Does not know: who may connect (the peer's credentials are checked per connection).

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

/// A socket that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another router answers there.
    #[error(
        "another tidegate is running: it answers on {0}; stop it, or choose another socket with --socket"
    )]
    InUse(PathBuf),
    /// Something that is no socket.
    #[error("{0} is there and is no socket: remove it, or choose another with --socket")]
    NoSocket(PathBuf),
    /// Left behind by somebody else, or in use by somebody else.
    #[error(
        "{0} belongs to uid {1}, not to this user: have it removed, or choose another with --socket"
    )]
    Foreign(PathBuf, u32),
    /// Everybody could put another socket in its place.
    #[error(
        "everybody may write to {0}, and so put another socket in place of this one: `chmod o-w` it, or choose another folder"
    )]
    Open(PathBuf),
    /// The file system refused.
    #[error("cannot make the admin socket {path}: {source}; choose another with --socket")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A socket file; removed when it is dropped, if it is ours.
#[derive(Debug)]
pub struct AdminSocket {
    /// Where connections come in.
    pub listener: UnixListener,
    path: PathBuf,
    /// The file that was made; `None`: it is somebody else's.
    file: Option<(u64, u64)>,
    /// The file of the router before us, which becomes ours once that one lets go.
    coming: bool,
}

impl AdminSocket {
    /// Its file, if that goes with the process.
    pub fn path(&self) -> Option<&Path> {
        self.file.map(|_| self.path.as_path())
    }

    /// Makes the file of the router before us ours, with this mode. Until then it stays as it was,
    /// since that router goes on if we fail.
    ///
    /// # Errors
    /// When the file cannot be changed.
    pub fn own(&mut self, mode: u32) -> io::Result<()> {
        if std::mem::take(&mut self.coming) {
            self.file = Some(file(&std::fs::symlink_metadata(&self.path)?));
            std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    /// Leaves the file to whoever has the socket now.
    pub fn leave(&mut self) {
        self.file = None;
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let Some(own) = self.file else { return };
        if std::fs::symlink_metadata(&self.path).is_ok_and(|meta| file(&meta) == own) {
            // One that is gone already is no loss.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What tells a file from all others.
fn file(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// Makes a socket.
///
/// # Errors
/// When somebody else has it, or the place is not ours to write, or is everybody's.
pub fn bind(path: &Path, mode: u32) -> Result<AdminSocket, SocketError> {
    let fail = |source| SocketError::Io { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(meta) => is_left_behind(path, &meta, Uid::effective().as_raw())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail(error)),
    }
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(dir).map_err(fail)?;
    // A group that may write is one that the owner has chosen, as under /run/tidegate.
    let open = std::fs::metadata(dir).map_err(fail)?.mode();
    if open & 0o002 != 0 && open & 0o1000 == 0 {
        return Err(SocketError::Open(dir.to_owned()));
    }
    // Made in a private folder and moved into place, so that it never stands open.
    let private = dir.join(format!(".{:08x}", rand::random::<u32>()));
    std::fs::DirBuilder::new().mode(0o700).create(&private).map_err(fail)?;
    let made = make(&private.join("s"), path, mode);
    let _ = std::fs::remove_dir_all(&private);
    let (listener, file) = made.map_err(fail)?;
    Ok(AdminSocket { listener, path: path.to_owned(), file: Some(file), coming: false })
}

/// Takes over a socket that is bound already: the service manager's, whose file it stays, or with
/// `coming` that of the router before us (see [`AdminSocket::own`]).
///
/// # Errors
/// When it cannot be used.
pub fn inherit(
    path: &Path,
    listener: UnixListener,
    coming: bool,
) -> Result<AdminSocket, SocketError> {
    let fail = |source| SocketError::Io { path: path.to_owned(), source };
    listener.set_nonblocking(true).map_err(fail)?;
    Ok(AdminSocket { listener, path: path.to_owned(), file: None, coming })
}

/// Whether what is there is a socket of ours that nobody answers on any more. A link is none: where
/// it points to is for others to say.
fn is_left_behind(path: &Path, meta: &Metadata, us: u32) -> Result<(), SocketError> {
    if !meta.file_type().is_socket() {
        return Err(SocketError::NoSocket(path.to_owned()));
    }
    if meta.uid() != us {
        return Err(SocketError::Foreign(path.to_owned(), meta.uid()));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        // Of a router that was killed.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(source) => Err(SocketError::Io { path: path.to_owned(), source }),
    }
}

fn make(private: &Path, path: &Path, mode: u32) -> io::Result<(UnixListener, (u64, u64))> {
    let listener = UnixListener::bind(private)?;
    std::fs::set_permissions(private, std::fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    let file = file(&std::fs::symlink_metadata(private)?);
    std::fs::rename(private, path)?;
    Ok((listener, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dead_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/admin.sock");
        let first = bind(&path, 0o600).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(bind(&path, 0o600), Err(SocketError::InUse(_))));
        drop(UnixListener::bind(dir.path().join("dead.sock")).unwrap());
        bind(&dir.path().join("dead.sock"), 0o600).unwrap();
        drop(first);
        assert!(!path.exists());
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(bind(&path, 0o600), Err(SocketError::NoSocket(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
    #[test]
    fn what_is_no_socket_of_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        drop(UnixListener::bind(path("dead.sock")).unwrap());
        std::os::unix::fs::symlink(path("dead.sock"), path("link.sock")).unwrap();
        std::fs::create_dir(path("folder.sock")).unwrap();
        for name in ["link.sock", "folder.sock"] {
            assert!(matches!(bind(&path(name), 0o600), Err(SocketError::NoSocket(_))), "{name}");
        }
        let meta = std::fs::symlink_metadata(path("dead.sock")).unwrap();
        let judged = |us| is_left_behind(&path("dead.sock"), &meta, us);
        assert!(judged(meta.uid()).is_ok());
        assert!(
            matches!(judged(meta.uid() + 1), Err(SocketError::Foreign(_, uid)) if uid == meta.uid())
        );
    }

    #[test]
    fn a_folder_that_is_everybodys_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let open = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir.path(), mode).unwrap();
            bind(&dir.path().join("admin.sock"), 0o600)
        };
        assert!(matches!(open(0o777), Err(SocketError::Open(_))));
        for mode in [0o1777, 0o770, 0o755] {
            open(mode).unwrap();
        }
    }

    #[test]
    fn the_file_of_another_router_is_left_alone_until_it_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let old = bind(&path, 0o600).unwrap();
        let inherited = || inherit(&path, old.listener.try_clone().unwrap(), true).unwrap();
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        drop(inherited());
        assert_eq!(mode(), 0o600);
        let mut new = inherited();
        new.own(0o660).unwrap();
        assert_eq!((mode(), new.path()), (0o660, Some(path.as_path())));
        drop(new);
        assert!(!path.exists());
    }

    #[test]
    fn only_our_own_file_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let socket = bind(&path, 0o600).unwrap();
        std::fs::rename(&path, dir.path().join("moved")).unwrap();
        std::fs::write(&path, "another's").unwrap();
        drop(socket);
        assert!(path.exists());
    }
}
