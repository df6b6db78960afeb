//! What the demo says, as text.
//!
//! Pure: numbers in, lines out, so that every line has a test. Without a terminal the lines are
//! plain words, which a log or a pipe keeps readable.
//! Does not know: sockets, time, who prints.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::score::{Phase, Tally};
use super::{ROLLOUT, VERSIONS};
use crate::config::Environment;
use crate::names::{Arm, PerArm, Split};

/// Cells of the bar: with it, a live line still fits into 80 columns.
const BAR: u64 = 16;

/// How the text may look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Somebody watches: bars, and lines that overwrite themselves.
    pub terminal: bool,
    /// Colours; never without a terminal.
    pub color: bool,
}

/// Where everything is, as far as a reader can use it.
#[derive(Clone, Debug)]
pub struct Places {
    /// The router, for MCP clients.
    pub router: SocketAddr,
    /// The two servers.
    pub servers: PerArm<SocketAddr>,
    /// The router's metrics, if they are served.
    pub metrics: Option<SocketAddr>,
    /// How the program was called, for commands to copy.
    pub program: String,
    /// What commands need to find the admin socket, such as ` --socket /tmp/x.sock`, or nothing.
    pub socket_option: String,
}

#[derive(Clone, Copy)]
enum Ink {
    Bold,
    Green,
    Red,
    Of(Arm),
}

impl Look {
    /// The look for standard output; follows <https://no-color.org>.
    pub fn new(terminal: bool, env: &Environment) -> Look {
        let set = |name: &str| env.0.get(name).map_or("", String::as_str);
        let color = terminal && set("NO_COLOR").is_empty() && set("TERM") != "dumb";
        Look { terminal, color }
    }

    fn paint(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Bold => "1",
            Ink::Green => "32",
            Ink::Red => "1;31",
            Ink::Of(Arm::Primary) => "36",
            Ink::Of(Arm::Secondary) => "33",
        };
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A count that has to be 0.
    fn zero(self, count: u64) -> String {
        self.paint(if count == 0 { Ink::Green } else { Ink::Red }, &thousands(count))
    }
}

/// What runs where.
pub fn intro(look: Look, places: &Places) -> String {
    let mut text = look.paint(Ink::Bold, "Two versions of one MCP server, and tidegate in front");
    text.push_str("\n\n");
    for arm in Arm::ALL {
        let version = look.paint(Ink::Of(arm), VERSIONS.get(arm));
        let label = format!("{:<9}", arm.as_str());
        let _ =
            writeln!(text, "  {label} http://{}/mcp   version {version}", places.servers.get(arm));
    }
    let _ = writeln!(text, "  router    http://{}/mcp   point MCP clients here", places.router);
    if let Some(metrics) = places.metrics {
        let _ = writeln!(text, "  metrics   http://{metrics}/metrics");
    }
    text.push_str(
        "\nAbout 20 sessions are open at any time; most are short, four stay throughout.\n\
         Each asks again and again which version answers. Weights act on new sessions only.\n",
    );
    text
}

/// The heading of a phase.
pub fn heading(look: Look, asked: Split) -> String {
    let line = format!(
        "Weights {}: {} % of new sessions to {}, {} % to {}",
        weights(asked),
        asked.weight(Arm::Primary),
        VERSIONS.primary,
        asked.weight(Arm::Secondary),
        VERSIONS.secondary
    );
    look.paint(Ink::Bold, &line)
}

/// The state of a phase, once a second.
pub fn live(look: Look, second: u64, phase: &Phase, tally: &Tally) -> String {
    let [one, two] = Arm::ALL.map(|arm| {
        let count = *phase.sessions.get(arm);
        let percent = percent(&phase.sessions, arm);
        let text = format!("{} {:>4} ({percent:>3} %)", VERSIONS.get(arm), thousands(count));
        look.paint(Ink::Of(arm), &text)
    });
    let (weights, calls) = (weights(phase.asked), thousands(tally.calls));
    let changed = look.zero(tally.violations);
    if look.terminal {
        let bar = bar(look, &phase.sessions);
        return format!("{second:>4}s {bar} {one} {two}  calls {calls:>6}  changed {changed}");
    }
    format!(
        "{second:>4}s  weights {weights:<5}   new sessions {one}  {two}   calls {calls:>6}   \
         sessions that changed version {changed}"
    )
}

/// The line that stays in place after the phases: the sessions of the last few seconds.
pub fn recent(look: Look, seconds: u64, sessions: &PerArm<u64>, tally: &Tally) -> String {
    let [one, two] = Arm::ALL.map(|arm| {
        let text = format!("{} {:>3} %", VERSIONS.get(arm), percent(sessions, arm));
        look.paint(Ink::Of(arm), &text)
    });
    let (bar, changed) = (bar(look, sessions), look.zero(tally.violations));
    format!("new sessions, last {seconds} s: {bar} {one} {two}  changed {changed}")
}

