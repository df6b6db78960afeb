//! A page: what a report says and in which order, whatever it is written in.
//!
//! All text in it is plain; whoever renders it escapes it. Does not know: Markdown, HTML, where its
//! numbers come from.

use crate::names::Arm;

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// What it is about.
    pub title: String,
    /// In a word or two: how it ended.
    pub badge: Option<(Tone, String)>,
    /// In a sentence.
    pub summary: String,
    /// What a reader looks for first.
    pub facts: Vec<(String, Cell)>,
    /// The rest.
    pub sections: Vec<Section>,
    /// When and by what it was made.
    pub foot: String,
}

/// A part of a page.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its anchor: lower-case letters.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What it says.
    pub blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Clone, Debug)]
pub enum Block {
    /// Sentences.
    Text(String),
    /// Sentences that must not be missed.
    Note(Tone, String),
    /// A heading below that of the section.
    Heading(String),
    /// Names and values.
    Facts(Vec<(String, String)>),
    /// A table.
    Table(Table),
    /// A plot.
    Plot(Plot),
    /// Plots that stand beside each other where there is room.
    Plots(Vec<Plot>),
    /// Details that can be folded away.
    Fold(String, Vec<Block>),
}

/// What a text means, and so its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// To be looked at.
    Warn,
    /// Not as it should be.
    Bad,
    /// Of little interest.
    Dim,
    /// Of this arm.
    Of(Arm),
}

/// A cell of a table.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// How.
    pub tone: Tone,
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, tone: Tone::Plain }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::from(text.to_owned())
    }
}

impl Cell {
    /// With a meaning.
    pub fn toned(tone: Tone, text: impl Into<String>) -> Cell {
        Cell { text: text.into(), tone }
    }
}

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The columns: name, and whether it holds numbers.
    pub columns: Vec<(String, bool)>,
    /// The rows, each with a cell for each column.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows; a column whose name begins with `#` holds numbers.
    pub fn new(columns: &[&str]) -> Table {
        let column = |name: &&str| match name.strip_prefix('#') {
            Some(name) => (name.to_owned(), true),
            None => ((*name).to_owned(), false),
        };
        Table { columns: columns.iter().map(column).collect(), rows: Vec::new() }
    }
}

/// Values over time.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Its name for programs: lower-case letters and `-`.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// What its values are.
    pub unit: Unit,
    /// The ends of the time, in milliseconds since 1970.
    pub from: u64,
    /// See `from`.
    pub to: u64,
    /// The lines.
    pub series: Vec<Series>,
    /// Moments to look at.
    pub marks: Vec<Mark>,
    /// Whether it says what they are; plots of the same page have the same marks.
    pub explains: bool,
    /// Whether it stands beside others.
    pub is_small: bool,
}

/// What values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Percent of new work, 0 to 100.
    Weight,
    /// Shares, 0 to 1.
    Share,
    /// Milliseconds.
    Millis,
    /// Each second.
    PerSecond,
}

/// A line of a plot.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is of.
    pub name: String,
    /// Its arm, and so its colour.
    pub arm: Arm,
    /// Broken, to tell it from another one of the same arm.
    pub is_dashed: bool,
    /// Whether a value holds until the next one.
    pub is_steps: bool,
    /// When, in milliseconds since 1970, and what.
    pub points: Vec<(u64, f64)>,
}

/// A moment to look at.
#[derive(Clone, Debug)]
pub struct Mark {
    /// In milliseconds since 1970.
    pub at: u64,
    /// What happened.
    pub label: String,
    /// What it means.
    pub tone: Tone,
}
