//! One connection, on a clock that the test moves.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::*;
use crate::admin::answers::whole;

/// Takes eight bytes, and answers with this many.
struct Echo(usize);

impl Answers for Echo {
    fn admit(&self, _: &http::request::Parts) -> Result<usize, Box<Answer>> {
        Ok(8)
    }

    fn refuse(&self, status: StatusCode, why: String) -> Answer {
        whole(status, "text/plain", why.into())
    }

    async fn answer(&self, _: Request<hyper::body::Bytes>) -> Answer {
        whole(StatusCode::OK, "text/plain", vec![b'x'; self.0].into())
    }
}

/// What a peer gets that sends this, reads from then on, and says nothing more; and when it is over.
async fn said(request: &str, answers: Echo, reads_after: Duration) -> (Vec<u8>, Duration) {
    let (mut peer, ours) = tokio::io::duplex(128 * 1024);
    let began = Instant::now();
    let serving = async {
        let place = Places::new(1).take().await;
        bounded(&place, connection(ours, &place, &answers)).await;
    };
    let reading = async {
        peer.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(reads_after).await;
        let mut answer = Vec::new();
        let _ = peer.read_to_end(&mut answer).await;
        answer
    };
    let (answer, ()) = tokio::join!(reading, serving);
    (answer, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn slow_peers_are_answered_or_cut() {
    let head = "POST / HTTP/1.1\r\nhost: x\r\n";
    let wide = format!("{head}a: {}\r\n\r\n", "x".repeat(20_000));
    let huge = format!("{head}a: {}\r\n\r\n", "x".repeat(70_000));
    let many = format!("{head}content-length: 9\r\n\r\n123456789");
    for (request, begins, seconds) in [
        ("", "", 5),
        (head, "", 5),
        (&format!("{head}content-length: 8\r\n\r\n1234"), "HTTP/1.1 408", 5),
        (&format!("{head}content-length: 8\r\n\r\n12345678"), "HTTP/1.1 200", 0),
        (&many, "HTTP/1.1 413", 0),
        (&wide, "HTTP/1.1 431", 0),
        (&huge, "HTTP/1.1 431", 0),
        ("\0\0\r\n\r\n", "HTTP/1.1 400", 0),
    ] {
        let (answer, after) = said(request, Echo(1), Duration::ZERO).await;
        let (answer, after) = (String::from_utf8_lossy(&answer), after.as_secs());
        assert!(answer.starts_with(begins), "{request:.60}: {answer}");
        assert_eq!((answer.is_empty(), after), (begins.is_empty(), seconds), "{request:.60}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_read_its_answer_is_cut() {
    let request = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let (answer, _) = said(request, Echo(1 << 20), CONNECTION_MAX * 2).await;
    assert!(answer.starts_with(b"HTTP/1.1 200") && answer.len() < 1 << 20, "{}", answer.len());
}
