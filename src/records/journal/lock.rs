//! One router on a state directory: a locked file, which the kernel unlocks when its owner ends.
//!
//! Does not know: what is in the directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::JournalError;

/// Held as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or names who has it.
    pub(super) fn take(dir: &Path) -> Result<Lock, JournalError> {
        let path = dir.join("lock");
        let fail = |source| JournalError::Lock { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Who it is helps, but the answer is no without it too.
                let _ = file.read_to_string(&mut text);
                let pid = text.trim().parse().ok();
                return Err(JournalError::InUse { dir: dir.to_owned(), pid });
            }
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        // On a full disk the lock holds also without our number in it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Lock { _file: file })
    }
}
