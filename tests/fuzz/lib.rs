//! What the targets share.

use tidegate::mcp::answer::{Body, Message};

/// Takes an input apart into a document and the lengths of the pieces to cut it into: the first
/// four bytes give those.
pub fn split(input: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let (sizes, text) = input.split_at(input.len().min(4));
    let (mut pieces, mut rest) = (Vec::new(), text);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, later) = rest.split_at(rest.len().min(usize::from(size % 32) + 1));
        pieces.push(piece);
        rest = later;
    }
    (text, pieces)
}

/// The messages of a body that comes in these pieces, and the body after them.
pub fn messages(mut body: Body, pieces: &[&[u8]]) -> (Vec<Message>, Body) {
    let mut messages = Vec::new();
    for piece in pieces {
        body.feed(piece, &mut |message| messages.push(message));
    }
    body.finish(&mut |message| messages.push(message));
    (messages, body)
}
