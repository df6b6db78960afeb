//! Space kept for the day when the disk is full: a file of zeros, given back for the lines that
//! must be written then.
//!
//! It is a mark besides, and one that also a full disk can be given: it is there as long as every
//! line is written, so that a start which does not find it knows that some may be missing. Does not
//! know: what is written.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Bytes of it: more than a hundred lines.
pub(super) const SIZE: usize = 64 * 1024;

/// The file.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    is_held: bool,
}

impl Reserve {
    /// The reserve of this directory, as it is.
    pub(super) fn new(dir: &Path) -> Reserve {
        let path = dir.join("audit.reserve");
        let is_held = std::fs::metadata(&path).is_ok_and(|meta| meta.len() == SIZE as u64);
        Reserve { path, is_held }
    }

    /// Whether there is one, of whatever size.
    pub(super) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Whether it is there, whole.
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Makes it, unless it is there or there is no room.
    pub(super) fn make(&mut self) {
        if self.is_held {
            return;
        }
        self.is_held = self.write().is_ok();
        if !self.is_held {
            // Half of it would only take what others need.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    fn write(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&self.path)?;
        file.write_all(&vec![0; SIZE])?;
        file.sync_all()
    }

    /// Gives the space back; whether there was any.
    pub(super) fn spend(&mut self) -> bool {
        let was_held = std::mem::take(&mut self.is_held);
        was_held && std::fs::remove_file(&self.path).is_ok()
    }
}

/// Whether a write failed for want of space.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
