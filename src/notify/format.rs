//! A message in the words of the program that takes it; pure.
//!
//! Does not know: where it is sent, whether it arrives.

use std::time::SystemTime;

use hyper::body::Bytes;
use serde_json::{Value, json};

use super::message::{AlertTold, Message};
use crate::alerts::Severity;
use crate::config::WebhookFormat;

/// Of our own object; grows when a member changes its meaning or goes.
const VERSION: u8 = 1;

/// The body of a request for it; `None`: this program has nothing to learn from it.
pub(super) fn body(message: &Message, format: WebhookFormat, router: &str) -> Option<Bytes> {
    let body = match format {
        // They are told what happens, and not that it is over.
        WebhookFormat::Json | WebhookFormat::Slack if message.is_over => return None,
        WebhookFormat::Json => object(message, router),
        WebhookFormat::Slack => slack(message, router),
        WebhookFormat::Alertmanager => Value::Array(alertmanager(message, router)?),
    };
    Some(body.to_string().into())
}

/// Our own: all that is known, and a text for those who only pass it on.
fn object(message: &Message, router: &str) -> Value {
    json!({
        "version": VERSION,
        "notice": message.word(),
        "severity": message.severity,
        "router": router,
        "at": time(message.at),
        "title": message.title,
        "text": message.text(),
        "why": message.why,
        "by": message.by,
        "event": message.event,
        "number": message.number,
        "rollout": message.rollout,
        "arm": message.arm,
        "arm_version": message.version,
        "guard": message.guard,
        "weights": message.weights,
        "alerts": message.alerts,
    })
}

