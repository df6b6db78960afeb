//! The page of a rollout: what an operator files.
//!
//! Does not know: Markdown, HTML.

use crate::names::{Arm, Split};
use crate::report::page::{Block, Cell, Mark, Page, Plot, Section, Series, Table, Tone, Unit};
use crate::report::{Case, Decision, Ending, ToolRow, Verdict, Weights, words};

use super::{Over, coverage, deeds, event_tone, numbers, ratio, state_tone, version};

/// The page.
pub(in crate::report) fn page(case: &Case) -> Page {
    let what = if case.id.starts_with('s') { "Split" } else { "Rollout" };
    let badge = match case.ending {
        Ending::Over => (state_tone(&case.state), case.state.clone()),
        Ending::Running => (Tone::Plain, format!("running, {}", case.state)),
        Ending::Lost => (Tone::Warn, "never ended".to_owned()),
    };
    Page {
        title: format!("{what} {}", case.id),
        badge: Some(badge),
        summary: summary(case),
        facts: facts(case),
        sections: vec![
            section("weights", "Weights", timeline(case)),
            section("traffic", "Traffic", traffic(case)),
            section("tools", "Tools", tools(case)),
            section("decisions", "Decisions and their evidence", decisions(case)),
            section("validation", "Validation", validation(case)),
            section("catalogue", "What the arms offer", catalogue(case)),
            section("configuration", "Configuration", configuration(case)),
            section(
                "alerts",
                "Security alerts",
                vec![deeds(&case.alerts, "No alert was raised or cleared in this time.")],
            ),
            section(
                "deployments",
                "Deployments",
                vec![deeds(
                    &case.deploys,
                    "Nothing was deployed through the router in this time, nor on the day before.",
                )],
            ),
            section("record", "Who did what", record(case)),
        ],
        foot: format!(
            "Made by tidegate {} at {} from its journal and history. All times are UTC.",
            env!("CARGO_PKG_VERSION"),
            case.made
        ),
    }
}

fn section(id: &'static str, title: &'static str, blocks: Vec<Block>) -> Section {
    Section { id, title, blocks }
}

fn summary(case: &Case) -> String {
    let to = case.to.map_or("the candidate", Arm::as_str);
    let long = words::span(case.ended.saturating_sub(case.began));
    let because = case.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    match (case.ending, case.state.as_str(), &case.guard) {
        (Ending::Running, state, _) => format!(
            "The rollout to the {to} is still running ({state}{because}); this report tells what is known after {long}."
        ),
        (Ending::Lost, _, _) => format!(
            "The journal has no end of this rollout to the {to}: the router was cut off, or its last lines are lost. Last heard of after {long}."
        ),
        (_, "reverted", Some(guard)) => {
            format!("The guard {guard} took all work from the {to} after {long}{because}.")
        }
        (_, "promoted", _) => format!("After {long} the {to} became the stable arm."),
        (_, "undone", _) => {
            format!("The {to} was promoted after {long}, and that was taken back later{because}.")
        }
        (_, state, _) => format!("The rollout to the {to} was {state} after {long}{because}."),
    }
}

fn facts(case: &Case) -> Vec<(String, Cell)> {
    let mut facts: Vec<(&str, Cell)> = vec![
        (
            "Candidate",
            case.to.map_or_else(|| "–".into(), |arm| Cell::toned(Tone::Of(arm), arm.as_str())),
        ),
        ("Begun by", case.by.as_str().into()),
        ("For", words::or_none(case.reason.clone()).into()),
        ("Began", words::moment(case.began).into()),
    ];
    facts.push(match case.ending {
        Ending::Over => ("Ended", words::moment(case.ended).into()),
        Ending::Running => ("Ended", Cell::toned(Tone::Plain, "not yet")),
        Ending::Lost => ("Last heard of", Cell::toned(Tone::Warn, words::moment(case.ended))),
    });
    facts.push(("Took", words::span(case.ended.saturating_sub(case.began)).into()));
    if let Some(guard) = &case.guard {
        facts.push(("Reverted by", Cell::toned(Tone::Bad, format!("guard {guard}"))));
    }
    facts.push(("Primary", version(&case.versions, Arm::Primary)));
    facts.push(("Secondary", version(&case.versions, Arm::Secondary)));
    facts.push(("Configuration", words::or_none(case.config.clone()).into()));
    facts.into_iter().map(|(name, cell)| (name.to_owned(), cell)).collect()
}

