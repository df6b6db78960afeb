//! Look-ups to endpoints.

use proptest::prelude::*;

use super::*;

const NAME: &str = "mcp.internal:3000";

fn urls(texts: &[&str]) -> Vec<EndpointUrl> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn answer(text: &str) -> Answer {
    match text.strip_prefix('!') {
        Some(why) => Err(NoAddress::Failed(why.into())),
        None => Ok(text.split(' ').map(|it| it.parse().unwrap()).collect()),
    }
}

/// The last numbers of the addresses, those that leave in brackets; or why there is none.
fn shown(known: &Known) -> String {
    let Places { serving, leaving, .. } =
        known.places(&urls(&["dns+http://mcp.internal:3000/mcp"]));
    let last = |url: &EndpointUrl| match url.address() {
        Some(address) => address.to_string().split('.').next_back().unwrap().to_owned(),
        None => "-".to_owned(),
    };
    let slow = |place: &Place| if place.came.is_some() { "+" } else { "" };
    let one = |place: &Place| match &place.missing {
        Some(why) => why.to_string(),
        None => format!("{}{}", last(&place.url), slow(place)),
    };
    let words: Vec<_> = serving
        .iter()
        .map(one)
        .chain(leaving.iter().map(|url| format!("({})", last(url))))
        .collect();
    words.join(" ")
}

#[test]
fn addresses_come_and_go() {
    let (mut known, start) = (Known::default(), Instant::now());
    let names = [NAME.to_owned()];
    assert_eq!(shown(&known), "not looked up yet");
    for (second, found, places) in [
        (0, "!no such name", "no such name"),
        (1, "!no answer", "no answer"),
        // The order of the answer does not matter; the first come at full share.
        (2, "10.0.0.2 10.0.0.1", "1 2"),
        (3, "10.0.0.1 10.0.0.2", "1 2"),
        (4, "10.0.0.3 10.0.0.1", "1 3+ (2)"),
        // A failure changes nothing.
        (5, "!no answer", "1 3+ (2)"),
        // One that comes back was there all the time.
        (6, "10.0.0.2 10.0.0.1", "1 2 (3)"),
        (7, "10.0.0.2", "2 (1) (3)"),
        (11, "10.0.0.2", "2 (1) (3)"),
        // Ten seconds are kept, from when each left.
        (16, "10.0.0.2", "2 (1)"),
        (17, "10.0.0.2", "2"),
        (18, "10.0.0.2 10.0.0.1", "1+ 2"),
        (19, "!no answer", "1+ 2"),
    ] {
        let now = start + Duration::from_secs(second);
        known.learn([(&names[0], &answer(found))], now);
        known.forget(&names, now, Duration::from_secs(10), |_, _| false);
        assert_eq!(shown(&known), places, "{second}: {found}");
    }
    let (has, failed) = known.of(NAME);
    assert_eq!((has.len(), failed.map(ToString::to_string)), (2, Some("no answer".to_owned())));
    known.learn([(&names[0], &answer("10.0.0.1"))], start);
    known.forget(&names, start, Duration::from_secs(10), |_, it| it == known_dead());
    assert_eq!(shown(&known), "1+", "nobody answers at the one that left");
    known.forget(&[], start, Duration::from_secs(10), |_, _| false);
    assert_eq!(known, Known::default());
}

fn known_dead() -> IpAddr {
    "10.0.0.2".parse().unwrap()
}

#[test]
fn an_arm_has_at_least_one_place_and_not_too_many() {
    let many: Vec<_> = (0..70).map(|it| format!("10.0.0.{it}")).collect();
    let mut known = Known::default();
    known.learn([(&NAME.to_owned(), &answer(&many.join(" ")))], Instant::now());
    for (configured, serving, left_out) in [
        (vec!["http://a/"], 1, 0),
        // The scheme and the path are of one server.
        (vec!["dns+https://mcp.internal:3000/x"], 64, 6),
        (vec!["http://a/", "dns+http://mcp.internal:3000/", "dns+http://b/"], 64, 8),
        (vec!["dns+http://mcp.internal:3001/", "http://mcp.internal:3000/"], 2, 0),
    ] {
        let places = known.places(&urls(&configured));
        let found = (places.serving.len(), places.left_out);
        assert_eq!(found, (serving, left_out), "{configured:?}");
    }
}

#[test]
fn a_name_that_has_others_each_time_does_not_grow_for_ever() {
    let (mut known, start) = (Known::default(), Instant::now());
    let names = [NAME.to_owned()];
    for second in 0..200 {
        let now = start + Duration::from_secs(second);
        known.learn([(&names[0], &answer(&format!("10.0.0.{second}")))], now);
        known.forget(&names, now, Duration::from_secs(1000), |_, _| false);
    }
    assert_eq!(known.count(NAME), (1, PLACES_MAX));
    assert!(shown(&known).ends_with("(198)"), "the first ones go: {}", shown(&known));
}

proptest! {
    #[test]
    fn what_is_found_serves_and_nothing_is_lost(
        rounds in prop::collection::vec(prop::option::of(prop::collection::btree_set(0_u8..6, 1..5)), 1..30),
    ) {
        let (mut known, start) = (Known::default(), Instant::now());
        let names = [NAME.to_owned()];
        let mut last: Option<Vec<IpAddr>> = None;
        for (second, round) in rounds.iter().enumerate() {
            let now = start + Duration::from_secs(second as u64);
            let found = round.as_ref().map(|all| {
                all.iter().map(|it| IpAddr::from([10, 0, 0, *it])).collect::<Vec<_>>()
            });
            let answer = found.clone().ok_or(NoAddress::NotYet);
            let before = known.places(&urls(&["dns+http://mcp.internal:3000/"]));
            known.learn([(&names[0], &answer)], now);
            known.forget(&names, now, Duration::from_secs(1000), |_, _| true);
            last = found.or(last);
            prop_assert_eq!(known.of(NAME).0, last.clone().unwrap_or_default());
            let after = known.places(&urls(&["dns+http://mcp.internal:3000/"]));
            prop_assert!(!after.serving.is_empty());
            if answer.is_err() {
                // Only the reason may be another.
                prop_assert!(before.serving.len() == after.serving.len());
            }
        }
    }
}