/// What was asked, and what came.
pub fn summary(look: Look, tally: &Tally) -> String {
    let mut text = look.paint(Ink::Bold, "What was asked, and what came");
    text.push_str("\n\n");
    let _ = writeln!(
        text,
        "  weights   new sessions   {:<14} {}",
        VERSIONS.primary, VERSIONS.secondary
    );
    for phase in &tally.phases {
        let [one, two] = Arm::ALL.map(|arm| {
            let count = thousands(*phase.sessions.get(arm));
            let text = format!("{count:>5} ({:>3} %)", percent(&phase.sessions, arm));
            look.paint(Ink::Of(arm), &text)
        });
        let (asked, all) = (weights(phase.asked), thousands(total(&phase.sessions)));
        let _ = writeln!(text, "  {asked:<9} {all:>12}   {one}  {two}");
    }
    let all = thousands(total(&tally.sessions()));
    let changed = look.zero(tally.violations);
    let outlived = thousands(tally.outlived);
    let errors = look.zero(tally.errors);
    let _ = write!(
        text,
        "\n  sessions that changed version   {changed} of {all}; {outlived} were in use while the \
         weights moved\n  sessions that failed            {errors}\n"
    );
    if let Some(error) = &tally.last_error {
        let _ = writeln!(text, "  the last of them                {error}");
    }
    text
}

/// The heading of the rollout.
pub fn rollout(look: Look) -> String {
    let line = format!(
        "A rollout: {ROLLOUT} % of new sessions to {}, every guard armed",
        VERSIONS.secondary
    );
    look.paint(Ink::Bold, &line)
}

/// The moment when the new version breaks.
pub fn breaks(look: Look) -> String {
    let line = format!("{} breaks: its tool `echo` answers with errors", VERSIONS.secondary);
    look.paint(Ink::Red, &line)
}

/// The moment when the gate has shut.
pub fn shut(look: Look, after: u32, why: &str, failed: u64) -> String {
    let line = format!("The gate has shut itself, {after} s later, after {failed} failed calls");
    let line = look.paint(Ink::Green, &line);
    format!("{line}\n  {why}\n  New sessions go to {} alone.", VERSIONS.primary)
}

/// How to go on by hand.
pub fn try_it(look: Look, places: &Places) -> String {
    let Places { router, program, socket_option, .. } = places;
    let title = look.paint(Ink::Bold, "Try it yourself, in another terminal");
    format!(
        r#"{title}

  A session with curl; `version` gives the same answer however often it is called:

mcp() {{ curl -s http://{router}/mcp -H 'content-type: application/json' \
  -H 'accept: application/json, text/event-stream' "$@"; }}
SESSION=$(mcp -D - -o /dev/null -d '{{"jsonrpc":"2.0","id":1,"method":"initialize",
  "params":{{"protocolVersion":"2025-11-25","capabilities":{{}},
  "clientInfo":{{"name":"curl","version":"1"}}}}}}' |
  awk 'tolower($1) == "mcp-session-id:" {{ print $2 }}' | tr -d '\r')
mcp -H "mcp-session-id: $SESSION" -d '{{"jsonrpc":"2.0","method":"notifications/initialized"}}'
mcp -H "mcp-session-id: $SESSION" -d '{{"jsonrpc":"2.0","id":2,"method":"tools/call",
  "params":{{"name":"version","arguments":{{}}}}}}'

  The router:

{program} status{socket_option}
{program} set-traffic-split primary:50 secondary:50{socket_option}
{program} rollout start{socket_option}
{program} rollout history{socket_option}

  MCP Inspector, with transport "Streamable HTTP" and the URL http://{router}/mcp:

npx @modelcontextprotocol/inspector
"#
    )
}

/// `90:10`, primary first.
fn weights(split: Split) -> String {
    format!("{}:{}", split.weight(Arm::Primary), split.weight(Arm::Secondary))
}

fn total(counts: &PerArm<u64>) -> u64 {
    counts.primary + counts.secondary
}

/// Whole percents that add up to 100, so that nobody has to explain 33 and 66.
fn percent(counts: &PerArm<u64>, arm: Arm) -> u64 {
    let all = total(counts);
    if all == 0 {
        return 0;
    }
    let primary = (counts.primary * 100 + all / 2) / all;
    if arm == Arm::Primary { primary } else { 100 - primary }
}

fn bar(look: Look, counts: &PerArm<u64>) -> String {
    let all = total(counts);
    if all == 0 {
        return "·".repeat(BAR as usize);
    }
    let primary = (counts.primary * BAR + all / 2) / all;
    let piece =
        |arm, cell: &str, cells: u64| look.paint(Ink::Of(arm), &cell.repeat(cells as usize));
    piece(Arm::Primary, "█", primary) + &piece(Arm::Secondary, "░", BAR - primary)
}

/// `1,630`
fn thousands(count: u64) -> String {
    let mut text = count.to_string();
    let mut at = text.len();
    while at > 3 {
        at -= 3;
        text.insert(at, ',');
    }
    text
}

#[cfg(test)]
mod tests;