fn timeline(case: &Case) -> Vec<Block> {
    let series = |arm: Arm| Series {
        name: arm.as_str().to_owned(),
        arm,
        is_dashed: false,
        is_steps: true,
        points: case.weights.iter().map(|it| (it.at, f64::from(it.split.weight(arm)))).collect(),
    };
    let mut blocks = Vec::new();
    if !case.weights.is_empty() {
        blocks.push(Block::Plot(Plot {
            id: "weights".to_owned(),
            title: "Share of new work, as set".to_owned(),
            unit: Unit::Weight,
            from: case.began,
            to: case.ended,
            series: Arm::ALL.map(series).to_vec(),
            marks: marks(case),
            explains: true,
            is_small: false,
        }));
    }
    let mut table = Table::new(&["From (UTC)", "#Primary", "#Secondary", "#For"]);
    for (number, Weights { at, split }) in case.weights.iter().enumerate() {
        let until = case.weights.get(number + 1).map_or(case.ended, |next| next.at);
        let weight = |arm: Arm| Cell::toned(Tone::Of(arm), format!("{} %", split.weight(arm)));
        let long = match until.saturating_sub(*at) {
            0 if number == 0 => "before".to_owned(),
            0 => "since".to_owned(),
            long => words::span(long),
        };
        table.rows.push(vec![
            Cell::toned(Tone::Dim, words::moment(*at)),
            weight(Arm::Primary),
            weight(Arm::Secondary),
            long.into(),
        ]);
    }
    blocks.push(Block::Table(table));
    if !case.plan.is_empty() {
        let steps =
            case.plan.iter().map(|(weight, hold)| format!("{weight} % for {}", words::span(*hold)));
        blocks
            .push(Block::Text(format!("The plan: {}.", steps.collect::<Vec<_>>().join(", then "))));
    }
    blocks
}

/// The decisions that changed the weights or the course.
fn marks(case: &Case) -> Vec<Mark> {
    let told =
        case.decisions.iter().filter(|it| (case.began..=case.ended + 1_000).contains(&it.at));
    let mark =
        |it: &Decision| Mark { at: it.at, label: mark_label(it), tone: event_tone(&it.event) };
    let marks: Vec<_> = told.map(mark).collect();
    // Of very many the last ones: that is where it ended.
    marks[marks.len().saturating_sub(30)..].to_vec()
}

fn mark_label(decision: &Decision) -> String {
    let changed = decision.before.zip(decision.after).filter(|(before, after)| before != after);
    let weights = changed.map(|(_, after)| format!(" to {}", weights(after))).unwrap_or_default();
    format!("{}{weights}", decision.event)
}

fn weights(split: Split) -> String {
    format!("{}:{}", split.weight(Arm::Primary), split.weight(Arm::Secondary))
}

fn traffic(case: &Case) -> Vec<Block> {
    let mut blocks = Vec::from_iter(coverage(case.covered, case.unreadable));
    if case.points.is_empty() {
        blocks.push(Block::Text("The history has no minute of it.".to_owned()));
        return blocks;
    }
    let marks = marks(case);
    let over = Over { points: &case.points, from: case.began, to: case.ended, marks: &marks };
    // The marks are explained under the weights.
    blocks.extend(over.plots().into_iter().map(Block::Plot));
    blocks
}

fn tools(case: &Case) -> Vec<Block> {
    if case.tools.is_empty() {
        return vec![Block::Text("No exchange was counted in it.".to_owned())];
    }
    let candidate = case.to.unwrap_or(Arm::Secondary);
    let stable = candidate.other();
    let mut table =
        Table::new(&["", "Arm", "#Exchanges", "#Errors", "#Its own", "#p50", "#p95", "#p50 ratio"]);
    for ToolRow { name, is_tool, arms } in &case.tools {
        for arm in [stable, candidate] {
            let own = arms.get(arm);
            let head = if arm == stable {
                Cell::toned(if *is_tool { Tone::Plain } else { Tone::Dim }, name.as_str())
            } else {
                Cell::default()
            };
            let ratio = if arm == candidate {
                ratio(own.p50, arms.get(stable).p50)
            } else {
                Cell::default()
            };
            let mut row = vec![head, Cell::toned(Tone::Of(arm), arm.as_str())];
            row.extend(numbers(own));
            row.push(ratio);
            table.rows.push(row);
        }
    }
    let text = format!(
        "“Its own” are errors that are the arm's own fault; the ratio is the {candidate}'s median over the {stable}'s, of calls that ended well."
    );
    vec![Block::Table(table), Block::Text(text)]
}

fn decisions(case: &Case) -> Vec<Block> {
    let mut blocks = Vec::new();
    if case.decisions_left_out > 0 {
        blocks.push(Block::Note(
            Tone::Warn,
            format!(
                "{} decisions in the middle are left out; `tidegate rollout show {}` has them.",
                words::count(case.decisions_left_out),
                case.id
            ),
        ));
    }
    for (number, decision) in case.decisions.iter().enumerate() {
        blocks.push(Block::Heading(format!("{}. {}", number + 1, decision.event)));
        let mut facts = vec![
            ("when".to_owned(), words::moment(decision.at)),
            ("who".to_owned(), decision.by.clone()),
        ];
        let mut add =
            |name: &str, value: Option<String>| facts.extend(value.map(|it| (name.to_owned(), it)));
        add(
            "weights",
            decision
                .before
                .zip(decision.after)
                .map(|(one, two)| crate::report::case::change(one, two)),
        );
        add("state", decision.state.clone());
        add(
            "step",
            decision.step.map(|step| format!("{step} of {}", case.plan.len().max(step as usize))),
        );
        add("why", decision.why.clone());
        facts.extend(decision.facts.iter().cloned());
        blocks.push(Block::Facts(facts));
        if !decision.verdicts.is_empty() {
            blocks.push(verdicts(&decision.verdicts));
            blocks.push(evidence(&decision.verdicts));
        }
    }
    blocks
}

