//! The socket file: made with its mode before anyone can connect, never on top of a stranger's.
//!
//! Does not know: who may connect (the peer's credentials are checked per connection).

use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

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
    /// The file system refused.
    #[error("cannot make the admin socket {path}: {source}; choose another with --socket")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The socket file; removed when it is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    /// Where connections come in.
    pub listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let own = std::fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode);
        if own {
            // One that is gone already is no loss.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes the socket.
///
/// # Errors
/// When somebody else has it, or the place is not ours to write.
pub fn bind(path: &Path, mode: u32) -> Result<AdminSocket, SocketError> {
    let fail = |source| SocketError::Io { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(SocketError::NoSocket(path.to_owned()));
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(SocketError::InUse(path.to_owned())),
            // Left behind by a router that was killed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(fail(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail(error)),
    }
    let dir = path.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(dir).map_err(fail)?;
    // Made in a private folder and moved into place, so that it never stands open.
    let private = dir.join(format!(".{:08x}", rand::random::<u32>()));
    std::fs::DirBuilder::new().mode(0o700).create(&private).map_err(fail)?;
    let made = make(&private.join("s"), path, mode);
    let _ = std::fs::remove_dir_all(&private);
    let listener = made.map_err(fail)?;
    let inode = std::fs::symlink_metadata(path).map_err(fail)?.ino();
    Ok(AdminSocket { listener, path: path.to_owned(), inode })
}

fn make(private: &Path, path: &Path, mode: u32) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(private)?;
    std::fs::set_permissions(private, std::fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    std::fs::rename(private, path)?;
    Ok(listener)
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
}
