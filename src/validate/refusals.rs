//! What has to be refused, and what counts as a proper refusal (wire.md 2.2, 2.3).
//!
//! A refusal says no and leaves the server as it was; a server that fails, hangs or obeys does not
//! refuse. Does not know: when a check is made.

use http::HeaderValue;
use http::header::AUTHORIZATION;

use super::Asked;
use super::check::{Mark, Outcome};
use crate::config::{Protocol, RefusedCall};
use crate::health::catalogue::Catalogue;
use crate::health::handshake::Eras;
use crate::health::trial::{Raw, Reaction, Trial};
use crate::health::{Subject, Verdict};
use crate::mcp::shown::plain;

/// JSON-RPC: no such method.
const METHOD_NOT_FOUND: i64 = -32601;
/// JSON-RPC: wrong parameters; MCP: no such tool.
const INVALID_PARAMS: i64 = -32602;
/// JSON-RPC: the server has failed.
const INTERNAL_ERROR: i64 = -32603;
/// JSON-RPC: no JSON.
const PARSE_ERROR: i64 = -32700;

/// A tool that nobody has.
const NO_TOOL: &str = "tidegate_no_such_tool";

/// A token that nobody gave out.
const WRONG_TOKEN: &str = "Bearer tidegate-validation-wrong-token";

/// What a call has to be refused for.
#[derive(Clone, Copy, Debug)]
enum Ground {
    Arguments,
    Tool,
    Permission,
}

/// Whether a reaction is a proper refusal; what came, either way.
fn refusal(reaction: Reaction, ground: Ground) -> Result<String, String> {
    match (reaction, ground) {
        (Reaction::Result { is_error: true, said }, _) => Ok(format!("isError: {said}")),
        (Reaction::Result { .. }, _) => Err("it was answered as if nothing were wrong".to_owned()),
        (Reaction::Error { code: INTERNAL_ERROR, said }, _) => {
            Err(format!("the server itself failed, error {INTERNAL_ERROR}: {said}"))
        }
        (Reaction::Error { code: code @ INVALID_PARAMS, said }, _)
        | (Reaction::Error { code: code @ METHOD_NOT_FOUND, said }, Ground::Tool)
        | (Reaction::Error { code, said }, Ground::Permission) => {
            Ok(format!("error {code}: {said}"))
        }
        (Reaction::Error { code, said }, _) => {
            Err(format!("error {code} ({said}) and not {INVALID_PARAMS} or isError"))
        }
        (Reaction::Locked(status), Ground::Permission) => Ok(format!("HTTP {status}")),
        (Reaction::Locked(status), _) => Err(format!("HTTP {status}, as to a wrong token")),
        (Reaction::Silence, _) => Err("no answer in time".to_owned()),
        (Reaction::Fault(why), _) => Err(why),
    }
}

/// Calls that the operator names, each of which has to be refused.
async fn calls(asked: &Asked<'_>, calls: &[RefusedCall], ground: Ground) -> Outcome {
    let tools: Vec<&str> = calls.iter().map(|call| call.tool.as_str()).collect();
    let mut trial = match Trial::open(asked.subject, &tools).await {
        Ok(trial) => trial,
        Err(verdict) => return Outcome::failed(verdict.to_string()),
    };
    let mut said = String::new();
    for call in calls {
        let is_listed = trial.lists(&call.tool);
        if matches!(ground, Ground::Arguments) && !is_listed {
            // Whatever arguments it were called with, it would be refused.
            let why = "is not listed, so its arguments cannot be tried: look at its name in validation.bad_arguments";
            return Outcome::unknown(format!("{} {why}", plain(&call.tool)));
        }
        match refusal(trial.call(&call.tool, &call.arguments).await, ground) {
            // Which may be why: a token often sees no tool that it may not call.
            Ok(how) if matches!(ground, Ground::Permission) && !is_listed => {
                said = format!("{how} (it is not listed)");
            }
            Ok(how) => said = how,
            Err(why) => return Outcome::failed(format!("{}: {why}", call.tool)),
        }
    }
    match calls {
        [call] => Outcome::ok(format!("{}: {said}", call.tool)),
        calls => Outcome::ok(format!("all {} calls; the last one: {said}", calls.len())),
    }
}

/// `validation.bad_arguments`.
pub(super) async fn bad_arguments(asked: &Asked<'_>) -> Outcome {
    match asked.rules.bad_arguments.as_slice() {
        [] => Outcome::skipped("validation.bad_arguments names no call"),
        named => calls(asked, named, Ground::Arguments).await,
    }
}

/// `validation.denied`.
pub(super) async fn denied(asked: &Asked<'_>) -> Outcome {
    match asked.rules.denied.as_slice() {
        [] => Outcome::skipped("validation.denied names no call"),
        named => calls(asked, named, Ground::Permission).await,
    }
}