fn verdicts(verdicts: &[Verdict]) -> Block {
    let mut table = Table::new(&["Guard", "Found", "Why"]);
    for Verdict { guard, state, why, .. } in verdicts {
        let tone = match state.as_str() {
            "fired" => Tone::Bad,
            "common_cause" | "cannot" => Tone::Warn,
            "armed" => Tone::Good,
            _ => Tone::Dim,
        };
        table.rows.push(vec![
            guard.as_str().into(),
            Cell::toned(tone, state.as_str()),
            why.as_str().into(),
        ]);
    }
    Block::Table(table)
}

/// The numbers behind what the guards found.
fn evidence(verdicts: &[Verdict]) -> Block {
    let mut table = Table::new(&["Guard", "Number", "Value"]);
    for verdict in verdicts {
        for (number, (name, value)) in words::facts(&verdict.evidence, &[]).into_iter().enumerate()
        {
            let guard = if number == 0 { verdict.guard.as_str() } else { "" };
            table.rows.push(vec![guard.into(), Cell::toned(Tone::Dim, name), value.into()]);
        }
    }
    Block::Fold("The numbers behind it".to_owned(), vec![Block::Table(table)])
}

fn validation(case: &Case) -> Vec<Block> {
    if case.validations.is_empty() {
        return vec![Block::Text(
            "No validation of the candidate is on record, from a day before it began.".to_owned(),
        )];
    }
    let mut blocks = Vec::new();
    for deed in &case.validations {
        blocks.push(Block::Heading(format!("{}, by {}", words::moment(deed.at), deed.by)));
        blocks.push(Block::Facts(deed.facts.clone()));
    }
    blocks
}

fn catalogue(case: &Case) -> Vec<Block> {
    let catalogue = &case.catalogue;
    let mut blocks = Vec::new();
    let digests = Arm::ALL.map(|arm| catalogue.digests.get(arm).as_deref());
    blocks.push(Block::Text(match digests {
        [Some(one), Some(two)] if one == two => {
            format!("Both arms list the very same (digest {one}).")
        }
        [Some(one), Some(two)] => format!(
            "What the arms list differs: digest {one} on the primary, {two} on the secondary."
        ),
        [None, None] => "What the arms list was not known.".to_owned(),
        [one, _] => format!(
            "What the {} lists was not known.",
            if one.is_none() { Arm::Primary } else { Arm::Secondary }
        ),
    }));
    if let Some(worst) = &catalogue.worst {
        let allowed =
            if catalogue.allowed { " Whoever began it accepted what breaks clients." } else { "" };
        blocks.push(Block::Text(format!(
            "For clients of the stable arm the gravest difference is {worst}.{allowed}"
        )));
    }
    if !catalogue.changes.is_empty() {
        let mut table = Table::new(&["Class", "Where", "What"]);
        for (class, place, text) in &catalogue.changes {
            let tone = match class.as_str() {
                "breaking" => Tone::Bad,
                "suspicious" | "unknown" => Tone::Warn,
                _ => Tone::Dim,
            };
            table.rows.push(vec![
                Cell::toned(tone, class.as_str()),
                place.as_str().into(),
                text.as_str().into(),
            ]);
        }
        blocks.push(Block::Table(table));
    }
    if catalogue.left_out > 0 {
        blocks.push(Block::Text(format!(
            "{} more differences are not in the record.",
            catalogue.left_out
        )));
    }
    for arm in &catalogue.changed {
        blocks.push(Block::Note(Tone::Warn, format!("The {arm} listed something else later on.")));
    }
    blocks
}

fn configuration(case: &Case) -> Vec<Block> {
    let digest = case
        .config
        .as_ref()
        .map(|digest| format!("It began under the configuration with the digest {digest}."));
    let mut blocks = Vec::from_iter(digest.map(Block::Text));
    blocks.push(deeds(&case.reloads, "The configuration was not reloaded in this time."));
    blocks
}

fn record(case: &Case) -> Vec<Block> {
    let mut blocks = Vec::new();
    if case.deeds_left_out > 0 {
        blocks.push(Block::Note(
            Tone::Warn,
            format!("{} more records are left out.", words::count(case.deeds_left_out)),
        ));
    }
    blocks.push(deeds(&case.deeds, "The journal has no line of it."));
    blocks
}
