//! The body of a request, whole: within its bound and within its time, or not at all.
//!
//! Does not know: what is in it.

use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes};

/// How long a body may take.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Times its bound of a body that are read nonetheless: a sender that is cut off while it writes
/// does not see the answer.
const DISCARDED: usize = 16;

/// Why there is none.
pub(super) type BadBody = (StatusCode, String);

/// Reads a body of at most so many bytes.
///
/// # Errors
/// When there is more, it takes too long, or it breaks off.
pub(super) async fn read<B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin>(
    body: B,
    max: usize,
) -> Result<Bytes, BadBody> {
    tokio::time::timeout(TIME_MAX, collect(body, max)).await.unwrap_or_else(|_| {
        Err((StatusCode::REQUEST_TIMEOUT, "the body did not come in time".to_owned()))
    })
}

async fn collect<B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin>(
    mut body: B,
    max: usize,
) -> Result<Bytes, BadBody> {
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let bad = |error| (StatusCode::BAD_REQUEST, format!("cannot read the body: {error}"));
        let Ok(data) = frame.map_err(bad)?.into_data() else { continue };
        length += data.len();
        if length <= max {
            kept.extend_from_slice(&data);
        } else if length > max.saturating_mul(DISCARDED) {
            break;
        }
    }
    if length > max {
        let why = format!("a body of more than {} KiB", max / 1024);
        return Err((StatusCode::PAYLOAD_TOO_LARGE, why));
    }
    Ok(kept.into())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body_util::Full;
    use hyper::body::Frame;

    use super::*;

    /// A body of which nothing comes.
    struct Never;

    impl Body for Never {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_whole_or_refused() {
        let of = |length| Full::new(Bytes::from(vec![b'x'; length]));
        assert_eq!(read(of(1024), 1024).await.unwrap().len(), 1024);
        for length in [1025, 100_000] {
            let (status, why) = read(of(length), 1024).await.unwrap_err();
            assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
            assert_eq!(why, "a body of more than 1 KiB");
        }
        assert_eq!(read(Never, 1024).await.unwrap_err().0, StatusCode::REQUEST_TIMEOUT);
    }
}
