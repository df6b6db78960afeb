//! `tidegate validate-config`.

use serde_json::json;

use crate::config::{self, Environment, Problems};

use super::{Common, Exit, complain, say, say_json};

pub(super) fn run(common: &Common, environment: &Environment) -> Exit {
    let file = common.config.as_deref();
    let result: Result<Vec<String>, Problems> = match &common.profile {
        Some(profile) => {
            config::load(file, Some(profile), environment).map(|_| vec![profile.clone()])
        }
        None => config::check_all(file, environment),
    };
    let name = file.map_or_else(|| "the defaults".to_owned(), |file| file.display().to_string());
    match result {
        Ok(profiles) if common.json => {
            say_json(&json!({ "valid": true, "profiles": profiles, "problems": [] }));
            Exit::Yes
        }
        Ok(profiles) if profiles.is_empty() => {
            say(format_args!("{name}: valid"));
            Exit::Yes
        }
        Ok(profiles) => {
            let what = if profiles.len() == 1 { "profile" } else { "profiles" };
            say(format_args!("{name}: valid, with the {what} {}", profiles.join(", ")));
            Exit::Yes
        }
        Err(problems) if common.json => {
            say_json(&json!({ "valid": false, "problems": problems }));
            Exit::Usage
        }
        Err(problems) => {
            say(&problems);
            let count = problems.iter().count();
            let what = if count == 1 { "problem: correct it" } else { "problems: correct them" };
            complain(format_args!("{count} {what}, and check again"));
            Exit::Usage
        }
    }
}
