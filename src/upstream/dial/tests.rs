//! Addresses that answer, refuse, or are silent; the clock stands.

use std::cell::RefCell;

use super::*;
use io::ErrorKind::{ConnectionRefused, TimedOut};

/// What becomes of an attempt at an address: `+` and `-` after so many milliseconds, or nothing.
async fn attempt(what: &str) -> io::Result<()> {
    let (good, after) = what.split_at(1);
    if good == "?" {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(Duration::from_millis(after.parse().unwrap())).await;
    if good == "+" { Ok(()) } else { Err(io::Error::new(ConnectionRefused, "no")) }
}

#[tokio::test(start_paused = true)]
async fn the_first_that_answers_wins() {
    for (addresses, millis, tried, found) in [
        ("+10", 10, 1, "ok"),
        ("+10 +10", 10, 1, "ok"),
        // One that is silent is not waited for.
        ("?0 +10", 260, 2, "ok"),
        ("?0 ?0 +10", 510, 3, "ok"),
        // One that refuses gives way at once.
        ("-5 +10", 15, 2, "ok"),
        ("-5 -5 -5 +10", 25, 4, "ok"),
        ("?0 -10 +10", 270, 3, "ok"),
        // A slow one may still be the first.
        ("+300 ?0", 300, 2, "ok"),
        ("+300 +10", 260, 2, "ok"),
        ("-7", 7, 1, "no"),
        ("-300 -100", 350, 2, "0.0.0.0:1: no; 0.0.0.1:1: no"),
    ] {
        let scripts: Vec<_> = addresses.split(' ').collect();
        let all: Vec<SocketAddr> =
            (0..scripts.len()).map(|it| SocketAddr::from(([0, 0, 0, it as u8], 1))).collect();
        let begun = RefCell::new(0);
        let connect = |at: SocketAddr| {
            *begun.borrow_mut() += 1;
            let IpAddr::V4(ip) = at.ip() else { unreachable!() };
            attempt(scripts[usize::from(ip.octets()[3])])
        };
        let start = Instant::now();
        let ended =
            tokio::time::timeout(Duration::from_secs(9), first(all, connect)).await.unwrap();
        let ended = ended.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
        let took = start.elapsed().as_millis();
        assert_eq!((ended.as_str(), *begun.borrow()), (found, tried), "{addresses}");
        // The clock of the runtime is coarse.
        assert!((millis..millis + 8).contains(&took), "{addresses}: {took} ms");
    }
}

#[test]
fn families_take_turns() {
    for (given, turns) in [
        ("", ""),
        ("1.1.1.1 1.1.1.2", "1.1.1.1 1.1.1.2"),
        ("::1 ::2 ::3 1.1.1.1", "::1 1.1.1.1 ::2 ::3"),
        ("1.1.1.1 ::1 ::2 1.1.1.2 1.1.1.3", "1.1.1.1 ::1 1.1.1.2 ::2 1.1.1.3"),
    ] {
        let given: Vec<IpAddr> = given.split_whitespace().map(|it| it.parse().unwrap()).collect();
        let found: Vec<_> = by_turns(&given).iter().map(ToString::to_string).collect();
        assert_eq!(found.join(" "), turns);
    }
}

#[test]
fn refused_is_only_what_all_refuse() {
    let error = |kind| (SocketAddr::from(([0; 4], 1)), io::Error::new(kind, "x"));
    assert_eq!(
        all(vec![error(ConnectionRefused), error(ConnectionRefused)]).kind(),
        ConnectionRefused
    );
    assert_ne!(all(vec![error(TimedOut), error(ConnectionRefused)]).kind(), ConnectionRefused);
}
