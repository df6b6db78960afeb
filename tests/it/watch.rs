//! What operators load into Prometheus and Grafana: it asks only for what a running router exposes,
//! the dashboard is one, and the alerts fire when they should.

mod promql;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::Command;

use serde_json::Value;
use tidegate::alerts::Severity;
use tidegate::judge::GuardState;
use tidegate::listen::secure::Failure;
use tidegate::names::{Arm, Guard, Outcome};
use tidegate::rollout::RolloutState;

use crate::support::certificates::Authority;
use crate::support::{INITIALIZE, MODERN, Router, Server, WHOAMI, eventually, get, post};
use promql::{Expression, read};

const RULES: &str = "config/prometheus/tidegate.rules.yml";
const DASHBOARD: &str = "config/grafana/tidegate.json";

/// Labels that Prometheus adds to everything that it scrapes.
const SCRAPED: [&str; 2] = ["job", "instance"];

/// How many times a router is asked before what it lacks is taken for missing: 5 seconds.
const TRIES: usize = 200;

/// What a metric or a recorded rule has.
#[derive(Default)]
struct Offered {
    labels: BTreeSet<String>,
    /// Values of each label, where they were seen.
    values: BTreeMap<String, BTreeSet<String>>,
}

// === What is asked for

/// An expression, where it stands, and the labels that the texts about it show.
struct Ask {
    place: String,
    expression: Expression,
    shown: Vec<String>,
}

impl Ask {
    /// `mark` stands before each label in the text.
    fn new(place: String, expression: &str, text: &str, mark: &str) -> Ask {
        let shown = text.split(mark).skip(1).map(|after| {
            let inside = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
            after.trim_start().chars().take_while(inside).collect()
        });
        Ask { place, expression: read(expression), shown: shown.collect() }
    }
}

/// Every rule, and whether it is recorded under its name. Whether the file is good YAML is for
/// promtool to say; here a key and its text, on one line or indented below it, are enough.
fn rules() -> Vec<(bool, String, Ask)> {
    let file = std::fs::read_to_string(RULES).unwrap();
    let rule = |part: &str| {
        let (head, body) = part.split_once('\n')?;
        let (kind, name) = head.split_once(": ")?;
        let (_, after) = body.split_once("        expr:").expect("a rule has an expression");
        let (first, rest) = after.split_once('\n').unwrap_or((after, ""));
        let below = rest.lines().take_while(|line| line.starts_with("          "));
        let lines: Vec<_> = std::iter::once(first).chain(below).collect();
        let ask = Ask::new(format!("{RULES}: {name}"), &lines.join("\n"), rest, "$labels.");
        Some((kind == "record", name.to_owned(), ask))
    };
    let rules: Vec<_> = file.split("\n      - ").skip(1).filter_map(rule).collect();
    assert_eq!(rules.len(), file.matches(" expr:").count(), "rules that are laid out otherwise");
    rules
}

fn dashboard() -> Value {
    serde_json::from_str(&std::fs::read_to_string(DASHBOARD).unwrap()).unwrap()
}

fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[track_caller]
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}: {value}"))
}

/// Every expression of the dashboard: of panels, of annotations, of variables.
fn asked_by_dashboard(dashboard: &Value) -> Vec<Ask> {
    let place = |name: &str| format!("{DASHBOARD}: {name}");
    let mut asks = Vec::new();
    for panel in list(dashboard, "/panels") {
        for target in list(panel, "/targets") {
            let (expression, legend) = (text(target, "expr"), text(target, "legendFormat"));
            asks.push(Ask::new(place(text(panel, "title")), expression, legend, "{{"));
        }
    }
    for note in list(dashboard, "/annotations/list") {
        let texts = [text(note, "titleFormat"), text(note, "textFormat")].concat();
        asks.push(Ask::new(place(text(note, "name")), text(note, "expr"), &texts, "{{"));
    }
    for variable in list(dashboard, "/templating/list") {
        // `label_values(metric, label)`
        if let Some(query) = variable["definition"].as_str() {
            asks.push(Ask::new(place(text(variable, "name")), query, query, ", "));
        }
    }
    asks
}

// === What there is

/// The metrics in a scrape.
fn exposed(scrape: &str) -> BTreeMap<String, Offered> {
    let mut all: BTreeMap<String, Offered> = BTreeMap::new();
    let samples = scrape.lines().filter(|line| !line.starts_with('#'));
    for named in samples.flat_map(|line| read(line).metrics) {
        let offered = all.entry(named.metric).or_default();
        for (label, value) in named.matchers {
            offered.labels.insert(label.clone());
            offered.values.entry(label).or_default().insert(value);
        }
    }
    for offered in all.values_mut() {
        offered.labels.extend(SCRAPED.map(str::to_owned));
    }
    all
}

