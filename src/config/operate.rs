//! What is around a rollout: `[ARM.lifecycle]`, `[validation]` and `[notify]`.
//!
//! Does not know: how a command is run, a check made or a webhook called.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};

use super::check::{distinct, fresh};
use super::file::{Field, Section};
use super::{health, secret, tls};
use crate::names::BadName;
use crate::tls::client::Client;

/// Words of a command.
const WORDS_MAX: usize = 64;
/// Calls that have to be refused.
const CALLS_MAX: usize = 16;
/// Each has a queue of its own.
const WEBHOOKS_MAX: usize = 16;

/// The operator's own commands for the servers of an arm, each a program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// Starts them.
    pub start: Option<Vec<String>>,
    /// Stops them.
    pub stop: Option<Vec<String>>,
    /// Stops and starts them; without it, `stop` and `start` do.
    pub restart: Option<Vec<String>>,
    /// Prints the version that runs, or would run.
    pub version: Option<Vec<String>>,
    /// For each command, and then for the servers to answer. Default 2 min.
    pub timeout: Duration,
}

/// What a version has to be fit for before it gets traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// 95 of 100 answers come within this time. Default 2 s; `None`: nothing is asked of it.
    pub sla: Option<Duration>,
    /// How long a session is held by `--comprehensive`. Default 60 s.
    pub stability: Duration,
    /// A candidate that is confirmed has at least this share of the baseline's speed, 0 to 1.
    /// Default 0.95.
    pub performance: f64,
    /// Calls with arguments that the tool must refuse.
    pub bad_arguments: Vec<RefusedCall>,
    /// Calls that the token of `[health]` must not be allowed.
    pub denied: Vec<RefusedCall>,
}

/// A call that has to be refused; the operator declares it harmless where it is not.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedCall {
    /// The tool.
    pub tool: String,
    /// Its arguments.
    pub arguments: serde_json::Map<String, serde_json::Value>,
}

/// A program that is told what happens.
#[derive(Clone, PartialEq)]
pub struct Webhook {
    /// What the operator calls it.
    pub name: String,
    /// Where it is; its path may be a secret.
    pub url: Uri,
    /// What it understands.
    pub format: WebhookFormat,
    /// What it is told of. Default: everything.
    pub events: Vec<Notice>,
    /// The `Authorization` that it wants; marked as sensitive.
    pub token: Option<HeaderValue>,
    /// For one attempt. Default 10 s.
    pub timeout: Duration,
    /// How it is spoken to, if its address is `https`.
    pub tls: Arc<Client>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("name", &self.name)
            .field("host", &self.url.authority().map(http::uri::Authority::as_str))
            .field("format", &self.format)
            .field("events", &self.events)
            .field("timeout", &self.timeout)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// What a webhook understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WebhookFormat {
    /// One JSON object, ours.
    #[default]
    Json,
    /// `{"text": …}`, as Slack, Mattermost and others take it.
    Slack,
    /// The API of Alertmanager, version 2.
    Alertmanager,
}

/// What others are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Notice {
    /// A rollout has begun.
    Started,
    /// It has gone to its next step.
    Step,
    /// It waits although the time of its step is over.
    Held,
    /// A guard has shut the gate.
    Reverted,
    /// It has been aborted, or its promotion taken back.
    Aborted,
    /// The candidate has become the stable arm.
    Completed,
    /// A security alert was raised or cleared, or a guard found a fault of both arms.
    Alert,
    /// An arm that is drained has nothing left to do.
    Drained,
}

impl Notice {
    /// All of them.
    pub const ALL: [Notice; 8] = [
        Notice::Started,
        Notice::Step,
        Notice::Held,
        Notice::Reverted,
        Notice::Aborted,
        Notice::Completed,
        Notice::Alert,
        Notice::Drained,
    ];

    /// The word for configuration, labels and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Notice::Started => "started",
            Notice::Step => "step",
            Notice::Held => "held",
            Notice::Reverted => "reverted",
            Notice::Aborted => "aborted",
            Notice::Completed => "completed",
            Notice::Alert => "alert",
            Notice::Drained => "drained",
        }
    }
}

// === impl lifecycle ===

