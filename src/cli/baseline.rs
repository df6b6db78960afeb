//! `tidegate baseline`: the usual figures of the stable arm, kept and compared.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use crate::admin::wire::baselines::{Baselines, Headline, Removed, SaveBaseline};
use crate::config::{Environment, units};
use crate::names::{Arm, BadName};
use crate::plane::compare::{Compared, Comparison, Side, Verdict};
use crate::records::baselines::{Baseline as Kept, Measured, Name};
use crate::records::figures::Figures;

use super::ask::{Router, failed};
use super::{Common, Exit, complain, decide, refuse, say, say_json};

#[derive(Debug, Subcommand)]
pub(super) enum Baseline {
    /// Keep what the stable arm has done in the last hour
    #[command(after_help = "Example: tidegate baseline save before-summer --span 30m")]
    Save(Save),
    /// List them, the newest first
    #[command(
        after_help = "The router keeps one a day (auto-DATE), and one before and after each rollout.\n\nExample: tidegate baseline list"
    )]
    List,
    /// Show the figures of one
    #[command(after_help = "Example: tidegate baseline show before-r18")]
    Show(One),
    /// Compare what an arm has done in the last hour with a baseline, tool by tool
    #[command(
        after_help = "It passes with the share of the baseline's speed that [validation] performance asks for, and no more errors beyond noise. Exit codes: 0 pass; 1 fail; 2 too few calls, or it may be noise.\n\nExample: tidegate baseline compare before-r18 --arm secondary"
    )]
    Compare(Compare),
    /// Remove one
    #[command(after_help = "Example: tidegate baseline remove before-summer")]
    Remove(One),
}

#[derive(Debug, Args)]
pub(super) struct Save {
    /// What to call it (default: by the time)
    #[arg(value_parser = name)]
    name: Option<Name>,
    /// Of how much time up to now, at most 1h; in steps of five minutes
    #[arg(long, value_name = "TIME", default_value = "1h")]
    span: String,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// Its name, from the list
    #[arg(value_parser = name)]
    name: Name,
}

#[derive(Debug, Args)]
pub(super) struct Compare {
    /// The baseline (default: the newest)
    #[arg(value_parser = name)]
    name: Option<Name>,
    /// The arm to compare with it (default: the candidate, or the stable arm if that did nothing)
    #[arg(long)]
    arm: Option<Arm>,
}

fn name(text: &str) -> Result<Name, String> {
    text.parse().map_err(|error: BadName| error.0)
}

pub(super) fn run(common: &Common, environment: &Environment, asked: Baseline) -> Exit {
    let router = match Router::find(common, environment) {
        Ok(router) => router,
        Err(exit) => return exit,
    };
    match asked {
        Baseline::Save(asked) => save(common, &router, asked),
        Baseline::List => list(common, &router),
        Baseline::Show(One { name }) => show(common, &router, &name),
        Baseline::Compare(asked) => compare(common, &router, &asked),
        Baseline::Remove(One { name }) => remove(common, &router, &name),
    }
}

fn save(common: &Common, router: &Router, asked: Save) -> Exit {
    let span = match units::duration(&asked.span) {
        Ok(span) => span,
        Err(error) => return refuse(common, error),
    };
    let span_seconds = Some(span.as_secs());
    let wanted = SaveBaseline { name: asked.name.map(String::from), span_seconds };
    match router.ask::<Headline>(Method::POST, "/v1/baselines", &wanted) {
        Ok(kept) if common.json => say_json(&kept),
        Ok(kept) => say(headline(&kept)),
        Err(error) => return failed(common, &error),
    };
    Exit::Yes
}

fn list(common: &Common, router: &Router) -> Exit {
    let listed: Baselines = match router.ask(Method::GET, "/v1/baselines", &json!({})) {
        Ok(listed) => listed,
        Err(error) => return failed(common, &error),
    };
    if common.json {
        say_json(&listed);
        return Exit::Yes;
    }
    if listed.baselines.is_empty() {
        say("no baseline is kept yet: `tidegate baseline save` keeps one");
    }
    listed.baselines.iter().map(headline).all(say);
    for skipped in &listed.skipped {
        complain(format_args!("warning: {} is left out: {}", skipped.file, skipped.why));
    }
    Exit::Yes
}

fn show(common: &Common, router: &Router, name: &Name) -> Exit {
    let path = format!("/v1/baselines/{name}");
    let kept: Kept = match router.ask(Method::GET, &path, &json!({})) {
        Ok(kept) => kept,
        Err(error) => return failed(common, &error),
    };
    if common.json {
        say_json(&kept);
        return Exit::Yes;
    }
    let mut lines = vec![headline(&Headline::from(&kept))];
    lines.push(format!("{:<28} {:>8} {:>8} {:>10} {:>10}", "", "calls", "errors", "p50", "p95"));
    lines.extend(kept.kinds.iter().map(measured));
    lines.iter().all(say);
    Exit::Yes
}