/// The words of a label that has a closed set of them.
fn closed(metric: &str, label: &str) -> Option<Vec<&'static str>> {
    let words = match (metric, label) {
        (_, "arm") => return Some([Arm::ALL.map(Arm::as_str).as_slice(), &["none"]].concat()),
        (_, "outcome") => return Some(Outcome::ALL.map(Outcome::as_str).to_vec()),
        (_, "guard") => return Some(Guard::ALL.map(Guard::as_str).to_vec()),
        (_, "severity") => return Some(Severity::ALL.map(Severity::as_str).to_vec()),
        ("tidegate_guard_state", "state") => {
            return Some(GuardState::ALL.map(GuardState::as_str).to_vec());
        }
        ("tidegate_rollout_state", "state") => {
            let states = RolloutState::ALL.map(RolloutState::as_str);
            return Some([states.as_slice(), &["none"]].concat());
        }
        ("tidegate_upstream_connections", "state") => "idle busy",
        ("tidegate_evidence", "test") => "relative absolute latency total denied promotion",
        (_, "blame") => "arm relative skew nobody",
        (_, "status") => "1xx 2xx 3xx 4xx 5xx none",
        (_, "era") => "legacy modern",
        ("tidegate_memory_bytes", "kind") => "resident limit",
        (_, "kind") => "configured effective",
        (_, "class") => "breaking additive cosmetic suspicious unknown",
        (_, "verdict") => {
            "healthy unauthenticated wrong_host unreachable timeout closed bad_answer server_error \
             missing_tools call_failed"
        }
        ("tidegate_client_connections_total", "result") => "accepted shed",
        ("tidegate_tls_handshakes_total", "result") => return Some(Failure::WORDS.to_vec()),
        ("tidegate_tls_handshakes_total", "listener") => "listen metrics alerts",
        (_, "used_by") => "listen metrics alerts primary secondary",
        ("tidegate_client_connections_total", "reason") => "none limit address descriptors memory",
        ("tidegate_client_connections_cut_total", "reason") => "header body write flood",
        ("tidegate_upstream_connects_total", "result") => "opened failed",
        ("tidegate_notifications_total", "result") => "sent failed dropped given_up",
        ("tidegate_requests_without_room_total", "result") => "waited queue_full too_long",
        _ => return None,
    };
    Some(words.split_whitespace().collect())
}

/// The labels of an expression's value: those that it is added up by, or those of its metrics.
fn labels_of(expression: &Expression, offered: &BTreeMap<String, Offered>) -> BTreeSet<String> {
    if !expression.by.is_empty() {
        return expression.by.clone();
    }
    let metrics = expression.metrics.iter().filter_map(|named| offered.get(&named.metric));
    let all: BTreeSet<_> = metrics.flat_map(|metric| metric.labels.iter().cloned()).collect();
    &all - &expression.without
}

/// What one expression asks for and is not there.
fn missing_for(ask: &Ask, offered: &BTreeMap<String, Offered>) -> Vec<String> {
    let metrics = &ask.expression.metrics;
    let absent: Vec<_> = metrics.iter().filter(|it| !offered.contains_key(&it.metric)).collect();
    if !absent.is_empty() || metrics.is_empty() {
        return absent.into_iter().map(|named| named.metric.clone()).collect();
    }
    let (mut missing, mut known) = (Vec::new(), BTreeSet::new());
    for named in metrics {
        let (metric, has) = (&named.metric, &offered[&named.metric].labels);
        known.extend(has);
        for (label, value) in &named.matchers {
            if !has.contains(label) {
                missing.push(format!("{metric}{{{label}}}"));
            }
            // A value with a `$` comes from a variable, which comes from a scrape.
            let words = closed(metric, label).filter(|_| !value.contains('$'));
            for word in
                value.split('|').filter(|it| words.as_ref().is_some_and(|of| !of.contains(it)))
            {
                missing.push(format!("{metric}{{{label}=\"{word}\"}}"));
            }
        }
    }
    // Labels in brackets and in texts may be any metric's.
    let names: BTreeSet<_> = metrics.iter().map(|named| named.metric.as_str()).collect();
    let names = Vec::from_iter(names).join(" or ");
    let Expression { by, on, without, .. } = &ask.expression;
    let result = labels_of(&ask.expression, offered);
    let lists = [by, on, without].into_iter().flatten().filter(|label| !known.contains(label));
    let shown = ask.shown.iter().filter(|label| !result.contains(*label));
    missing.extend(lists.chain(shown).map(|label| format!("{names}{{{label}}}")));
    missing
}

/// Everything that the rules and the dashboard ask for and that this scrape does not have, with the
/// first place that asks.
fn missing_in(scrape: &str) -> BTreeMap<String, String> {
    let mut offered = exposed(scrape);
    let mut asks = Vec::new();
    for (is_recorded, name, ask) in rules() {
        if is_recorded {
            let labels = labels_of(&ask.expression, &offered);
            offered.insert(name, Offered { labels, ..Offered::default() });
        }
        asks.push(ask);
    }
    asks.extend(asked_by_dashboard(&dashboard()));
    let mut missing = BTreeMap::new();
    for ask in &asks {
        for what in missing_for(ask, &offered) {
            missing.entry(what).or_insert_with(|| ask.place.clone());
        }
    }
    missing
}

