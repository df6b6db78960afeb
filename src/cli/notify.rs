//! `tidegate notify`: whether those who are told what happens can be reached.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use crate::admin::wire::notices::{TestWebhooks, WebhookStatus, WebhookTested};
use crate::config::Environment;

use super::ask::{Router, failed};
use super::{Common, Exit, say, say_json};

#[derive(Debug, Subcommand)]
pub(super) enum Notify {
    /// Have the router send a test to each webhook now, once
    #[command(
        after_help = "Exit codes: 0 all have taken it; 1 one has not, or there is none.\n\nExample: tidegate notify test ops"
    )]
    Test(Test),
    /// Show what waits for each webhook, and how it has fared since the start of the router
    #[command(
        after_help = "Exit codes: 0 none is failing; 1 one is.\n\nExample: tidegate notify list"
    )]
    List,
}

#[derive(Debug, Args)]
pub(super) struct Test {
    /// Its name in [notify] (default: all of them)
    webhook: Option<String>,
}

pub(super) fn run(common: &Common, environment: &Environment, asked: &Notify) -> Exit {
    let router = match Router::find(common, environment) {
        Ok(router) => router,
        Err(exit) => return exit,
    };
    match asked {
        Notify::Test(test) => try_out(common, &router, test),
        Notify::List => list(common, &router),
    }
}

fn try_out(common: &Common, router: &Router, asked: &Test) -> Exit {
    let asked = TestWebhooks { webhook: asked.webhook.clone() };
    let tested: Vec<WebhookTested> = match router.ask(Method::POST, "/v1/notify/test", &asked) {
        Ok(tested) => tested,
        Err(error) => return failed(common, &error),
    };
    if common.json {
        say_json(&tested);
    } else {
        tested.iter().flat_map(outcome).all(say);
    }
    if tested.iter().all(|it| it.ok) { Exit::Yes } else { Exit::No }
}

fn outcome(tested: &WebhookTested) -> Vec<String> {
    let WebhookTested { webhook, status, took_ms, why, advice, .. } = tested;
    match (why, status) {
        (None, status) => {
            vec![format!("{webhook:<16}  ok      HTTP {}  {took_ms} ms", status.unwrap_or(200))]
        }
        (Some(why), _) => {
            let mut lines = vec![format!("{webhook:<16}  FAILED  {why}  {took_ms} ms")];
            lines.extend(advice.as_ref().map(|advice| format!("{:<16}          {advice}", "")));
            lines
        }
    }
}

fn list(common: &Common, router: &Router) -> Exit {
    let all: Vec<WebhookStatus> = match router.ask(Method::GET, "/v1/notify", &json!({})) {
        Ok(all) => all,
        Err(error) => return failed(common, &error),
    };
    if common.json {
        say_json(&all);
    } else if all.is_empty() {
        say("nobody is told: add a webhook to [notify] webhooks and reload");
    } else {
        all.iter().flat_map(lines).all(say);
    }
    if all.iter().any(|it| it.failing) { Exit::No } else { Exit::Yes }
}

fn lines(it: &WebhookStatus) -> Vec<String> {
    let state = if it.failing { "FAILING" } else { "ok" };
    let mut lines = vec![
        format!(
            "{:<16}  {state:<7}  {} waiting  {} to {}",
            it.webhook, it.pending, it.format, it.host
        ),
        format!("    told of  {}", it.events.join(", ")),
        format!(
            "    sent {}  failed attempts {}  dropped {}  given up {}",
            it.sent, it.failed, it.dropped, it.given_up
        ),
    ];
    lines.extend(it.last_success.as_ref().map(|at| format!("    last arrived  {at}")));
    let failure = it.last_failure.as_ref().zip(it.last_error.as_ref());
    lines.extend(failure.map(|(at, why)| format!("    last failed   {at}  {why}")));
    lines
}
