//! Sections to the checked [`Config`]: every key, its default and its range, in the order of the
//! example file.
//!
//! Does not know: TOML, profiles, where problems are collected.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;

use http::HeaderValue;
use http::uri::{Authority, PathAndQuery, Uri};

use super::environment::{SOCKET_VARIABLE, default_socket, default_state_dir};
use super::file::{Field, Section};
use super::unknown::nearest;
use super::{
    Admin, ArmConfig, Balance, Config, ErrorStyle, HostPolicy, Log, LogFormat, ReadOnly,
    RolloutConfig,
};
use super::{affinity, decide, dns, door, health, operate, secret, tls, units};
use crate::names::{Arm, BadName, EndpointUrl, PerArm, Split};

/// More addresses than this belong behind a balancer of their own.
const ENDPOINTS_MAX: usize = 64;

/// What a socket address of Linux holds, less its final zero.
const SOCKET_PATH_MAX: usize = 107;

/// Builds the configuration. It is true if no problem was recorded on the way.
pub(super) fn config(root: &mut Section<'_>) -> Config {
    let listen_field = root.take("listen");
    let listen = listen(listen_field.as_ref());
    let (path, sse_path) = paths(root);
    Config {
        file: None,
        profile: None,
        workers: root.number("workers", 1..=1024, cores()),
        path,
        sse_path,
        public_origin: root.parse("public_origin", None, |text| origin(text).map(Some)),
        host: root.take("host").and_then(|field| field.parse_text(host)).unwrap_or_default(),
        errors: root
            .choice("errors", &[("jsonrpc", ErrorStyle::JsonRpc), ("http", ErrorStyle::Http)]),
        state_dir: root.path("state_dir", default_state_dir(root.env()), Ok),
        arms: PerArm::from_fn(|name| arm(root.section(name.as_str()), name)),
        split: split(root.section("split")),
        affinity: affinity::affinity(root.section("affinity")),
        http: door::http(root.section("http")),
        tls: tls::server(root.section("tls"), tls::CLIENTS),
        limits: door::limits(root.section("limits")),
        timeouts: door::timeouts(root.section("timeouts")),
        dns: dns::dns(root.section("dns")),
        health: health::health(root.section("health")),
        guards: decide::guards(root.section("guards")),
        rollout: decide::rollout(root.section("rollout"), &RolloutConfig::default()),
        alerts: decide::alerts(root.section("alerts")),
        validation: operate::validation(root.section("validation")),
        notify: operate::notify(root.section("notify")),
        admin: admin(root.section("admin")),
        metrics: door::metrics(root.section("metrics"), &listen, listen_field.as_ref()),
        log: log(root.section("log")),
        listen,
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(1024)
}

// === impl top level ===

fn listen(field: Option<&Field<'_>>) -> Vec<SocketAddr> {
    let Some(field) = field else {
        return vec![SocketAddr::from(([127, 0, 0, 1], 8080))];
    };
    distinct(field, 16, |field, taken| field.parse(|text| fresh_address(text, taken)))
}

pub(super) fn address(text: &str) -> Result<SocketAddr, BadName> {
    text.parse().map_err(|_| {
        BadName(format!("`{text}` is no address with a port, such as 127.0.0.1:8080 or [::]:8080"))
    })
}

fn fresh_address(text: &str, taken: &[SocketAddr]) -> Result<SocketAddr, BadName> {
    let address = address(text)?;
    // Port 0 asks the system for any free one, so two of those differ.
    if address.port() == 0 { Ok(address) } else { fresh(address, text, taken) }
}

fn url_path(text: &str) -> Result<String, BadName> {
    let bad = |why: &str| BadName(format!("`{text}` {why}"));
    if !text.starts_with('/') {
        return Err(bad("must start with `/`"));
    }
    let path: PathAndQuery = text.parse().map_err(|_| bad("is no path of a URL"))?;
    if path.query().is_some() || text.contains('#') {
        return Err(bad("must be a path alone, without `?` or `#`"));
    }
    Ok(text.to_owned())
}

fn paths(root: &mut Section<'_>) -> (String, String) {
    let fields = [root.take("path"), root.take("sse_path")];
    let read = |field: &Option<Field<'_>>, default: &str| {
        field.as_ref().and_then(|field| field.parse(url_path)).unwrap_or_else(|| default.into())
    };
    let (path, sse_path) = (read(&fields[0], "/mcp"), read(&fields[1], "/sse"));
    let [path_field, sse_field] = fields;
    if let (true, Some(field)) = (path == sse_path, sse_field.or(path_field)) {
        field.problem("`path` and `sse_path` have to differ");
    }
    (path, sse_path)
}