fn remove(common: &Common, router: &Router, name: &Name) -> Exit {
    let path = format!("/v1/baselines/{name}");
    match router.ask::<Removed>(Method::DELETE, &path, &json!({})) {
        Ok(removed) if common.json => say_json(&removed),
        Ok(removed) => say(format_args!("{} is removed", removed.removed)),
        Err(error) => return failed(common, &error),
    };
    Exit::Yes
}

fn compare(common: &Common, router: &Router, asked: &Compare) -> Exit {
    let arm = match common.arm(asked.arm) {
        Ok(arm) => arm,
        Err(exit) => return exit,
    };
    let name = asked.name.as_ref().map(|name| format!("name={name}"));
    let query: Vec<_> = name.into_iter().chain(arm.map(|arm| format!("arm={arm}"))).collect();
    let path = format!("/v1/baselines/compare?{}", query.join("&"));
    let comparison: Comparison = match router.ask(Method::GET, &path, &json!({})) {
        Ok(comparison) => comparison,
        Err(error) => return failed(common, &error),
    };
    if common.json {
        say_json(&comparison);
    } else {
        lines(&comparison).iter().all(say);
    }
    match comparison.all.verdict {
        Verdict::Pass => Exit::Yes,
        Verdict::Fail => Exit::No,
        Verdict::Inconclusive => Exit::Unknown,
    }
}

fn headline(it: &Headline) -> String {
    let server = it.server.as_ref().map(|server| format!(" ({server})")).unwrap_or_default();
    let span = decide::time(std::time::Duration::from_secs(it.span_seconds));
    let Headline { name, at, arm, exchanges, kinds, .. } = it;
    format!(
        "{name:<24} {at}  {arm}{server}: {exchanges} exchanges in {span}, kinds of work: {kinds}"
    )
}

fn measured(it: &Measured) -> String {
    let Figures { latency, .. } = &it.figures;
    let time = |share| millis(latency.quantile(share).map(|it| it.as_secs_f64() * 1e3));
    format!(
        "{:<28} {:>8} {:>8} {:>10} {:>10}",
        it.kind.name(),
        it.figures.exchanges(),
        it.figures.errors(),
        time(0.5),
        time(0.95)
    )
}

/// The comparison as a table.
fn lines(comparison: &Comparison) -> Vec<String> {
    let Comparison { baseline, at, of, server, arm, asked, rows, all } = comparison;
    let server = server.as_ref().map(|server| format!(", {server}")).unwrap_or_default();
    let mut lines = vec![
        format!("baseline   {baseline} of {at} (the {of}{server})"),
        format!(
            "now        the {arm} in the last hour; passes with {:.0} % of the speed and no more errors",
            asked * 100.0
        ),
        format!(
            "{:<20} {:>13} {:>17} {:>17} {:>7} {:>25}  verdict",
            "each: before, now", "calls", "p50", "p95", "speed", "errors, with 95 %"
        ),
    ];
    lines.extend(rows.iter().map(|row| line(row.kind.name(), &row.compared)));
    lines.push(line("in all", all));
    lines.push(format!("verdict    {}: time: {}", word(all.verdict), all.performance.why));
    lines.push(format!("           errors: {}", all.errors.why));
    lines
}

fn line(name: &str, it: &Compared) -> String {
    let both = |of: fn(&Side) -> String| format!("{}, {}", of(&it.baseline), of(&it.now));
    let speed = it.speed.map_or_else(|| "-".to_owned(), |it| format!("{:.0} %", it.ratio * 100.0));
    let share = |side: &Side| {
        if side.calls == 0 {
            return "-".to_owned();
        }
        let (low, high) = side.error_share_95;
        format!("{:.1}-{:.1} %", low * 100.0, high * 100.0)
    };
    let why = match (it.verdict, it.performance.verdict) {
        (Verdict::Pass, _) => String::new(),
        (verdict, time) if time == verdict => format!(": {}", it.performance.why),
        _ => format!(": {}", it.errors.why),
    };
    format!(
        "{name:<20} {:>13} {:>17} {:>17} {speed:>7} {:>25}  {}{why}",
        both(|side| side.calls.to_string()),
        both(|side| millis(side.p50_ms)),
        both(|side| millis(side.p95_ms)),
        both(share),
        word(it.verdict)
    )
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
        Verdict::Inconclusive => "inconclusive",
    }
}

fn millis(time: Option<f64>) -> String {
    match time {
        None => "-".to_owned(),
        Some(time) if time < 10.0 => format!("{time:.2} ms"),
        Some(time) if time < 1e4 => format!("{time:.0} ms"),
        Some(time) => format!("{:.0} s", time / 1e3),
    }
}
