//! The key of the tags and the salt of the principal hash: from the configuration, or made once
//! and kept in the state directory.
//!
//! A key that is lost ends every session, so it is kept even where nobody configured one. Does not
//! know: what a tag looks like.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rand::TryRng as _;
use rand::rngs::SysRng;

use crate::config::{Affinity, Secret};
use crate::route::principal::Salt;
use crate::route::tag::Keyring;

/// Characters of a secret that we make: 256 bits in base64url.
const SECRET_CHARS: usize = 43;

/// A secret that cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system refused.
    #[error(
        "cannot keep the secret {path}: {source}; let this user write there, or name another state_dir"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there, but others can read it.
    #[error("others can read the secret {path} (mode {mode:o}): run `chmod 600` on it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is there, but not as we wrote it.
    #[error(
        "the secret {0} is damaged: it must be {SECRET_CHARS} characters; remove it to have a new one made, which ends every session"
    )]
    Damaged(PathBuf),
    /// The operating system has no randomness.
    #[error("cannot make a secret: {0}; configure one, such as affinity.key")]
    Random(#[from] rand::rngs::SysError),
}

/// What to do about a secret that is neither configured nor kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Make it: at the start.
    Make,
    /// Refuse: at a reload, where a new one would end every session.
    Refuse,
}

/// The keys of the tags.
pub fn keyring(
    affinity: &Affinity,
    state_dir: &Path,
    missing: Missing,
) -> Result<Keyring, KeyError> {
    let previous = affinity.previous_key.as_ref().map(Secret::expose);
    match &affinity.key {
        Some(key) => Ok(Keyring::new(key.expose(), previous)),
        None => Ok(Keyring::new(&kept(state_dir, "session.key", missing)?, previous)),
    }
}

/// The salt of the principal hash.
pub fn salt(affinity: &Affinity, state_dir: &Path, missing: Missing) -> Result<Salt, KeyError> {
    match &affinity.salt {
        Some(salt) => Ok(Salt::new(salt.expose())),
        None => Ok(Salt::new(&kept(state_dir, "principal.salt", missing)?)),
    }
}

/// The secret in this file, which is made if it is not there: a line of text, so that it can be
/// named as `previous_key = { file = ... }` once another is configured.
fn kept(state_dir: &Path, name: &str, missing: Missing) -> Result<Vec<u8>, KeyError> {
    let path = state_dir.join(name);
    let fail = |source| KeyError::Io { path: path.clone(), source };
    match std::fs::metadata(&path) {
        Ok(meta) if meta.mode() & 0o077 != 0 => {
            return Err(KeyError::Exposed { path: path.clone(), mode: meta.mode() & 0o777 });
        }
        Ok(_) => {
            let bytes = std::fs::read(&path).map_err(fail)?;
            let secret = bytes.trim_ascii_end().to_vec();
            return if secret.len() == SECRET_CHARS {
                Ok(secret)
            } else {
                Err(KeyError::Damaged(path))
            };
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && missing == Missing::Make => {}
        Err(error) => return Err(fail(error)),
    }
    let mut random = [0; 32];
    SysRng.try_fill_bytes(&mut random)?;
    let secret = BASE64.encode(random);
    write_whole(state_dir, name, format!("{secret}\n").as_bytes()).map_err(fail)?;
    Ok(secret.into_bytes())
}

/// Puts a file into the state directory in one step, readable by its owner only.
pub(super) fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = dir.join(format!("{name}.new"));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, dir.join(name))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let first = kept(dir.path(), "session.key", Missing::Make).unwrap();
        assert_eq!(kept(dir.path(), "session.key", Missing::Make).unwrap(), first);
        let path = dir.path().join("session.key");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            kept(dir.path(), "session.key", Missing::Make),
            Err(KeyError::Exposed { .. })
        ));
    }

    #[test]
    fn a_reload_makes_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        assert!(kept(dir.path(), "session.key", Missing::Refuse).is_err());
        assert!(!dir.path().join("session.key").exists());
    }

    #[test]
    fn a_damaged_secret_is_not_replaced_behind_ones_back() {
        let dir = tempfile::tempdir().unwrap();
        write_whole(dir.path(), "session.key", b"short").unwrap();
        assert!(matches!(
            kept(dir.path(), "session.key", Missing::Make),
            Err(KeyError::Damaged(_))
        ));
    }
}
