//! Sends what waits for one webhook, one message at a time and in order, until it has arrived.
//!
//! What fails is tried again after 1 second, then twice as long each time up to 5 minutes, a little
//! less by chance so that many routers do not come at once. Does not know: HTTP, what a message says.

use std::rc::Rc;
use std::time::Duration;

use super::line::{Line, Waiting};
use super::post::Fault;

/// The first wait.
const FIRST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// What `send` makes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It has arrived.
    Yes,
    /// There is nothing in it for this webhook.
    Nothing,
    /// It has not arrived.
    No(Fault),
}

/// How long to wait after failures in a row.
#[derive(Debug)]
struct BackOff(Duration);

impl BackOff {
    fn next(&mut self, retry_after: Option<Duration>) -> Duration {
        let wait = self.0.mul_f64(1.0 - rand::random::<f64>() / 4.0);
        self.0 = LONGEST.min(self.0 * 2);
        wait.max(retry_after.unwrap_or_default())
    }
}

/// Goes on until the line is closed and empty, or closed and the webhook fails.
pub(super) async fn deliver<F>(line: Rc<Line>, send: impl Fn(Rc<Waiting>) -> F)
where
    F: Future<Output = Sent>,
{
    let mut back_off = BackOff(FIRST);
    while let Some(next) = line.next().await {
        match send(Rc::clone(&next)).await {
            Sent::Yes => {
                line.sent(&next);
                back_off = BackOff(FIRST);
            }
            Sent::Nothing => line.remove(&next),
            Sent::No(fault) => {
                line.failed(&next, &fault);
                if fault.is_final() {
                    continue;
                }
                if line.is_closing() {
                    return;
                }
                line.pause(back_off.next(fault.retry_after())).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use http::StatusCode;
    use tokio::task::LocalSet;
    use tokio::time::Instant;

    use super::super::line::WAITING_MAX;
    use super::super::message::fixture;
    use super::*;
    use crate::config::{Notice, Webhook, WebhookFormat};
    use crate::tls::Version;
    use crate::tls::client::Client;

    const HOUR: Duration = Duration::from_secs(3600);

    fn webhook() -> Webhook {
        let tls = Client::new(None, None, None, Version::default(), "");
        Webhook {
            name: "ops".to_owned(),
            url: "http://127.0.0.1:1/".parse().unwrap(),
            format: WebhookFormat::Json,
            events: Notice::ALL.to_vec(),
            token: None,
            timeout: Duration::from_secs(10),
            tls: Arc::new(tls.expect("no file has to be read")),
        }
    }

    fn push(line: &Line, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            let mut message = fixture::message("step");
            message.number = number;
            line.push(message);
        }
    }

    fn status(status: StatusCode, retry_after: Option<u64>) -> Sent {
        let retry_after = retry_after.map(Duration::from_secs);
        Sent::No(Fault::Status { status, said: String::new(), retry_after })
    }

    /// A webhook that answers by the time, and when which message was tried.
    struct Scene {
        line: Rc<Line>,
        tries: Rc<RefCell<Vec<(u64, Duration)>>>,
        local: LocalSet,
    }

    impl Scene {
        fn new(answer: impl Fn(u64, Duration) -> Sent + 'static) -> Scene {
            let (line, began) = (Line::new(webhook()), Instant::now());
            let tries = Rc::<RefCell<Vec<_>>>::default();
            let (noted, local) = (Rc::clone(&tries), LocalSet::new());
            local.spawn_local(deliver(Rc::clone(&line), move |waiting: Rc<Waiting>| {
                let number = waiting.message.number;
                noted.borrow_mut().push((number, began.elapsed()));
                std::future::ready(answer(number, began.elapsed()))
            }));
            Scene { line, tries, local }
        }

        async fn passes(&self, time: Duration) {
            self.local.run_until(tokio::time::sleep(time)).await;
        }

        fn numbers(&self) -> Vec<u64> {
            self.tries.borrow().iter().map(|(number, _)| *number).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_hour_of_500_loses_nothing_and_is_no_storm() {
        let scene = Scene::new(|_, at| match at {
            at if at < HOUR => status(StatusCode::INTERNAL_SERVER_ERROR, None),
            _ => Sent::Yes,
        });
        push(&scene.line, 1..=3);
        scene.passes(HOUR).await;
        let tries = scene.tries.borrow().clone();
        assert!(tries.iter().all(|(number, _)| *number == 1), "in order: {tries:?}");
        for (at, pair) in tries.windows(2).enumerate() {
            let wait = pair[1].1.saturating_sub(pair[0].1);
            let most = LONGEST.min(FIRST * 2_u32.pow(u32::try_from(at).unwrap().min(20)));
            // The clock of tests goes by milliseconds.
            let within = wait >= most.mul_f64(0.75) && wait <= most + Duration::from_millis(1);
            assert!(within, "{at}: {wait:?} of {most:?}");
        }
        assert!((15..=24).contains(&tries.len()), "{tries:?}");
        let fared = scene.line.fared();
        assert_eq!((fared.failed, fared.sent, fared.is_failing), (tries.len() as u64, 0, true));
        let turn = scene.line.take_turn().unwrap();
        assert!(turn.fault.unwrap().0.contains("HTTP 500"));

        scene.passes(LONGEST).await;
        assert_eq!(scene.numbers()[tries.len()..], [1, 2, 3]);
        let fared = scene.line.fared();
        assert_eq!((fared.sent, fared.given_up, fared.is_failing), (3, 0, false));
        assert_eq!(scene.line.take_turn().unwrap().fault, None);
        assert_eq!(scene.line.take_turn(), None);
        // The next failure begins at the beginning.
        assert_eq!(scene.line.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_day_it_is_given_up() {
        let scene = Scene::new(|_, _| status(StatusCode::BAD_GATEWAY, None));
        push(&scene.line, 1..=2);
        scene.passes(HOUR * 12).await;
        push(&scene.line, 3..=3);
        scene.passes(HOUR * 12 + LONGEST).await;
        assert_eq!((scene.line.len(), scene.line.fared().given_up), (1, 2));
        assert_eq!(scene.numbers().last(), Some(&3));
        scene.passes(HOUR * 12 + LONGEST).await;
        assert_eq!((scene.line.len(), scene.line.fared().given_up), (0, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_for_good_is_given_up_at_once() {
        let scene = Scene::new(|number, _| match number {
            1 | 3 => status(StatusCode::BAD_REQUEST, Some(100)),
            _ => Sent::Yes,
        });
        push(&scene.line, 1..=4);
        scene.passes(Duration::from_millis(1)).await;
        assert_eq!(scene.numbers(), [1, 2, 3, 4]);
        let fared = scene.line.fared();
        assert_eq!((fared.sent, fared.given_up, fared.failed), (2, 2, 2));
        assert_eq!(fared.dropped, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_webhook_may_ask_for_time() {
        for (status_code, asked, wait) in [
            (StatusCode::TOO_MANY_REQUESTS, Some(90), 90),
            (StatusCode::SERVICE_UNAVAILABLE, Some(20), 20),
            (StatusCode::REQUEST_TIMEOUT, None, 1),
        ] {
            let scene = Scene::new(move |_, at| match at {
                at if at < Duration::from_millis(10) => status(status_code, asked),
                _ => Sent::Yes,
            });
            push(&scene.line, 1..=1);
            scene.passes(HOUR).await;
            let tries = scene.tries.borrow().clone();
            assert_eq!((tries.len(), scene.line.len()), (2, 0), "{status_code}");
            let within = Duration::from_millis(wait * 750)..=Duration::from_millis(wait * 1000 + 2);
            assert!(within.contains(&tries[1].1), "{status_code}: {tries:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_the_oldest_go() {
        let is_up = Rc::new(std::cell::Cell::new(false));
        let seen = Rc::clone(&is_up);
        let down = Sent::No(Fault::Unreachable("nobody".to_owned()));
        let scene = Scene::new(move |_, _| if seen.get() { Sent::Yes } else { down.clone() });
        push(&scene.line, 1..=1);
        scene.passes(Duration::from_millis(1)).await;
        let most = WAITING_MAX as u64;
        push(&scene.line, 2..=most + 44);
        assert_eq!((scene.line.len() as u64, scene.line.fared().dropped), (most, 44));
        is_up.set(true);
        scene.passes(LONGEST).await;
        let wanted: Vec<u64> = std::iter::once(1).chain(45..=most + 44).collect();
        assert_eq!(scene.numbers(), wanted);
        assert_eq!(scene.line.fared().sent, most);
    }

    #[tokio::test(start_paused = true)]
    async fn new_settings_are_tried_at_once() {
        let scene = Scene::new(|_, _| Sent::No(Fault::Timeout(FIRST)));
        push(&scene.line, 1..=1);
        scene.passes(HOUR).await;
        let tries = scene.numbers().len();
        scene.line.set(&webhook());
        scene.passes(Duration::from_millis(1)).await;
        assert_eq!(scene.numbers().len(), tries, "nothing is new");
        scene.line.set(&Webhook { timeout: FIRST, ..webhook() });
        scene.passes(Duration::from_millis(1)).await;
        assert_eq!(scene.numbers().len(), tries + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_what_waits_is_tried_once_more() {
        let (good, bad) = (Sent::Yes, Sent::No(Fault::Timeout(FIRST)));
        for (answer, tried, left) in [(good, vec![1, 1, 2, 3], 0), (bad, vec![1, 1], 3)] {
            let scene = Scene::new(move |_, at| match at {
                at if at < Duration::from_millis(1) => Sent::No(Fault::Timeout(FIRST)),
                _ => answer.clone(),
            });
            push(&scene.line, 1..=3);
            scene.passes(Duration::from_millis(5)).await;
            scene.line.close();
            let Scene { line, tries, local } = scene;
            local.await;
            let tries: Vec<_> = tries.borrow().iter().map(|(number, _)| *number).collect();
            assert_eq!((tries, line.len()), (tried, left));
        }
    }
}