/// A router that has seen some of everything, and its servers.
async fn busy_router() -> (Router, [Server; 2]) {
    let (one, two, spare) =
        (Server::mcp("one").await, Server::mcp("two").await, Server::mcp("spare").await);
    let primary = [one.address, spare.address];
    let webhook = format!("[[notify.webhooks]]\nname = \"ops\"\nurl = \"http://{}/\"", two.address);
    let dir = tempfile::tempdir().unwrap();
    let own = Authority::new().issue(dir.path(), "own", &["router.example"]).settings();
    let settings = format!("\n[health]\ninterval = \"1s\"\n[primary.tls]\n{own}{webhook}");
    let router = Router::start(&primary, &[two.address], &settings).await;
    router.split(50, 50).await;
    let mut sessions = Vec::new();
    for _ in 0..24 {
        let session = post(router.address, &[], INITIALIZE).await.session();
        let reply = post(router.address, &[("mcp-session-id", &session)], WHOAMI).await;
        sessions.push((reply.server(), session));
        post(router.address, &MODERN, WHOAMI).await;
    }
    // Its sessions fail from now on.
    drop(spare);
    for (_, session) in sessions.iter().filter(|(server, _)| server == "spare") {
        post(router.address, &[("mcp-session-id", session)], WHOAMI).await;
    }
    (router, [one, two])
}

/// Everything that the router exposes; again and again until nothing is missing, since probes take a
/// moment.
async fn scrape(router: &Router) -> String {
    let mut tries = 0;
    eventually("a scrape", || {
        tries += 1;
        let last = tries == TRIES;
        async move {
            let text = get(router.metrics, "/metrics", &[]).await.text();
            (last || missing_in(&text).is_empty()).then_some(text)
        }
    })
    .await
}

#[tokio::test]
async fn rules_and_dashboard_ask_only_for_what_is_exposed() {
    let (router, _servers) = busy_router().await;
    let scrape = scrape(&router).await;
    let missing = missing_in(&scrape).into_iter();
    let lines: Vec<_> = missing.map(|(what, place)| format!("{what}  ({place})")).collect();
    assert!(lines.is_empty(), "asked for, but not exposed:\n{}", lines.join("\n"));
    for (metric, offered) in exposed(&scrape) {
        for (label, values) in &offered.values {
            let words = closed(&metric, label);
            let other =
                |value: &&String| words.as_ref().is_some_and(|it| !it.contains(&value.as_str()));
            assert_eq!(values.iter().find(other), None, "a new word for {metric}{{{label}}}");
        }
    }
}

#[test]
fn the_dashboard_is_one() {
    let dashboard = dashboard();
    let panels = list(&dashboard, "/panels");
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let title = text(panel, "title");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= 24, "{title}: beyond the 24 columns");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title}: lies on another at {cell:?}");
        }
        if text(panel, "type") == "row" {
            continue;
        }
        assert!(text(panel, "description").len() > 20, "{title}: says too little");
        let targets = list(panel, "/targets");
        let refs: BTreeSet<_> = targets.iter().map(|target| text(target, "refId")).collect();
        assert!(!refs.is_empty() && refs.len() == targets.len(), "{title}: targets {refs:?}");
        for of in targets.iter().chain([panel]) {
            assert_eq!(of["datasource"]["uid"], "${datasource}", "{title}: a source of its own");
        }
    }
    // Every variable that is used is there.
    let variables = list(&dashboard, "/templating/list");
    let names: BTreeSet<_> = variables.iter().map(|variable| text(variable, "name")).collect();
    let file = dashboard.to_string();
    for after in file.split('$').skip(1) {
        let inside = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let name = after.trim_start_matches('{').split(|it| !inside(it)).next().unwrap();
        // Nothing follows where a pattern ends.
        let known = name.is_empty() || name.starts_with("__") || names.contains(name);
        assert!(known, "no variable ${name}");
    }
    for panel in panels.iter().filter(|panel| panel["repeat"].is_string()) {
        assert!(names.contains(text(panel, "repeat")), "{panel}");
    }
}

/// Runs promtool, which has to be content.
#[track_caller]
fn promtool(arguments: &[&str], input: &str) {
    let found = Command::new("tests/promtool").output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let program = String::from_utf8(found.stdout).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    let output = Command::new(program.trim())
        .args(arguments)
        .stdin(file.reopen().unwrap())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
#[ignore = "needs promtool: tests/run"]
fn alerts_fire_when_they_should() {
    promtool(&["check", "rules", RULES], "");
    promtool(&["check", "config", "config/prometheus/prometheus.yml"], "");
    promtool(&["test", "rules", "config/prometheus/tidegate.test.yml"], "");
}

/// An alert without a test is one that nobody has seen fire.
#[test]
fn every_alert_is_tested() {
    let tests = std::fs::read_to_string("config/prometheus/tidegate.test.yml").unwrap();
    for (is_recorded, name, _) in rules() {
        assert!(is_recorded || tests.contains(&name), "{name} has no test");
    }
}

#[tokio::test]
#[ignore = "needs promtool: tests/run"]
async fn metrics_are_written_as_prometheus_wants_them() {
    let (router, _servers) = busy_router().await;
    promtool(&["check", "metrics"], &scrape(&router).await);
}
