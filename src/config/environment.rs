//! The environment as a value, and the places it decides.
//!
//! Tests give another environment instead of changing the process's own, which all of its threads
//! share. Does not know: the configuration file.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The environment: the process's own in production, a map in tests.
#[derive(Clone, Default)]
pub struct Environment(pub HashMap<String, String>);

impl Environment {
    /// The environment of this process. Variables that are not UTF-8 count as unset.
    pub fn from_process() -> Environment {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Environment(std::env::vars_os().filter_map(text).collect())
    }

    /// A variable; an empty one counts as unset, because nothing here means anything empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The same with the admin socket that the command line names.
    #[must_use]
    pub fn with_socket(mut self, socket: Option<&Path>) -> Environment {
        if let Some(socket) = socket.and_then(Path::to_str) {
            self.0.insert(SOCKET_VARIABLE.to_owned(), socket.to_owned());
        }
        self
    }

    /// The same with the folders that a service has, where the file is that of one and nothing else
    /// names them: commands then meet the service without being told its socket.
    #[must_use]
    pub(super) fn of_service(&self, file: Option<&Path>) -> Environment {
        let mut env = self.clone();
        let Some(name) = file.and_then(service) else { return env };
        for (variable, parent) in [(RUNTIME, "/run"), (STATE, "/var/lib")] {
            if env.get(variable).is_none() {
                env.0.insert(variable.to_owned(), format!("{parent}/{name}"));
            }
        }
        env
    }

    /// A folder that a variable names. systemd may list several, of which the first is ours;
    /// relative ones are to be ignored, as the XDG specification says.
    pub(super) fn folder(&self, name: &str) -> Option<PathBuf> {
        let first = self.get(name)?.split(':').next()?;
        first.starts_with('/').then(|| PathBuf::from(first))
    }
}

/// Values stay out of sight: many are secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.0.len())
    }
}

/// Names the admin socket, whatever a file says; `--socket` does the same.
pub(super) const SOCKET_VARIABLE: &str = "TIDEGATE_SOCKET";

/// Folders that systemd gives a service.
const RUNTIME: &str = "RUNTIME_DIRECTORY";
const STATE: &str = "STATE_DIRECTORY";

/// The folder under /run and /var/lib of the service whose file this is: `RuntimeDirectory=` and
/// `StateDirectory=` of systemd/tidegate.service and tidegate@.service.
fn service(file: &Path) -> Option<String> {
    let file = std::path::absolute(file).ok()?;
    let name = file.strip_prefix("/etc/tidegate").ok()?.to_str()?.strip_suffix(".toml")?;
    match name {
        "tidegate" => Some(name.to_owned()),
        _ => (!name.contains('/')).then(|| format!("tidegate/{name}")),
    }
}

/// Where the admin socket is unless a file says otherwise. The command line asks here, too, so
/// that both ends meet without a file.
pub fn default_socket(env: &Environment) -> PathBuf {
    if let Some(socket) = env.get(SOCKET_VARIABLE) {
        return PathBuf::from(socket);
    }
    if let Some(folder) = env.folder(RUNTIME) {
        return folder.join("admin.sock");
    }
    let user = env.folder("XDG_RUNTIME_DIR");
    user.unwrap_or_else(|| PathBuf::from("/run")).join("tidegate/admin.sock")
}

/// Where keys, the split in force and the audit log are kept unless a file says otherwise.
pub(super) fn default_state_dir(env: &Environment) -> PathBuf {
    if let Some(folder) = env.folder(STATE) {
        return folder;
    }
    let user = env
        .folder("XDG_STATE_HOME")
        .or_else(|| env.folder("HOME").map(|home| home.join(".local/state")));
    // Without a home we are a service that was started by hand; this is what systemd would give.
    user.unwrap_or_else(|| PathBuf::from("/var/lib")).join("tidegate")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Environment {
        Environment(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect())
    }

    #[test]
    fn default_places() {
        let run = ("RUNTIME_DIRECTORY", "/run/tidegate-a:/run/b");
        let xdg = ("XDG_RUNTIME_DIR", "/run/user/7");
        let socket = |pairs: &[_]| default_socket(&env(pairs)).display().to_string();
        assert_eq!(socket(&[run, xdg]), "/run/tidegate-a/admin.sock");
        assert_eq!(socket(&[xdg]), "/run/user/7/tidegate/admin.sock");
        assert_eq!(socket(&[("XDG_RUNTIME_DIR", "here")]), "/run/tidegate/admin.sock");
        assert_eq!(socket(&[]), "/run/tidegate/admin.sock");

        let home = ("HOME", "/home/x");
        let xdg = ("XDG_STATE_HOME", "/s");
        let state = |pairs: &[_]| default_state_dir(&env(pairs)).display().to_string();
        assert_eq!(state(&[("STATE_DIRECTORY", "/var/lib/t"), xdg, home]), "/var/lib/t");
        assert_eq!(state(&[xdg, home]), "/s/tidegate");
        assert_eq!(state(&[home]), "/home/x/.local/state/tidegate");
        assert_eq!(state(&[]), "/var/lib/tidegate");
    }

    #[test]
    fn the_file_of_a_service_tells_its_places() {
        let run = ("RUNTIME_DIRECTORY", "/run/of-systemd");
        let xdg = ("XDG_RUNTIME_DIR", "/run/user/7");
        let places = |file: &str, pairs: &[_]| {
            let env = env(pairs).of_service(Some(Path::new(file)));
            format!("{} {}", default_socket(&env).display(), default_state_dir(&env).display())
        };
        for (file, pairs, expected) in [
            (
                "/etc/tidegate/tidegate.toml",
                &[xdg][..],
                "/run/tidegate/admin.sock /var/lib/tidegate",
            ),
            ("/etc/tidegate/a.toml", &[xdg], "/run/tidegate/a/admin.sock /var/lib/tidegate/a"),
            ("/etc/tidegate/a.toml", &[run], "/run/of-systemd/admin.sock /var/lib/tidegate/a"),
            ("/etc/tidegate/b/a.toml", &[], "/run/tidegate/admin.sock /var/lib/tidegate"),
            ("/etc/tidegate.toml", &[xdg], "/run/user/7/tidegate/admin.sock /var/lib/tidegate"),
        ] {
            assert_eq!(places(file, pairs), expected, "{file}");
        }
    }

    #[test]
    fn values_stay_out_of_sight() {
        assert!(!format!("{:?}", env(&[("TOKEN", "hunter2")])).contains("hunter2"));
    }

    #[test]
    fn the_process_has_an_environment() {
        assert!(Environment::from_process().get("PATH").is_some());
    }
}
