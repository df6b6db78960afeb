//! A list, page by page, within bounds.
//!
//! Does not know: what the items are good for.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::super::catalogue::{Catalogue, List};
use super::super::verdict::Fault;
use super::session::Session;
use crate::mcp::shown::plain;

/// Pages of one list; real servers send one.
const PAGES_MAX: usize = 100;

/// Bytes of a cursor, of which up to [`PAGES_MAX`] are kept.
const CURSOR_MAX: usize = 64 * 1024;

/// Asks for every page of a list and shows each item; the answer is the number of pages.
pub(in crate::health) async fn list(
    session: &mut Session,
    list: List,
    catalogue: &mut Catalogue,
    mut see: impl FnMut(&Value),
) -> Result<usize, Fault> {
    let mut seen = HashSet::new();
    let mut params = Map::new();
    for page in 1..=PAGES_MAX {
        let result = session.request(list.method(), params).await?;
        let next = catalogue.add(list, &result).map_err(|bad| Fault::bad(bad.to_string()))?;
        result[list.key()].as_array().into_iter().flatten().for_each(&mut see);
        let Some(cursor) = next else { return Ok(page) };
        if cursor.len() > CURSOR_MAX {
            return Err(Fault::bad(format!("a cursor of {} bytes", cursor.len())));
        }
        params = Map::from_iter([("cursor".to_owned(), json!(cursor))]);
        if !seen.insert(cursor.clone()) {
            return Err(Fault::bad(format!("page {page} repeats the cursor `{}`", plain(&cursor))));
        }
    }
    Err(Fault::bad(format!("more than {PAGES_MAX} pages")))
}

/// How much that was, for the line of a step.
pub(super) fn told(count: usize, what: &str, pages: usize) -> String {
    let s = |count| if count == 1 { "" } else { "s" };
    format!("{count} {what}{} on {pages} page{}", s(count), s(pages))
}
