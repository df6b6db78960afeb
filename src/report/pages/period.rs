//! The page of some days: what maintenance looks at.
//!
//! Does not know: Markdown, HTML.

use crate::names::Arm;
use crate::records::history::DAY;
use crate::report::page::{Block, Cell, Page, Plot, Section, Series, Table, Tone, Unit};
use crate::report::{DayPeaks, Health, Numbers, Outage, Past, Period, Trend, words};

use super::{Over, coverage, deeds, numbers, state_tone};

/// Outages of an arm that are shown, the longest.
const OUTAGES: usize = 20;

/// The page.
pub(in crate::report) fn page(period: &Period) -> Page {
    let days = period.to.saturating_sub(period.from).div_ceil(DAY);
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        number => format!("{} {what}s", words::count(number as u64)),
    };
    let outages = Arm::ALL.into_iter().map(|arm| period.health.get(arm).outages.len()).sum();
    let tone = if period.incidents.is_empty() { Tone::Good } else { Tone::Warn };
    Page {
        title: format!("The last {}", count(days as usize, "day")),
        badge: Some((tone, count(period.incidents.len(), "incident"))),
        summary: format!(
            "{}, {} and {} from {} to {}.",
            count(period.rollouts.len(), "rollout"),
            count(period.incidents.len(), "incident"),
            count(outages, "outage"),
            words::moment(period.from),
            words::moment(period.to),
        ),
        facts: facts(period),
        sections: vec![
            Section { id: "traffic", title: "Traffic", blocks: traffic(period) },
            Section { id: "health", title: "Health checks", blocks: health(period) },
            Section { id: "tools", title: "Tools, day by day", blocks: trends(period) },
            Section { id: "incidents", title: "Incidents", blocks: incidents(period) },
            Section { id: "rollouts", title: "Rollouts", blocks: rollouts(period) },
            Section { id: "capacity", title: "Capacity", blocks: capacity(period) },
            Section {
                id: "configuration",
                title: "Configuration",
                blocks: vec![deeds(
                    &period.reloads,
                    "The configuration was not reloaded in this time.",
                )],
            },
        ],
        foot: format!(
            "Made by tidegate {} at {} from its journal and history. All times are UTC.",
            env!("CARGO_PKG_VERSION"),
            period.made
        ),
    }
}

fn facts(period: &Period) -> Vec<(String, Cell)> {
    let peak = |of: fn(&DayPeaks) -> u64| period.days.iter().map(of).max().unwrap_or_default();
    let up = |arm: Arm| {
        let Health { known, up, .. } = *period.health.get(arm);
        let share = (known > 0).then(|| words::percent(up as f64 / known as f64));
        Cell::toned(
            Tone::Of(arm),
            share.map_or_else(|| "not known".to_owned(), |it| format!("{it} of the time")),
        )
    };
    let all: u64 = period.days.iter().map(|day| day.exchanges).sum();
    let facts: Vec<(&str, Cell)> = vec![
        ("Exchanges", words::count(all).into()),
        ("Most in a minute", words::count(peak(|it| it.a_minute)).into()),
        ("Most sessions at once", words::count(peak(|it| it.sessions)).into()),
        ("Primary all up", up(Arm::Primary)),
        ("Secondary all up", up(Arm::Secondary)),
        ("Recorded", words::percent(period.covered).into()),
    ];
    facts.into_iter().map(|(name, cell)| (name.to_owned(), cell)).collect()
}

fn traffic(period: &Period) -> Vec<Block> {
    let mut blocks = Vec::from_iter(coverage(period.covered, period.unreadable));
    if period.points.is_empty() {
        blocks.push(Block::Text("The history has no minute of these days.".to_owned()));
        return blocks;
    }
    let over = Over { points: &period.points, from: period.from, to: period.to, marks: &[] };
    blocks.extend(over.plots().into_iter().map(Block::Plot));
    blocks
}

fn health(period: &Period) -> Vec<Block> {
    let mut table = Table::new(&["Arm", "#Known for", "#All servers up", "#Outages", "#Longest"]);
    let mut worst = Table::new(&["Arm", "Began (UTC)", "#For", "#Fewest up"]);
    for arm in Arm::ALL {
        let Health { known, up, outages, left_out } = period.health.get(arm);
        let long = |it: &Outage| it.ended.saturating_sub(it.began);
        let share = (*known > 0).then(|| words::percent(*up as f64 / *known as f64));
        let longest = outages.iter().map(long).max().map(words::span);
        table.rows.push(vec![
            Cell::toned(Tone::Of(arm), arm.as_str()),
            words::span(*known).into(),
            words::or_none(share).into(),
            words::count(outages.len() as u64 + left_out).into(),
            words::or_none(longest).into(),
        ]);
        let mut longest: Vec<_> = outages.iter().collect();
        longest.sort_by_key(|it| std::cmp::Reverse(long(it)));
        longest.truncate(OUTAGES);
        longest.sort_by_key(|it| it.began);
        for outage in longest {
            let Outage { began, up, endpoints, .. } = outage;
            let tone = if *up == 0 { Tone::Bad } else { Tone::Warn };
            worst.rows.push(vec![
                Cell::toned(Tone::Of(arm), arm.as_str()),
                words::moment(*began).into(),
                words::span(long(outage)).into(),
                Cell::toned(tone, format!("{up} of {endpoints}")),
            ]);
        }
    }
    let mut blocks = vec![Block::Table(table)];
    if worst.rows.is_empty() {
        blocks.push(Block::Text("No minute is on record in which a server was down.".to_owned()));
    } else {
        blocks.push(Block::Heading("The longest outages".to_owned()));
        blocks.push(Block::Table(worst));
    }
    blocks
}