pub(super) fn lifecycle(mut section: Section<'_>) -> Lifecycle {
    let mut command = |key| section.take(key).and_then(|field| words(&field));
    Lifecycle {
        start: command("start"),
        stop: command("stop"),
        restart: command("restart"),
        version: command("version"),
        timeout: section.duration("timeout", Duration::from_secs(120)),
    }
}

/// A program and its arguments. There is no shell that would take a string apart.
fn words(field: &Field<'_>) -> Option<Vec<String>> {
    if !field.is_list() {
        field.problem("must be a list, such as [\"systemctl\", \"start\", \"mcp@secondary\"]: no shell takes a string apart");
        return None;
    }
    let items = field.items();
    if items.is_empty() || items.len() > WORDS_MAX {
        field.problem(&format!("must hold a program and its arguments, at most {WORDS_MAX} words"));
        return None;
    }
    let words: Vec<String> =
        items.iter().filter_map(|item| item.parse_text(|text| Ok(text.to_owned()))).collect();
    if words.first().is_some_and(String::is_empty) {
        field.problem("names no program");
        return None;
    }
    Some(words)
}

// === impl validation ===

pub(super) fn validation(mut section: Section<'_>) -> Validation {
    Validation {
        sla: section.duration_or_off("sla", Duration::from_secs(2)),
        stability: section.duration("stability", Duration::from_secs(60)),
        performance: super::decide::share(&mut section, "performance", 0.95),
        bad_arguments: refused_calls(section.take("bad_arguments")),
        denied: refused_calls(section.take("denied")),
    }
}

fn refused_calls(field: Option<Field<'_>>) -> Vec<RefusedCall> {
    let Some(field) = field.filter(|field| !field.is_empty_list()) else { return Vec::new() };
    distinct(&field, CALLS_MAX, |field, _| {
        let (tool, arguments) = health::tool_call(&mut field.section()?, field);
        Some(RefusedCall { tool: tool?, arguments })
    })
}

// === impl notify ===

impl WebhookFormat {
    /// The word for configuration and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            WebhookFormat::Json => "json",
            WebhookFormat::Slack => "slack",
            WebhookFormat::Alertmanager => "alertmanager",
        }
    }
}

pub(super) fn notify(mut section: Section<'_>) -> Vec<Webhook> {
    let field = section.take("webhooks");
    let Some(field) = field.filter(|field| !field.is_empty_list()) else { return Vec::new() };
    distinct(&field, WEBHOOKS_MAX, |field, taken: &[Webhook]| {
        let webhook = webhook(field)?;
        if taken.iter().any(|other| other.name == webhook.name) {
            field.problem(&format!("there is a webhook `{}` already", webhook.name));
        }
        Some(webhook)
    })
}

fn webhook(field: &Field<'_>) -> Option<Webhook> {
    let mut section = field.section()?;
    let (name, url) = (section.take("name"), section.take("url"));
    if name.is_none() || url.is_none() {
        field.problem("needs a `name` and a `url`");
    }
    let formats = [WebhookFormat::Json, WebhookFormat::Slack, WebhookFormat::Alertmanager]
        .map(|format| (format.as_str(), format));
    let format = section.choice("format", &formats);
    let events = notices(section.take("events"));
    let token = section.take("token").and_then(|field| secret::bearer(&field));
    let timeout = section.duration("timeout", Duration::from_secs(10));
    let tls = tls::client(&mut section, "its [[notify.webhooks]]");
    let name = name?.parse_text(|text| match text {
        "" => Err(BadName("is empty".into())),
        text if text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) => {
            Ok(text.to_owned())
        }
        _ => Err(BadName(format!("`{text}` is no name: letters, digits, `-`, `_` and `.`"))),
    })?;
    Some(Webhook { name, url: webhook_url(&url?)?, format, events, token, timeout, tls })
}

