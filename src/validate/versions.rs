//! Whether a version can serve the clients of the stable one: it is what it was said to be, speaks
//! every era that they speak, and offers what they know.
//!
//! Does not know: which arm is the stable one.

use crate::config::Protocol;
use crate::health::catalogue::Catalogue;
use crate::health::diff::{Class, Diff, Mark, diff};
use crate::health::handshake::{self, Eras, Memory, Probe};
use crate::health::trial::Trial;
use crate::health::{Subject, Verdict};
use crate::mcp::shown::plain;
use crate::names::Arm;

use super::Asked;
use super::check::Outcome;

/// What a version is compared with.
#[derive(Debug)]
pub enum Stable {
    /// Nothing: it is the stable arm itself.
    Itself,
    /// What the stable arm speaks and offers.
    Known {
        /// The arm.
        arm: Arm,
        /// What it speaks.
        eras: Eras,
        /// What it offers, if its tools could be listed.
        catalogue: Option<Box<Catalogue>>,
    },
    /// Nothing: the stable arm does not tell, and why.
    Missing(String),
}

impl Stable {
    /// Asks the endpoints of the stable arm until one tells. Needs a `LocalSet`.
    pub async fn ask(arm: Arm, endpoints: &[Subject]) -> Stable {
        let mut why = None;
        for endpoint in endpoints {
            let bare = bare(endpoint);
            let probe = handshake::probe(&bare, &mut Memory::default()).await;
            if probe.verdict == Verdict::Healthy {
                let catalogue = probe.catalogue.filter(Catalogue::knows_tools).map(Box::new);
                return Stable::Known { arm, eras: probe.eras, catalogue };
            }
            why.get_or_insert(probe.verdict.to_string());
        }
        let why = why.unwrap_or_else(|| "it has no endpoint".to_owned());
        Stable::Missing(format!("the stable arm ({arm}) does not tell what it speaks: {why}"))
    }
}

/// The endpoint without what is asked of a healthy one, which has checks of its own here.
pub(super) fn bare(subject: &Subject) -> Subject {
    subject.with(|settings| {
        settings.health.expected_tools.clear();
        settings.health.calls.clear();
    })
}

/// Compares what a handshake found out with the stable arm and the version that is expected.
pub(super) async fn check(asked: &Asked<'_>, probe: &Probe) -> Outcome {
    let server = probe.server.as_ref();
    let says = server.map_or_else(
        || "it does not say which version it is".to_owned(),
        |server| format!("it is {} {}", server.name, server.version),
    );
    if let Some(expected) = asked.version
        && server.is_none_or(|server| server.version != expected)
    {
        return Outcome::failed(format!("{says} and not version {}", plain(expected)));
    }
    let (arm, eras, catalogue) = match asked.stable {
        Stable::Itself => return Outcome::ok(format!("{says}; it is the stable arm itself")),
        Stable::Missing(why) => return Outcome::unknown(format!("{says}; {why}")),
        Stable::Known { arm, eras, catalogue } => (arm, eras, catalogue),
    };
    let missing = missing(asked.subject, *eras, probe.eras).await;
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Outcome::failed(format!("{says}; it does not speak {missing}, as the {arm} does"));
    }
    let offered = probe.catalogue.as_ref().filter(|it| it.knows_tools());
    let (Some(stable), Some(offered)) = (catalogue, offered) else {
        return Outcome::unknown(format!("{says}; what the two offer could not be listed"));
    };
    let diff = diff(stable, offered);
    let told = format!("{says}; {}", told(&diff));
    match diff.worst() {
        Some(Class::Breaking | Class::Suspicious) if asked.allow_breaking => {
            Outcome::ok(format!("{told} (allowed)"))
        }
        Some(Class::Breaking | Class::Suspicious) => {
            Outcome::failed(format!("{told}: see `tidegate diff --direct`"))
        }
        Some(Class::Unknown) => Outcome::unknown(told),
        None | Some(Class::Cosmetic | Class::Additive) => Outcome::ok(told),
    }
}

/// The eras of the stable arm that this endpoint does not speak. A handshake looks for no more
/// than it needs, so each one that it did not see is asked for.
async fn missing(subject: &Subject, stable: Eras, seen: Eras) -> Vec<&'static str> {
    let wanted = [
        ("modern", stable.modern, seen.modern, Protocol::Modern),
        ("legacy", stable.legacy, seen.legacy, Protocol::Legacy),
        ("sse", stable.sse, seen.sse, Protocol::Sse),
    ];
    let mut missing = Vec::new();
    for (name, is_wanted, is_seen, protocol) in wanted {
        if is_wanted && !is_seen {
            let subject = subject.with(|settings| settings.health.protocol = protocol);
            if Trial::open(&subject, &[]).await.is_err() {
                missing.push(name);
            }
        }
    }
    missing
}

/// The gravest difference, and how many there are.
fn told(diff: &Diff) -> String {
    let Some(worst) = diff.worst() else { return "it offers what the stable arm does".to_owned() };
    let gravest = diff.changes.iter().find(|change| change.class == worst);
    let first = match gravest {
        Some(change) => {
            let mark = match change.mark {
                Mark::Removed => "-",
                Mark::Added => "+",
                Mark::Changed => "~",
            };
            let at = [change.name.as_str(), change.path.as_str()].join(" ");
            format!("{mark} {} {} {}", change.list.noun(), at.trim(), change.text)
        }
        None => diff.unknown.first().cloned().unwrap_or_default(),
    };
    let count = diff.changes.len() + diff.left_out;
    format!("its offer differs in {count} places, the gravest {}: {first}", worst.as_str())
}
