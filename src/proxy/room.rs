//! Finds room for a request on an endpoint of its arm, or a place in a queue.
//!
//! Work never goes to the other arm because its own is busy: the slower version would get less than
//! its share, and be compared by the easier part of it. Does not know: what makes an endpoint slow.

use std::pin::pin;
use std::sync::Arc;

use crate::config::Config;
use crate::mcp::Kind;
use crate::mcp::message::Shape;
use crate::route::Endpoint;
use crate::route::endpoint::InFlight;
use crate::route::room::QueueFull;

use super::Worker;
use super::inbound::Inbound;
use super::reply::Refusal;

/// How requests fare that find no room: labels of the metric.
const WAITED: &str = "waited";
const QUEUE_FULL: &str = "queue_full";
const TOO_LONG: &str = "too_long";

/// Why there is no room for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// As many wait already as may.
    #[error("too many requests wait for the MCP server")]
    QueueFull,
    /// It has waited for as long as it may.
    #[error("the MCP server had too much to do for too long")]
    TooLong,
}

/// Goes to the first endpoint of the arm that has room, and puts it in front; if there is none, waits
/// where the fewest do. The first of `endpoints` names the arm.
///
/// # Errors
/// When the queue is full, or `timeouts.queue` is over.
pub async fn enter(
    worker: &Worker,
    inbound: &mut Inbound,
    endpoints: &mut [Arc<Endpoint>],
    config: &Config,
) -> Result<InFlight, Refusal> {
    let arm = endpoints[0].arm;
    // A client that leaves while it waits leaves this arm.
    inbound.report.set_arm(arm);
    if takes_no_room(inbound) {
        return Ok(endpoints[0].enter());
    }
    let own = endpoints.iter().take_while(|it| it.arm == arm).count();
    for at in 0..own {
        if let Some(entered) = endpoints[at].enter_if_room() {
            endpoints[..=at].rotate_right(1);
            return Ok(entered);
        }
    }
    let shortest = (0..own).min_by_key(|&at| endpoints[at].room().waiting()).unwrap_or(0);
    endpoints[..=shortest].rotate_right(1);
    let entered = in_turn(inbound, &endpoints[0], config).await;
    let how = match &entered {
        Ok(_) => WAITED,
        Err(Refusal::Busy(NoRoom::QueueFull)) => QUEUE_FULL,
        Err(Refusal::Busy(NoRoom::TooLong)) => TOO_LONG,
        Err(_) => return entered,
    };
    *worker.tally.borrow_mut().without_room.entry((arm, how)).or_default() += 1;
    entered
}

/// Waits, and reads the body meanwhile: a client whose body is still to come cannot be seen to leave.
async fn in_turn(
    inbound: &mut Inbound,
    endpoint: &Arc<Endpoint>,
    config: &Config,
) -> Result<InFlight, Refusal> {
    let turn = endpoint.enter_in_turn(config.limits.queue);
    let mut turn = pin!(tokio::time::timeout(config.timeouts.queue, turn));
    let mut reading = pin!(inbound.read_ahead());
    let (entered, read) = tokio::select! {
        // Where the queue is full, nothing is read.
        biased;
        entered = turn.as_mut() => (entered, false),
        read = reading.as_mut() => {
            read?;
            (turn.await, true)
        }
    };
    let entered = entered.map_err(|_| NoRoom::TooLong)?.map_err(|QueueFull| NoRoom::QueueFull)?;
    if !read {
        reading.await?;
    }
    Ok(entered)
}

/// Streams last for as long as their clients like. What a session says on behalf of its other exchanges
/// ends these, and they would wait for it: replies to what the server asked, cancellations and other
/// notifications, the end of the session.
fn takes_no_room(inbound: &Inbound) -> bool {
    let watch = inbound.watch.borrow();
    let is_word = matches!(watch.reader().shape(), Shape::Notification(_) | Shape::Reply);
    inbound.is_endless() || inbound.in_session && (is_word || inbound.call.kind == Kind::Delete)
}