fn trends(period: &Period) -> Vec<Block> {
    if period.trends.is_empty() {
        return vec![Block::Text("No tool was called in these days.".to_owned())];
    }
    let plots = period.trends.iter().enumerate().map(|(number, it)| trend(period, number, it));
    let mut blocks = vec![
        Block::Text(
            "The time that 95 % of the calls of each day stayed below, of the most used tools."
                .to_owned(),
        ),
        Block::Plots(plots.collect()),
    ];
    for Trend { name, days, .. } in &period.trends {
        let mut table =
            Table::new(&["Day", "Arm", "#Exchanges", "#Errors", "#Its own", "#p50", "#p95"]);
        for (day, arms) in days {
            for arm in Arm::ALL.into_iter().filter(|arm| arms.get(*arm).calls > 0) {
                let mut row = vec![
                    Cell::toned(Tone::Dim, day.as_str()),
                    Cell::toned(Tone::Of(arm), arm.as_str()),
                ];
                row.extend(numbers(arms.get(arm)));
                table.rows.push(row);
            }
        }
        blocks.push(Block::Fold(name.clone(), vec![Block::Table(table)]));
    }
    blocks
}

fn trend(period: &Period, number: usize, trend: &Trend) -> Plot {
    let noon = |day: &str| {
        let at = humantime::parse_rfc3339(&format!("{day}T12:00:00Z")).ok()?;
        Some(crate::records::history::millis(at))
    };
    let series = |arm: Arm| {
        let value = |(day, arms): &(String, crate::names::PerArm<Numbers>)| {
            Some((noon(day)?, arms.get(arm).p95?))
        };
        Series {
            name: arm.as_str().to_owned(),
            arm,
            is_dashed: false,
            is_steps: false,
            points: trend.days.iter().filter_map(value).collect(),
        }
    };
    Plot {
        id: format!("tool-{}", number + 1),
        title: trend.name.clone(),
        unit: Unit::Millis,
        from: period.from,
        to: period.to,
        series: Arm::ALL.map(series).to_vec(),
        marks: Vec::new(),
        explains: false,
        is_small: true,
    }
}

fn incidents(period: &Period) -> Vec<Block> {
    let mut blocks = Vec::new();
    if period.left_out > 0 {
        blocks.push(Block::Note(
            Tone::Warn,
            format!(
                "{} older lines of incidents and configurations are left out.",
                words::count(period.left_out)
            ),
        ));
    }
    blocks.push(deeds(&period.incidents, "Nothing was reverted or aborted, no guard found a common cause, no critical alert came in, and the journal is whole."));
    blocks
}

fn rollouts(period: &Period) -> Vec<Block> {
    if period.rollouts.is_empty() {
        return vec![Block::Text("There was no rollout.".to_owned())];
    }
    let mut table = Table::new(&["Id", "Began (UTC)", "To", "Outcome", "#Took", "Who", "Why"]);
    for Past { id, began, ended, to, by, state, why } in &period.rollouts {
        let took = began.zip(*ended).map(|(began, ended)| words::span(ended.saturating_sub(began)));
        table.rows.push(vec![
            id.as_str().into(),
            began.map_or_else(|| "before".to_owned(), words::moment).into(),
            to.map_or_else(|| "–".into(), |arm| Cell::toned(Tone::Of(arm), arm.as_str())),
            Cell::toned(state_tone(state), state.as_str()),
            words::or_none(took).into(),
            words::or_none(by.clone()).into(),
            words::or_none(why.clone()).into(),
        ]);
    }
    vec![Block::Table(table)]
}

fn capacity(period: &Period) -> Vec<Block> {
    if period.days.is_empty() {
        return vec![Block::Text("The history has no minute of these days.".to_owned())];
    }
    let mut table = Table::new(&[
        "Day",
        "#Exchanges",
        "#Most in a minute",
        "#Sessions",
        "#Streams",
        "#Client connections",
        "#Of the limit",
    ]);
    for day in &period.days {
        let share = day.connections as f64 / day.connections_max.max(1) as f64;
        let tone = match share {
            it if it > 0.9 => Tone::Bad,
            it if it > 0.7 => Tone::Warn,
            _ => Tone::Plain,
        };
        table.rows.push(vec![
            Cell::toned(Tone::Dim, day.day.as_str()),
            words::count(day.exchanges).into(),
            words::count(day.a_minute).into(),
            words::count(day.sessions).into(),
            words::count(day.streams).into(),
            words::count(day.connections).into(),
            Cell::toned(tone, words::percent(share)),
        ]);
    }
    vec![
        Block::Text(
            "The most at once, day by day; the limit is that of client connections.".to_owned(),
        ),
        Block::Table(table),
    ]
}
