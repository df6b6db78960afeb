//! Tests of the words and of a manager that does not listen.

use std::collections::HashMap;

use super::*;

#[test]
fn words() {
    let status = |text: &str| Message::Status(text.to_owned());
    let long = "ä".repeat(STATUS_MAX + 1);
    for (message, expected) in [
        (Message::Ready, "READY=1"),
        (Message::Reloading(Duration::new(7, 123_456_789)), "RELOADING=1\nMONOTONIC_USEC=7123456"),
        (Message::Stopping, "STOPPING=1"),
        (status("90:10, 2 of 2 up"), "STATUS=90:10, 2 of 2 up"),
        (status("a\nMAINPID=1\r\0"), "STATUS=a MAINPID=1  "),
        (status(""), "STATUS="),
        (status(&long), &format!("STATUS={}", &long[2..])),
        (Message::Watchdog, "WATCHDOG=1"),
        (Message::ExtendTimeout(Duration::from_millis(2500)), "EXTEND_TIMEOUT_USEC=2500000"),
        (Message::MainPid(4711), "MAINPID=4711"),
    ] {
        assert_eq!(message.to_string(), expected);
    }
    let Message::Reloading(first) = Message::reloading() else { panic!() };
    let Message::Reloading(second) = Message::reloading() else { panic!() };
    assert!(Duration::ZERO < first && first <= second);
}

fn find(variables: &[(&str, &str)]) -> Supervisor {
    let all: HashMap<_, _> = variables.iter().copied().collect();
    Supervisor::find(|name| all.get(name).copied(), 7)
}

#[test]
fn who_watches() {
    let second = Some(Duration::from_secs(1));
    for (micros, pid, expected) in [
        (Some("1000000"), Some("7"), second),
        (Some("1000000"), None, second),
        (Some("1000000"), Some("8"), None),
        (Some("1000000"), Some("x"), None),
        (Some("0"), None, None),
        (Some("-1"), None, None),
        (Some("soon"), None, None),
        (None, Some("7"), None),
    ] {
        assert_eq!(watchdog(micros, pid, 7), expected, "{micros:?} {pid:?}");
    }
    assert_eq!(find(&[("WATCHDOG_USEC", "1000000")]).watchdog(), None, "nobody to tell");
    assert_eq!(find(&[("WATCHDOG_USEC", "1000000"), ("NOTIFY_SOCKET", "/x")]).watchdog(), second);
}

/// A manager, and a supervisor that knows it under this name.
fn manager(name: &str) -> (UnixDatagram, Supervisor) {
    let socket = match name.strip_prefix('@') {
        Some(name) => {
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
        }
        None => UnixDatagram::bind(name).unwrap(),
    };
    socket.set_nonblocking(true).unwrap();
    (socket, find(&[("NOTIFY_SOCKET", name)]))
}

fn next(manager: &UnixDatagram) -> Option<String> {
    let mut bytes = [0; 8192];
    let read = manager.recv(&mut bytes).ok()?;
    Some(String::from_utf8(bytes[..read].to_vec()).unwrap())
}

#[test]
fn both_kinds_of_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify").display().to_string();
    for name in [path, format!("@tidegate-{}", dir.path().display())] {
        let (manager, supervisor) = manager(&name);
        assert!(supervisor.is_there());
        supervisor.tell(&[Message::Ready, Message::Status("well".to_owned())]);
        assert_eq!(next(&manager).as_deref(), Some("READY=1\nSTATUS=well"), "{name}");
    }
}

#[test]
fn nobody_is_told_nothing() {
    let long = format!("/{}", "x".repeat(200));
    let dead = tempfile::tempdir().unwrap().path().join("gone").display().to_string();
    for (name, there) in [("vsock:2:1", false), ("here", false), (&long, false), (&dead, true)] {
        let supervisor = find(&[("NOTIFY_SOCKET", name)]);
        supervisor.tell(&[Message::Ready]);
        assert_eq!(supervisor.is_there(), there, "{name}");
        assert!(supervisor.waiting.borrow().is_empty());
    }
    assert!(!find(&[]).is_there() && !Supervisor::none().is_there());
}

#[test]
fn a_slow_manager_gets_everything_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, supervisor) = manager(&dir.path().join("notify").display().to_string());
    // As many as the system holds for it, and a few that wait here.
    let mut told = 0_usize;
    while supervisor.waiting.borrow().len() < 3 {
        supervisor.tell(&[Message::Status(told.to_string())]);
        told += 1;
    }
    let mut seen = Vec::new();
    while seen.len() < told {
        seen.extend(std::iter::from_fn(|| next(&manager)));
        supervisor.catch_up();
    }
    let expected: Vec<_> = (0..told).map(|number| format!("STATUS={number}")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn whoever_has_handed_over_is_silent() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, supervisor) = manager(&dir.path().join("notify").display().to_string());
    supervisor.tell(&[Message::MainPid(8)]);
    supervisor.tell(&[Message::Stopping]);
    assert_eq!(next(&manager).as_deref(), Some("MAINPID=8"));
    assert_eq!(next(&manager), None);
}

#[test]
fn whose_last_word_waits_for_a_slow_manager_says_it_later() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, supervisor) = manager(&dir.path().join("notify").display().to_string());
    while supervisor.waiting.borrow().is_empty() {
        supervisor.tell(&[Message::Watchdog]);
    }
    supervisor.tell(&[Message::MainPid(8)]);
    while next(&manager).is_some() {}
    supervisor.tell(&[Message::Stopping]);
    let rest: Vec<_> = std::iter::from_fn(|| next(&manager)).collect();
    assert_eq!(rest, ["WATCHDOG=1", "MAINPID=8"]);
}