/// As Slack, Mattermost and others take it; what stands between `<` and `>` would be a link, or a
/// call to everybody.
fn slack(message: &Message, router: &str) -> Value {
    let text = format!("tidegate {router}: {}: {}", message.word(), message.text());
    json!({ "text": text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;") })
}

/// As Alertmanager takes it: what is raised and ended under the same labels is one alert.
fn alertmanager(message: &Message, router: &str) -> Option<Vec<Value>> {
    if message.by_alertmanager {
        // It would come back to us as a new one, and so on for ever.
        return None;
    }
    let alert = |severity: Severity, more: Value, ends: SystemTime| {
        let mut labels = json!({
            "alertname": name(message.word()),
            "severity": severity,
            "instance": router,
        });
        let own = [
            ("arm", json!(message.arm)),
            ("rollout", json!(message.rollout)),
            ("guard", json!(message.guard)),
        ];
        let more = more.as_object().cloned().unwrap_or_default();
        let more = more.iter().map(|(key, value)| (key.as_str(), value.clone()));
        for (key, value) in own.into_iter().chain(more) {
            if value.as_str().is_some_and(|it| !it.is_empty()) {
                labels[key] = value;
            }
        }
        json!({
            "labels": labels,
            "annotations": { "summary": message.title, "description": message.text() },
            "startsAt": time(message.at),
            "endsAt": time(ends),
        })
    };
    if message.alerts.is_empty() {
        return Some(vec![alert(message.severity, Value::Null, message.ends)]);
    }
    let one = |told: &AlertTold| {
        let labels = json!({ "alert": told.id.to_string(), "source": told.source });
        alert(told.severity, labels, if told.is_open { message.ends } else { message.at })
    };
    Some(message.alerts.iter().map(one).collect())
}

/// `TidegateReverted` for `reverted`.
fn name(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    format!("Tidegate{}{rest}", first.to_ascii_uppercase())
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::message::fixture::{happening, message};

    fn read(message: &Message, format: WebhookFormat) -> Option<Value> {
        let body = body(message, format, "production")?;
        Some(serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn our_own_object_says_all() {
        let told = read(&message("revert"), WebhookFormat::Json).unwrap();
        let wanted = json!({
            "version": 1,
            "notice": "reverted",
            "severity": "warning",
            "router": "production",
            "at": "2026-02-06T13:08:45.828Z",
            "title": "rollout r18 to the secondary was reverted",
            "text": "rollout r18 to the secondary was reverted: a <b>critical</b> alert & more; it is mcp 2.1.0; new work: primary:100 secondary:0; by guard security_alert",
            "why": "a <b>critical</b> alert & more",
            "by": "guard security_alert",
            "event": "revert",
            "number": 7,
            "rollout": "r18",
            "arm": "secondary",
            "arm_version": "mcp 2.1.0",
            "guard": "security_alert",
            "weights": { "primary": 100, "secondary": 0 },
            "alerts": [],
        });
        assert_eq!(told, wanted);
        let test = read(&Message::test(SystemTime::now()), WebhookFormat::Json).unwrap();
        assert_eq!((&test["notice"], &test["number"]), (&json!("test"), &json!(0)));
    }

    #[test]
    fn no_text_calls_everybody_in_a_chat() {
        let mut told = message("revert");
        told.why = Some("<!channel> & <https://x|y>".to_owned());
        let body = read(&told, WebhookFormat::Slack).unwrap();
        let text = body["text"].as_str().unwrap();
        let wanted = "tidegate production: reverted: rollout r18 to the secondary was reverted: &lt;!channel&gt; &amp; &lt;https://x|y&gt;; it is";
        assert!(text.starts_with(wanted), "{text}");
        assert!(!text.contains('\n') && !text.contains('<'), "{text}");
    }

    #[test]
    fn alertmanager_gets_one_alert_for_one_matter() {
        let raised = read(&message("revert"), WebhookFormat::Alertmanager).unwrap();
        let labels = json!({
            "alertname": "TidegateReverted", "severity": "warning", "instance": "production",
            "arm": "secondary", "rollout": "r18", "guard": "security_alert",
        });
        assert_eq!(raised[0]["labels"], labels);
        assert_eq!(raised[0]["startsAt"], "2026-02-06T13:08:45.828Z");
        assert_eq!(raised[0]["endsAt"], "2026-02-07T13:08:45.828Z");
        assert_eq!(
            raised[0]["annotations"]["summary"],
            "rollout r18 to the secondary was reverted"
        );

        let mut over = message("revert");
        (over.is_over, over.ends) = (true, over.at);
        let ended = read(&over, WebhookFormat::Alertmanager).unwrap();
        assert_eq!((&ended[0]["labels"], &ended[0]["endsAt"]), (&labels, &raised[0]["startsAt"]));
        assert_eq!(read(&over, WebhookFormat::Json), None);
        assert_eq!(read(&over, WebhookFormat::Slack), None);
        let started = read(&message("rollout-start"), WebhookFormat::Alertmanager).unwrap();
        assert_eq!(started[0]["endsAt"], "2026-02-06T13:13:45.828Z");
    }

    #[test]
    fn a_security_alert_ends_under_the_labels_that_it_began_with() {
        let told = |event, key: &str| {
            let alert = json!({ "id": 3, "severity": "high", "source": "trivy", "reason": "CVE" });
            Message::of(&happening(event, json!({ key: [alert] }))).unwrap()
        };
        let raised = read(&told("alert-raise", "raised"), WebhookFormat::Alertmanager).unwrap();
        let cleared = read(&told("alert-clear", "cleared"), WebhookFormat::Alertmanager).unwrap();
        assert_eq!(raised[0]["labels"], cleared[0]["labels"]);
        assert_eq!(
            (&raised[0]["labels"]["alert"], raised.as_array().unwrap().len()),
            (&json!("3"), 1)
        );
        assert_eq!(raised[0]["labels"]["severity"], "high");
        assert_eq!(cleared[0]["endsAt"], cleared[0]["startsAt"]);
        // What it has told us itself would come back to us as a new alert.
        let own = told("alert-notification", "raised");
        assert_eq!(read(&own, WebhookFormat::Alertmanager), None);
        assert!(read(&own, WebhookFormat::Slack).is_some());
    }
}