pub(super) fn origin(text: &str) -> Result<String, BadName> {
    let bad = || {
        let shown = without_password(text);
        BadName(format!("{shown} is no origin, such as https://mcp.example.com"))
    };
    let uri: Uri = text.parse().map_err(|_| bad())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(bad());
    };
    let alone = uri.path().len() <= 1 && uri.query().is_none() && !text.contains('#');
    if !alone || !matches!(scheme, "http" | "https") || !is_host(authority) {
        return Err(bad());
    }
    Ok(format!("{scheme}://{authority}").to_ascii_lowercase())
}

fn host(text: &str) -> Result<HostPolicy, BadName> {
    match text {
        "preserve" => return Ok(HostPolicy::Preserve),
        "upstream" => return Ok(HostPolicy::Upstream),
        _ => {}
    }
    if let Some(word) = nearest(text, ["preserve", "upstream"].into_iter()) {
        return Err(BadName(format!("`{text}`: did you mean `{word}`?")));
    }
    host_value(text).map(HostPolicy::Fixed).ok_or_else(|| {
        let shown = without_password(text);
        BadName(format!("{shown} is neither `preserve`, `upstream` nor a host such as mcp.local"))
    })
}

/// A value for the `Host` header: a host with a usable port or none.
pub(super) fn host_value(text: &str) -> Option<HeaderValue> {
    let fits = text.parse::<Authority>().is_ok_and(|authority| is_host(&authority));
    HeaderValue::from_str(text).ok().filter(|_| fits)
}

/// A name as a complaint repeats it: not where somebody's password may be in it.
pub(super) fn without_password(text: &str) -> String {
    if text.contains('@') { "this".to_owned() } else { format!("`{text}`") }
}

/// Whether this is a host with a usable port or none, and nobody's password.
fn is_host(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    let usable = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let port_fits = port.is_some_and(|port| match port.strip_prefix(':') {
        Some(port) => usable(port),
        None => port.is_empty(),
    });
    !authority.host().is_empty() && port_fits
}

// === impl arms and split ===

fn arm(mut section: Section<'_>, arm: Arm) -> ArmConfig {
    let place = match arm {
        Arm::Primary => "[primary.tls]",
        Arm::Secondary => "[secondary.tls]",
    };
    ArmConfig {
        endpoints: endpoints(&mut section, arm),
        headers: secret::headers(section.section("headers")),
        lifecycle: operate::lifecycle(section.section("lifecycle")),
        tls: tls::client(&mut section.section("tls"), place),
        balance: section.choice(
            "balance",
            &[
                ("least-requests", Balance::LeastRequests),
                ("round-robin", Balance::RoundRobin),
                ("random", Balance::Random),
            ],
        ),
    }
}

fn endpoints(section: &mut Section<'_>, arm: Arm) -> Vec<EndpointUrl> {
    let Some(field) = section.take("endpoints") else {
        let port = match arm {
            Arm::Primary => 3000,
            Arm::Secondary => 3001,
        };
        let url = format!("http://127.0.0.1:{port}/mcp");
        return vec![url.parse().expect("a literal URL")];
    };
    distinct(&field, ENDPOINTS_MAX, |field, taken| {
        field.parse(|text| fresh(text.parse()?, text, taken))
    })
}

fn split(mut section: Section<'_>) -> Split {
    let mut weights = PerArm::default();
    let mut place = None;
    for arm in Arm::ALL {
        let Some(field) = section.take(arm.as_str()) else { continue };
        let Some(weight) = field.parse(units::percent) else { return Split::PRIMARY_ONLY };
        *weights.get_mut(arm) = Some(weight);
        place = Some(field);
    }
    let (Some(split), Some(field)) = (units::split_of(&weights), place) else {
        return Split::PRIMARY_ONLY;
    };
    split.unwrap_or_else(|bad| {
        field.problem(&bad.0);
        Split::PRIMARY_ONLY
    })
}

// === impl the other sections ===

