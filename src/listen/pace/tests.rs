//! The rules in time, second by second.

use super::*;

const S: Duration = Duration::from_secs(1);

/// A connection, its clock, and the limits 10 s, 60 s, 30 s at 500 bytes a second.
struct Scene {
    pace: Pace,
    start: Instant,
}

impl Scene {
    fn new(is_http2: bool) -> Scene {
        let start = Instant::now();
        let limits = Limits {
            accepted: start,
            header: 10 * S,
            idle: 60 * S,
            write_idle: 30 * S,
            min_rate: 500,
        };
        Scene { pace: Pace::new(limits, is_http2, start), start }
    }

    fn at(&self, seconds: u32) -> Instant {
        self.start + seconds * S
    }

    /// Does something at this second.
    fn then(mut self, seconds: u32, act: impl FnOnce(&mut Pace, Instant)) -> Scene {
        let now = self.at(seconds);
        assert!(self.pace.next().is_none_or(|due| due > now), "something was due before");
        act(&mut self.pace, now);
        self
    }

    /// That this is due at this second, and nothing before.
    #[track_caller]
    fn due(mut self, seconds: u32, want: &str) -> Scene {
        assert_eq!(self.pace.next(), Some(self.at(seconds)), "{want}");
        assert!(matches!(self.pace.due(self.at(seconds) - S), Due::Later(_)), "{want}");
        let due = format!("{:?}", self.pace.due(self.at(seconds)));
        assert_eq!(due, want);
        self
    }

    #[track_caller]
    fn nothing_due(&self) {
        assert_eq!(self.pace.next(), None);
    }
}

fn bytes(pace: &mut Pace, now: Instant) {
    pace.read(b"x", now).unwrap();
}

/// A whole request and its answer.
fn visit(pace: &mut Pace, now: Instant) {
    let number = pace.begin();
    pace.end(number, now);
}

#[test]
fn the_first_head_counts_from_accept() {
    for is_http2 in [false, true] {
        Scene::new(is_http2).due(10, "Cut(Header)");
        Scene::new(is_http2).then(9, bytes).due(10, "Cut(Header)");
    }
}

#[test]
fn a_later_head_counts_from_its_first_byte() {
    Scene::new(false).then(5, visit).then(50, bytes).then(59, bytes).due(60, "Cut(Header)");
    Scene::new(false).then(5, visit).then(64, bytes).then(70, visit).due(130, "Idle");
}

#[test]
fn a_body_that_is_read_on_is_no_head() {
    let mut scene = Scene::new(false).then(5, visit).then(5, bytes);
    scene.pace.limits.header = S;
    scene.due(8, "Cut(Header)");
}

#[test]
fn a_head_of_http2_counts_beside_open_streams() {
    let part = [0, 0, 9, 1, 0, 0, 0, 0, 1];
    let mut pieces = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    pieces.extend(part);
    let begin = |pace: &mut Pace, _: Instant| assert_eq!(pace.begin(), 1);
    let open = |pace: &mut Pace, now| pace.read(&pieces, now).unwrap();
    Scene::new(true).then(1, begin).then(20, open).due(30, "Cut(Header)");
}

#[test]
fn an_idle_connection_leaves_in_good_order() {
    for is_http2 in [false, true] {
        let scene = Scene::new(is_http2).then(5, visit).due(65, "Idle").due(70, "Over");
        // A request that was on its way is still answered.
        let begin = |pace: &mut Pace, _: Instant| assert_eq!(pace.begin(), 2);
        drop(scene);
        let scene = Scene::new(is_http2).then(5, visit).due(65, "Idle").then(66, begin);
        scene.nothing_due();
        scene.then(100, |pace, now| pace.end(2, now)).due(105, "Over");
    }
}

#[test]
fn who_still_takes_its_answer_is_not_idle() {
    let answered = |pace: &mut Pace, now: Instant| {
        visit(pace, now);
        pace.waits(now);
    };
    let takes = |pace: &mut Pace, now: Instant| pace.wrote(now, 15_000, false);
    let all = |pace: &mut Pace, now: Instant| pace.wrote(now, 1, true);
    let scene = Scene::new(false).then(5, answered).then(30, takes).then(55, takes);
    scene.then(80, all).due(140, "Idle").due(145, "Over");
    Scene::new(false).then(5, answered).then(30, takes).due(60, "Cut(Write)");
}

#[test]
fn an_open_stream_may_be_silent_for_ever() {
    for is_http2 in [false, true] {
        let begin = |pace: &mut Pace, _: Instant| assert_eq!(pace.begin(), 1);
        Scene::new(is_http2).then(5, begin).nothing_due();
    }
}