/// Where a webhook is; whoever knows the address can often write there, so it is a secret.
fn webhook_url(field: &Field<'_>) -> Option<Uri> {
    let secret = secret::read(field)?;
    let uri = std::str::from_utf8(secret.expose()).ok().and_then(|text| text.trim().parse().ok());
    let Some(uri) = uri.filter(|uri: &Uri| uri.authority().is_some()) else {
        field.problem(
            "is no URL, such as https://hooks.example.com/x or http://127.0.0.1:9093/api/v2/alerts",
        );
        return None;
    };
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        field.problem("has credentials in it: set `token` instead");
        return None;
    }
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        field.problem("has to begin with `http://` or `https://`");
        return None;
    }
    Some(uri)
}

fn notices(field: Option<Field<'_>>) -> Vec<Notice> {
    let Some(field) = field else { return Notice::ALL.to_vec() };
    distinct(&field, Notice::ALL.len(), |field, taken: &[Notice]| {
        field.parse_text(|text| {
            let found = Notice::ALL.into_iter().find(|notice| notice.as_str() == text);
            let all = Notice::ALL.map(|notice| format!("`{}`", notice.as_str())).join(", ");
            let notice = found.ok_or_else(|| BadName(format!("`{text}` is none of {all}")))?;
            fresh(notice, text, taken)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment, load};
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.toml");
        std::fs::write(&file, text).unwrap();
        load(Some(&file), None, &Environment::default()).map_err(|problems| problems.to_string())
    }

    #[test]
    fn all_of_it_can_be_set() {
        let config = read(
            "[secondary.lifecycle]\nstart = ['run', 'it']\ntimeout = '5s'\n\
             [validation]\nsla = 'off'\nperformance = '90%'\ndenied = [{ tool = 'drop' }]\n\
             [[notify.webhooks]]\nname = 'ops'\nurl = 'http://127.0.0.1:1/x?y=z'\n\
             format = 'slack'\nevents = ['reverted', 'alert']\ntoken = 'abc'",
        )
        .unwrap();
        let lifecycle = &config.arms.secondary.lifecycle;
        assert_eq!(lifecycle.start, Some(vec!["run".to_owned(), "it".to_owned()]));
        assert_eq!((lifecycle.stop.is_none(), lifecycle.timeout.as_secs()), (true, 5));
        assert_eq!((config.validation.sla, config.validation.performance), (None, 0.9));
        assert_eq!(config.validation.denied[0].tool, "drop");
        let webhook = &config.notify[0];
        assert_eq!(webhook.events, [Notice::Reverted, Notice::Alert]);
        assert_eq!(webhook.format, WebhookFormat::Slack);
        assert!(!format!("{webhook:?}").contains("y=z"), "{webhook:?}");
    }

    #[test]
    fn what_is_refused() {
        for (text, words) in [
            ("[primary.lifecycle]\nstart = 'systemctl start x'", "no shell takes a string apart"),
            ("[primary.lifecycle]\nstop = []", "must hold a program"),
            ("[primary.lifecycle]\nstop = ['']", "names no program"),
            ("[primary.lifecycle]\nstrat = ['x']", "did you mean `start`"),
            ("[validation]\nperformance = '100%'", "from 1% to 99%"),
            ("[validation]\ndenied = [{}]", "names no `tool`"),
            ("[[notify.webhooks]]\nname = 'a'", "needs a `name` and a `url`"),
            ("[[notify.webhooks]]\nname = 'a b'\nurl = 'http://x'", "is no name"),
            ("[[notify.webhooks]]\nname = 'a'\nurl = 'ftp://x'", "`http://` or `https://`"),
            ("[[notify.webhooks]]\nname = 'a'\nurl = 'https://x'\nca = '/none'", "cannot read"),
            ("[secondary.tls]\nserver_name = 'a b'", "no host and no address"),
            ("[[notify.webhooks]]\nname = 'a'\nurl = '/x'", "no URL"),
            ("[[notify.webhooks]]\nname = 'a'\nurl = 'http://me:pw@x/'", "credentials in it"),
            ("[[notify.webhooks]]\nname = 'a'\nurl = 'http://x'\nevents = ['revert']", "none of"),
            (
                "[[notify.webhooks]]\nname = 'a'\nurl = 'http://x'\n[[notify.webhooks]]\nname = 'a'\nurl = 'http://y'",
                "`a` already",
            ),
        ] {
            let found = read(text).map(|_| ()).unwrap_err();
            assert!(found.contains(words), "{text}: {found}");
        }
    }
}