fn admin(mut section: Section<'_>) -> Admin {
    let socket = socket(&mut section);
    Admin {
        mode: mode(&mut section),
        users: ids(section.take("users"), "user", user),
        groups: ids(section.take("groups"), "group", group),
        read_only: read_only(section.section("read_only"), &socket),
        socket,
    }
}

/// The socket where nothing can be changed, if one is asked for.
fn read_only(mut section: Section<'_>, admin: &Path) -> Option<ReadOnly> {
    let socket = section.path("socket", PathBuf::new(), |path| {
        let same = || BadName("is the path of `admin.socket`: two sockets need two".to_owned());
        if path == admin { Err(same()) } else { socket_path(path) }
    });
    let mode = mode(&mut section);
    let users = ids(section.take("users"), "user", user);
    let groups = ids(section.take("groups"), "group", group);
    (!socket.as_os_str().is_empty()).then_some(ReadOnly { socket, mode, users, groups })
}

fn socket(section: &mut Section<'_>) -> PathBuf {
    let default = default_socket(section.env());
    let asked = section.env().get(SOCKET_VARIABLE).map(PathBuf::from);
    let written = section.path("socket", default, socket_path);
    asked.unwrap_or(written)
}

fn socket_path(path: PathBuf) -> Result<PathBuf, BadName> {
    let long = format!("is longer than the {SOCKET_PATH_MAX} bytes that a socket may have");
    if path.as_os_str().len() <= SOCKET_PATH_MAX { Ok(path) } else { Err(BadName(long)) }
}

fn mode(section: &mut Section<'_>) -> u32 {
    // As an integer, 600 would be octal 1130: only a string says what was meant.
    let Some(field) = section.take("mode") else { return 0o600 };
    let read = |text: &str| {
        let mode = units::mode(text)?;
        let locked = || BadName(format!("`{text}` locks the router itself out: use 0600 or more"));
        (mode & 0o600 == 0o600).then_some(mode).ok_or_else(locked)
    };
    field.parse_text(read).unwrap_or(0o600)
}

fn ids(field: Option<Field<'_>>, what: &str, find: impl Fn(&str) -> Option<u32>) -> Vec<u32> {
    let id = |field: Field<'_>| {
        let name = field.parse(|text| Ok(text.to_owned()))?;
        let id = name.parse().ok().filter(|id| *id != u32::MAX).or_else(|| find(&name));
        if id.is_none() {
            field.machine_problem(&format!("this machine has no such {what}"));
        }
        id
    };
    field.map(|field| field.items()).unwrap_or_default().into_iter().filter_map(id).collect()
}

fn user(name: &str) -> Option<u32> {
    nix::unistd::User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

fn group(name: &str) -> Option<u32> {
    nix::unistd::Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

fn log(mut section: Section<'_>) -> Log {
    Log {
        format: section.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
        level: section.parse("level", "info".into(), level),
        access: section.choice("access", &[("off", false), ("on", true)]),
    }
}

/// Checks a filter more strictly than the library that uses it, to which a misspelt level is the
/// name of a module.
fn level(text: &str) -> Result<String, BadName> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    for part in text.split(',') {
        let (module, level) = part.split_once('=').unwrap_or(("tidegate", part));
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        if !LEVELS.contains(&level) || module.is_empty() || !module.chars().all(fits) {
            return Err(BadName(format!(
                "`{part}` is no level: write `error`, `warn`, `info`, `debug` or `trace`, or a \
                 filter such as `info,tidegate::proxy=debug`"
            )));
        }
    }
    Ok(text.to_owned())
}

// === impl lists ===

/// Reads a list that must not be empty, too long, or hold anything twice.
pub(super) fn distinct<T>(
    field: &Field<'_>,
    max: usize,
    read: impl Fn(&Field<'_>, &[T]) -> Option<T>,
) -> Vec<T> {
    if field.is_empty_list() {
        field.problem("must hold at least one");
    }
    let mut taken = Vec::new();
    for item in field.items() {
        if taken.len() == max {
            item.problem(&format!("is one too many: at most {max}"));
            break;
        }
        taken.extend(read(&item, &taken));
    }
    taken
}

/// Refuses what is taken already.
pub(super) fn fresh<T: PartialEq>(value: T, text: &str, taken: &[T]) -> Result<T, BadName> {
    if taken.contains(&value) {
        return Err(BadName(format!("`{text}` is there already")));
    }
    Ok(value)
}

#[cfg(test)]
mod tests;
