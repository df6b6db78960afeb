//! The verbs of reports: what the records say of a rollout, or of some days.
//!
//! The records are read elsewhere, since that may take a while. Does not know: connections, how a
//! report looks.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use http::{Method, Request, StatusCode};
use hyper::body::Bytes;

use crate::mcp::shown::shown;
use crate::plane::Plane;
use crate::records::history::{self, Line, Writer, millis};
use crate::records::journal::{self, Order};
use crate::report::case::Now;
use crate::report::period::Days;
use crate::report::search::Search;
use crate::report::{DAYS_MAX, Report};

use super::{Failure, json, refused, unknown};

/// Where the verbs are.
pub(super) const PATHS: &str = "/v1/reports";
/// Days that are reported if nobody says how many.
const DAYS: u64 = 30;

/// What a report is made of.
struct Sources {
    state_dir: PathBuf,
    now: Now,
    writer: Writer,
    /// What is not written yet.
    rest: Vec<Line>,
}

/// Answers one request below [`PATHS`].
pub(super) async fn answer(plane: &Plane, request: &Request<Bytes>) -> Result<Bytes, Failure> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let report = match (request.method(), segments.as_slice()) {
        (&Method::GET, ["v1", "reports"]) => {
            let days = days(request.uri().query())?;
            read(plane, move |sources| period(sources, days).map(Some)).await?
        }
        (&Method::GET, ["v1", "reports", id]) => {
            let id = (*id).to_owned();
            read(plane, move |sources| rollout(sources, &id)).await?
        }
        _ => return Err(unknown(request)),
    };
    let none = |id: &str| match id {
        "last" => "no rollout has been started yet".to_owned(),
        id => format!(
            "there is no rollout `{}` in the journal: `tidegate rollout history` lists them",
            shown(id, 32)
        ),
    };
    let id = segments.last().copied().unwrap_or_default();
    report.map(|it| json(&it)).ok_or_else(|| refused(StatusCode::NOT_FOUND, &none(id)))
}

fn days(query: Option<&str>) -> Result<u64, Failure> {
    let Some(query) = query else { return Ok(DAYS) };
    let days = query.strip_prefix("days=").and_then(|days| days.parse().ok());
    days.filter(|days| (1..=DAYS_MAX).contains(days)).ok_or_else(|| {
        let why = format!("say days=1 to days={DAYS_MAX}: older days are not kept");
        refused(StatusCode::UNPROCESSABLE_ENTITY, &why)
    })
}

/// Makes a report where it holds up nobody.
async fn read(
    plane: &Plane,
    make: impl FnOnce(Sources) -> io::Result<Option<Report>> + Send + 'static,
) -> Result<Option<Report>, Failure> {
    plane.collect().await;
    let running = plane.control().running().map(|rollout| rollout.id.clone());
    let sources = Sources {
        state_dir: plane.table().config.state_dir.clone(),
        now: Now { at: millis(SystemTime::now()), running },
        writer: plane.history_writer(),
        rest: plane.history_so_far(),
    };
    let made = tokio::task::spawn_blocking(move || {
        sources.writer.flush();
        make(sources)
    });
    let made = match made.await {
        Ok(made) => made.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    made.map_err(|error| {
        let why = format!("cannot read the records: {error}");
        refused(StatusCode::INTERNAL_SERVER_ERROR, &why)
    })
}

fn rollout(sources: Sources, id: &str) -> io::Result<Option<Report>> {
    let mut search = Search::new(id);
    for record in journal::read(&sources.state_dir, Order::NewestFirst)? {
        if !search.add(record?) {
            break;
        }
    }
    let Some(found) = search.found() else { return Ok(None) };
    let mut filling = found.fill(sources.now);
    let unreadable =
        lines(&sources.state_dir, filling.span(), sources.rest, |line| filling.add(line))?;
    Ok(Some(Report::Rollout(Box::new(filling.finish(unreadable)))))
}

fn period(sources: Sources, days: u64) -> io::Result<Report> {
    let mut days = Days::new(sources.now, days);
    for record in journal::read(&sources.state_dir, Order::NewestFirst)? {
        if !days.record(&record?) {
            break;
        }
    }
    let unreadable = lines(&sources.state_dir, days.span(), sources.rest, |line| days.add(&line))?;
    Ok(Report::Period(Box::new(days.finish(unreadable))))
}

/// Gives the lines of the history between two moments to `each`, and what is not written yet.
fn lines(
    state_dir: &Path,
    (from, to): (u64, u64),
    rest: Vec<Line>,
    mut each: impl FnMut(Line),
) -> io::Result<u64> {
    let unreadable = history::read(state_dir, from, to, &mut each)?;
    rest.into_iter().filter(|line| line.at() > from && line.from() <= to).for_each(each);
    Ok(unreadable)
}
