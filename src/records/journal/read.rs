//! The records one after the other, a line at a time, however long the journal is.
//!
//! Lines that cannot be read are passed over: they are for `records verify`. Does not know: which
//! records somebody looks for.

use std::io;
use std::path::Path;

use super::files::{self, Backwards, Opened};
use super::record::{Reading, Record};

/// Which end to begin at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As it happened.
    OldestFirst,
    /// The last one first.
    NewestFirst,
}

type Lines = Box<dyn Iterator<Item = io::Result<Vec<u8>>>>;

/// All records in this directory; the caller picks.
///
/// # Errors
/// When a file cannot be opened; later errors are items.
pub fn read(dir: &Path, order: Order) -> io::Result<impl Iterator<Item = io::Result<Record>>> {
    let mut opened = files::open_all(dir)?;
    if order == Order::NewestFirst {
        opened.reverse();
    }
    let lines = move |Opened { file, .. }: Opened| -> Lines {
        match order {
            Order::OldestFirst => Box::new(files::lines(file).map(|line| Ok(line?.bytes))),
            Order::NewestFirst => match Backwards::new(file) {
                Ok(lines) => Box::new(lines),
                Err(error) => Box::new(std::iter::once(Err(error))),
            },
        }
    };
    let record = |line: io::Result<Vec<u8>>| match line.map(|line| Reading::of(&line)) {
        Ok(Reading::Link { record, .. } | Reading::Old(record)) => Some(Ok(record)),
        Ok(Reading::Torn | Reading::Damaged(_)) => None,
        Err(error) => Some(Err(error)),
    };
    Ok(opened.into_iter().flat_map(lines).filter_map(record))
}