#[test]
fn who_takes_nothing_is_cut() {
    let waits = |pace: &mut Pace, now: Instant| {
        pace.begin();
        pace.waits(now);
    };
    Scene::new(false).then(5, waits).due(35, "Cut(Write)");
    // Enough was taken: 30 s more.
    let takes = |pace: &mut Pace, now: Instant| pace.wrote(now, 15_000, false);
    Scene::new(false).then(5, waits).then(25, takes).due(55, "Cut(Write)");
    let all = |pace: &mut Pace, now: Instant| pace.wrote(now, 1, true);
    Scene::new(false).then(5, waits).then(25, all).nothing_due();
}

#[test]
fn who_takes_too_little_is_cut() {
    let waits = |pace: &mut Pace, now: Instant| {
        pace.begin();
        pace.waits(now);
    };
    let takes = |pace: &mut Pace, now: Instant| pace.wrote(now, 1000, false);
    let scene = Scene::new(false).then(0, waits).then(9, takes).then(19, takes);
    scene.then(29, takes).due(30, "Cut(Write)");
    let all = |pace: &mut Pace, now: Instant| pace.wrote(now, 1000, true);
    let more = |pace: &mut Pace, now: Instant| pace.waits(now);
    // Time in which nothing waits does not count.
    let scene = Scene::new(false).then(0, waits).then(20, all).then(100, more);
    scene.due(110, "Cut(Write)");
}

#[test]
fn any_progress_will_do_without_a_rate() {
    let waits = |pace: &mut Pace, now: Instant| {
        pace.limits.min_rate = 0;
        pace.begin();
        pace.waits(now);
    };
    let takes = |pace: &mut Pace, now: Instant| pace.wrote(now, 1, false);
    Scene::new(false).then(0, waits).then(29, takes).then(58, takes).due(88, "Cut(Write)");
}

#[tokio::test]
async fn a_stream_that_takes_nothing_is_ended_alone() {
    let task = || tokio::spawn(std::future::pending::<()>()).abort_handle();
    let streams = |pace: &mut Pace, now: Instant| {
        for _ in 0..2 {
            pace.begin();
            pace.ends_by(task());
        }
        pace.piece_waits(1, 100, now);
        pace.piece_waits(2, 100, now);
    };
    let taken = |pace: &mut Pace, now: Instant| {
        pace.piece_taken(2, 100, now);
        pace.piece_waits(2, 100, now + S);
    };
    let mut scene = Scene::new(true).then(5, streams).then(20, taken);
    assert!(matches!(scene.pace.due(scene.at(35)), Due::Stream(_)));
    // The other has waited for 15 s before, and has taken too little then.
    assert!(matches!(scene.pace.due(scene.at(35)), Due::Later(Some(at)) if at == scene.at(36)));
    assert!(matches!(scene.pace.due(scene.at(36)), Due::Stream(_)));
    assert!(matches!(scene.pace.due(scene.at(36)), Due::Later(None)));
}

/// The end begins at this second and is over 30 s later.
fn end(scene: Scene, second: u32) -> Scene {
    let over = scene.at(second + 30);
    scene.then(second, |pace, now| pace.begin_end(now, over))
}

#[test]
fn at_the_end_one_second_of_silence_is_enough() {
    end(Scene::new(false).then(5, visit), 5).due(6, "Idle");
    end(Scene::new(false).then(5, visit), 5).then(5, bytes).then(7, visit).due(8, "Idle");
    // Not before a request that is there is answered.
    let scene = end(Scene::new(false).then(1, |pace, _| assert_eq!(pace.begin(), 1)), 5);
    assert!(scene.pace.is_last());
    scene.nothing_due();
    scene.then(20, |pace, now| pace.end(1, now)).due(21, "Idle");
    let mut long_silent = Scene::new(false).then(5, visit).then(20, |pace, now| {
        pace.begin_end(now, now + 30 * S);
    });
    assert!(matches!(long_silent.pace.due(long_silent.at(20)), Due::Idle));
}

#[test]
fn at_the_end_a_head_has_three_seconds_more() {
    end(Scene::new(false), 1).due(4, "Cut(Header)");
    end(Scene::new(false).then(5, visit).then(6, bytes), 7).due(10, "Cut(Header)");
    end(Scene::new(false).then(5, visit), 5).then(5, bytes).due(8, "Cut(Header)");
    // Never more than it would have had.
    end(Scene::new(false), 9).due(10, "Cut(Header)");
}

#[test]
fn at_the_end_http2_says_farewell_at_once() {
    let scene = end(Scene::new(true).then(1, visit), 2);
    assert!(!scene.pace.is_last());
    scene.due(7, "Over");
    let begin = |pace: &mut Pace, _: Instant| assert_eq!(pace.begin(), 2);
    let scene = end(Scene::new(true).then(1, visit), 2).then(3, begin);
    scene.nothing_due();
    scene.then(9, |pace, now| pace.end(2, now)).due(14, "Over");
}