/// A tool that does not exist, whatever the server lists.
pub(super) async fn unknown_tool(asked: &Asked<'_>, offered: Option<&Catalogue>) -> Outcome {
    let Some(offered) = offered.filter(|it| it.knows_tools() && it.tools().next().is_some()) else {
        return Outcome::skipped("it lists no tools");
    };
    let mut name = NO_TOOL.to_owned();
    while offered.lists(&name) {
        name.push('_');
    }
    let call = RefusedCall { tool: name, arguments: serde_json::Map::new() };
    calls(asked, &[call], Ground::Tool).await
}

/// A handshake with another token, or with none.
pub(super) async fn token(asked: &Asked<'_>, wrong: bool) -> Outcome {
    if !asked.subject.settings.sends_token() {
        return Outcome::skipped("no token is configured (health.token)");
    }
    let stranger = asked.subject.with(|settings| {
        settings.health.token = wrong.then(|| HeaderValue::from_static(WRONG_TOKEN));
        settings.headers.retain(|(name, _)| name != AUTHORIZATION);
    });
    match Trial::open(&stranger, &[]).await {
        Err(Verdict::Unauthenticated { status, .. }) => Outcome::ok(format!("HTTP {status}")),
        Ok(_) => Outcome::failed("it lets anybody in and lists its tools"),
        Err(verdict) => Outcome::failed(format!("neither 401 nor 403: {verdict}")),
    }
}

/// A session that never was, and one after its end.
pub(super) async fn dead_session(subject: &Subject, eras: Eras) -> Outcome {
    if !eras.legacy {
        return Outcome::skipped("it speaks no era with session ids");
    }
    let legacy = subject.with(|settings| settings.health.protocol = Protocol::Legacy);
    let trial = match Trial::open(&legacy, &[]).await {
        Ok(trial) => trial,
        Err(verdict) => return Outcome::failed(verdict.to_string()),
    };
    let Some(never_was) = trial.in_no_session().await else {
        return Outcome::skipped("it gives no session ids");
    };
    let ended = trial.after_its_end().await;
    let cases = [("one that never was", Some(never_was)), ("one after its end", ended)];
    let mut said = Vec::new();
    for (what, answer) in cases {
        match answer {
            None => {}
            Some(Ok(Raw { status: status @ (404 | 400), .. })) => {
                said.push(format!("{what}: HTTP {status}"));
            }
            Some(Ok(Raw { status, code })) => {
                let code = code.map_or(String::new(), |code| format!(" with error {code}"));
                let why = format!(
                    "{what} gets HTTP {status}{code} and not 404: its clients never begin anew"
                );
                return Outcome::failed(why);
            }
            Some(Err(why)) => return Outcome::failed(format!("{what}: {why}")),
        }
    }
    Outcome::ok(said.join(", "))
}

/// A body that is no JSON, and a list afterwards.
pub(super) async fn malformed(asked: &Asked<'_>) -> Outcome {
    let mut trial = match Trial::open(asked.subject, &[]).await {
        Ok(trial) => trial,
        Err(verdict) => return Outcome::failed(verdict.to_string()),
    };
    let outcome = match trial.malformed().await {
        Ok(Raw { code: Some(PARSE_ERROR), status }) if status < 500 => {
            Outcome::ok(format!("HTTP {status} with error {PARSE_ERROR}"))
        }
        Ok(Raw { status: status @ (400 | 415 | 422), .. }) => Outcome::ok(format!("HTTP {status}")),
        Ok(Raw { status, .. }) => {
            Outcome::failed(format!("HTTP {status} and neither 400 nor error {PARSE_ERROR}"))
        }
        Err(why) => Outcome::failed(why),
    };
    match (outcome, trial.list().await) {
        (Outcome(Mark::Ok, how), Err(why)) => {
            Outcome::failed(format!("{how}, and then it no longer works: {why}"))
        }
        (outcome, _) => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_a_refusal() {
        let error = |code| Reaction::Error { code, said: "no".into() };
        let result = |is_error| Reaction::Result { is_error, said: "x".into() };
        // By arguments, by tool, by permission.
        for (reaction, proper) in [
            (result(true), [true; 3]),
            (result(false), [false; 3]),
            (error(INVALID_PARAMS), [true; 3]),
            (error(METHOD_NOT_FOUND), [false, true, true]),
            (error(-32001), [false, false, true]),
            (error(INTERNAL_ERROR), [false; 3]),
            (Reaction::Locked(403), [false, false, true]),
            (Reaction::Silence, [false; 3]),
            (Reaction::Fault("HTTP 500".into()), [false; 3]),
        ] {
            let grounds = [Ground::Arguments, Ground::Tool, Ground::Permission];
            let found = grounds.map(|ground| refusal(reaction.clone(), ground).is_ok());
            assert_eq!(found, proper, "{reaction:?}");
        }
    }
}
