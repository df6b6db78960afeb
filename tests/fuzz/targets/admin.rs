//! What comes over the admin socket and from Alertmanager: every body of every verb. The first byte
//! says which.

#![no_main]

use std::fmt::Debug;
use std::sync::LazyLock;
use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate::admin::wire::alerts::{ClearAlert, RaiseAlert};
use tidegate::admin::wire::baselines::SaveBaseline;
use tidegate::admin::wire::decide::{Confirm, StartRollout, Steer};
use tidegate::admin::wire::deploys::DeployStep;
use tidegate::admin::wire::notices::TestWebhooks;
use tidegate::admin::wire::operate::{Drain, MakeBackup, RestoreState};
use tidegate::admin::wire::validations::{VALIDATION_MAX, Validation};
use tidegate::admin::wire::{Explain, SetSplit};
use tidegate::alerts::alertmanager::Notification;
use tidegate::alerts::{Alerts, KEPT_MAX};
use tidegate::config::{self, Environment, RolloutConfig};
use tidegate::names::Split;
use tidegate::records::baselines::Name;
use tidegate::records::exported::Exported;
use tidegate::rollout::Plan;

static ROLLOUT: LazyLock<RolloutConfig> = LazyLock::new(|| {
    config::load(None, None, &Environment::default()).expect("the defaults hold").rollout
});

/// Reads a body. What could be read is written as something that reads the same.
fn body<T: DeserializeOwned + Serialize + Debug>(text: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(text).ok()?;
    let written = serde_json::to_vec(&read).expect("our own types are JSON");
    let again: T = serde_json::from_slice(&written).expect("what we write can be read");
    assert_eq!(format!("{read:?}"), format!("{again:?}"));
    Some(read)
}

fn plan(text: &str) {
    match Plan::parse(text, &ROLLOUT) {
        Ok(plan) => assert!(!plan.steps.is_empty()),
        Err(problems) => {
            let lines = text.lines().count().max(1);
            assert!(problems.iter().all(|it| (1..=lines + 1).contains(&it.line)), "{problems}");
        }
    }
}

fn notification(text: &[u8]) {
    let Ok(notification) = Notification::read(text) else { return };
    let mut alerts = Alerts::default();
    notification.apply(&mut alerts, SystemTime::UNIX_EPOCH);
    // Whatever they say is bounded, and of one line each.
    assert!(alerts.all().len() <= KEPT_MAX);
}

fn state(text: &[u8]) {
    let Ok(exported) = Exported::read(text) else { return };
    let written = serde_json::to_vec(&exported).expect("our own types are JSON");
    assert_eq!(Exported::read(&written).expect("what we write can be read"), exported);
}

fuzz_target!(|input: &[u8]| {
    let Some((verb, text)) = input.split_first() else { return };
    match verb % 17 {
        0 => {
            if let Some(it) = body::<SetSplit>(text) {
                let split = Split::new(it.primary, it.secondary);
                assert_eq!(split.is_ok(), u16::from(it.primary) + u16::from(it.secondary) == 100);
            }
        }
        1 => drop(body::<Explain>(text)),
        2 => {
            if let Some(StartRollout { plan: Some(text), .. }) = body(text) {
                plan(&text);
            }
        }
        3 => drop(body::<Steer>(text)),
        4 => drop(body::<Confirm>(text)),
        5 => drop(body::<RaiseAlert>(text)),
        6 => drop(body::<ClearAlert>(text)),
        7 => drop(body::<SaveBaseline>(text)),
        8 => drop(body::<DeployStep>(text)),
        9 => drop(body::<Drain>(text)),
        10 => drop(body::<RestoreState>(text)),
        11 => drop(body::<MakeBackup>(text)),
        12 => {
            if let Some(it) = body::<Validation>(text) {
                let kept = serde_json::to_vec(&it.bounded()).expect("our own types are JSON");
                assert!(kept.len() <= VALIDATION_MAX);
            }
        }
        13 => drop(body::<TestWebhooks>(text)),
        14 => notification(text),
        15 => state(text),
        _ => {
            let Ok(text) = str::from_utf8(text) else { return };
            if let Ok(name) = text.parse::<Name>() {
                // It becomes the name of a file.
                assert!(!name.as_str().contains(['/', '\0']) && !name.as_str().starts_with('.'));
            }
            plan(text);
        }
    }
});
