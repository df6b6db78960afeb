//! Two JSON schemas, compared by the values that they allow.
//!
//! For what a client sends, fewer values break it; for what a client reads, more do. So the walk
//! finds only whether values are lost or gained, and the direction makes the class of it. A client
//! sends what the list names: a property that comes new is no loss although an open schema allowed
//! anything under its name before. Keywords that combine schemas are followed where that is exact
//! (`$ref` inside the document, one-element `allOf`, `anyOf` by type) and otherwise only held
//! against each other; what differs there could not be told. Depth and steps are bounded.
//! Does not know: tools, whose schemas these are.

mod node;

mod rules;

use std::collections::HashSet;
use std::ptr;

use serde_json::{Map, Value};

use self::node::{Node, Types, cost, is_note, settle};
use super::items::from_difference;
use super::{Class, Mark};
use crate::mcp::shown::{json, shown};

/// Schemas inside each other that are followed. Generated ones stay below 20.
const MAX_DEPTH: usize = 64;

/// Steps for one pair of schemas, so that one hostile tool does not use up what is left for the
/// others. A place takes about ten, and a large real schema has some thousand places.
const MAX_STEPS: usize = 200_000;

/// Bytes of a path, beyond which it is not continued.
pub(super) const MAX_PATH: usize = 240;

/// Characters of a value that are shown.
const MAX_VALUE: usize = 60;

/// Which way the values go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the client, which has the old schema, to a server with the new one.
    Input,
    /// From a server with the new schema to the client, which has the old one.
    Output,
}

impl Direction {
    const fn root(self) -> &'static str {
        match self {
            Direction::Input => "inputSchema",
            Direction::Output => "outputSchema",
        }
    }

    /// What a property of the whole is called.
    const fn noun(self) -> &'static str {
        match self {
            Direction::Input => "parameter",
            Direction::Output => "field",
        }
    }
}

/// One difference.
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) class: Class,
    pub(super) mark: Mark,
    pub(super) path: String,
    pub(super) text: String,
}

/// What a difference does to the values that are allowed.
#[derive(Clone, Copy)]
enum Effect {
    /// Some are no longer.
    Fewer,
    /// Some are now.
    More,
    /// Both.
    Other,
}

impl Effect {
    const fn class(self, direction: Direction) -> Class {
        match (self, direction) {
            (Effect::Other, _)
            | (Effect::Fewer, Direction::Input)
            | (Effect::More, Direction::Output) => Class::Breaking,
            (Effect::More, Direction::Input) | (Effect::Fewer, Direction::Output) => {
                Class::Additive
            }
        }
    }
}

/// Says how two schemas differ; takes its steps from `work`.
pub(super) fn compare(
    direction: Direction,
    old: &Value,
    new: &Value,
    work: &mut usize,
) -> Vec<Fact> {
    if old == new {
        return Vec::new();
    }
    let steps = (*work).min(MAX_STEPS);
    let mut walk = Walk {
        direction,
        roots: (old, new),
        path: vec![direction.root().to_owned()],
        depth: 0,
        open: Vec::new(),
        seen: HashSet::new(),
        held: 0,
        assumed: false,
        facts: Vec::new(),
        steps,
    };
    walk.compare(old, new);
    *work -= steps - walk.steps;
    if walk.steps == 0 {
        walk.doubt("", "is too large to be compared to its end");
    } else if walk.assumed
        && walk.facts.iter().map(|fact| fact.class).max() == Some(Class::Additive)
    {
        walk.doubt("", "differs and refers to itself where it is not followed");
    }
    walk.facts
}

/// `.name`, or `["na me"]` where it is no plain word.
pub(super) fn segment(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-$".contains(&byte);
    if !name.is_empty() && name.len() <= MAX_VALUE && name.bytes().all(plain) {
        format!(".{name}")
    } else {
        format!("[\"{}\"]", shown(name, MAX_VALUE))
    }
}

/// Two schemas, by where their members are, and which of their values are compared; no types
/// where the schemas are as they are written.
type Pair = (*const Map<String, Value>, *const Map<String, Value>, Types);

/// The walk through both schemas.
struct Walk<'a> {
    direction: Direction,
    roots: (&'a Value, &'a Value),
    path: Vec<String>,
    depth: usize,
    /// The pairs that are being compared.
    open: Vec<Pair>,
    /// The same, and those before: a pair that `$ref` leads to again is not compared again, which
    /// also ends cycles.
    seen: HashSet<Pair>,
    /// How many keywords deep nothing but sameness counts.
    held: usize,
    /// Whether a pair was taken for the same there while it was still being compared.
    assumed: bool,
    facts: Vec<Fact>,
    steps: usize,
}

impl<'a> Walk<'a> {
    /// Two schemas at the same place.
    fn compare(&mut self, old: &'a Value, new: &'a Value) {
        // Only what stands for an absent schema is one value on both sides.
        if ptr::eq(old, new) {
            return;
        }
        let map = |value: &'a Value| value.as_object().unwrap_or(&node::EMPTY);
        if !self.spend(cost(map(old)) + cost(map(new))) {
            return;
        }
        if self.depth == MAX_DEPTH {
            return self.doubt("", "is nested too deep to be compared");
        }
        let (was, is) = (settle(self.roots.0, old), settle(self.roots.1, new));
        let moved = !ptr::eq(was, old) || !ptr::eq(is, new);
        let first = self.enter(map(was), map(is), Types::NONE);
        if first || !moved {
            self.notes([map(old), map(was)], [map(new), map(is)]);
            self.depth += 1;
            match (Node::read(was), Node::read(is)) {
                (Some(old), Some(new)) => self.meet(&old, &new),
                _ if was == is => {}
                _ => self.doubt("", "differs and is no schema that can be read"),
            }
            self.depth -= 1;
        }
        self.open.pop();
    }

    /// Notes that a pair is being compared, until `open` is popped; whether it is the first time.
    fn enter(
        &mut self,
        old: &'a Map<String, Value>,
        new: &'a Map<String, Value>,
        types: Types,
    ) -> bool {
        let pair = (ptr::from_ref(old), ptr::from_ref(new), types);
        // `true` and `false` have no members of their own, and nothing inside them.
        let first = old.is_empty() || new.is_empty() || self.seen.insert(pair);
        self.assumed |= !first && self.held > 0 && self.open.contains(&pair);
        self.open.push(pair);
        first
    }

    /// By alternatives where either side has some, else as one.
    fn meet(&mut self, old: &Node<'a>, new: &Node<'a>) {
        let unions = [old, new].map(|node| node.map.contains_key("anyOf"));
        if unions.contains(&true) {
            // Many may refer to the same large one.
            let roots = self.roots;
            let cost = old.alternatives_cost(roots.0) + new.alternatives_cost(roots.1);
            if !self.spend(cost) {
                return;
            }
            let sides = (old.alternatives(self.roots.0), new.alternatives(self.roots.1));
            if let (Some(old), Some(new)) = sides {
                return self.unions(&old, &new, unions == [true, true]);
            }
        }
        self.pair(old, new);
    }

    /// Two unions, type by type: where each side has one schema for a type, these are compared,
    /// with their notes if these were not seen before.
    fn unions(&mut self, old: &[Node<'a>], new: &[Node<'a>], notes: bool) {
        self.spend(old.iter().chain(new).map(|node| node.cost).sum());
        for kind in Types::KINDS {
            let of_kind = |nodes: &[Node<'a>]| -> Vec<Node<'a>> {
                nodes.iter().filter_map(|node| node.only(kind)).collect()
            };
            let (old, new) = (of_kind(old), of_kind(new));
            match (old.as_slice(), new.as_slice()) {
                ([], []) => {}
                ([], _) => self.say(Effect::More, "", format!("{} is allowed now", kind.words())),
                (_, []) => {
                    let text = format!("{} is no longer allowed", kind.words());
                    self.say(Effect::Fewer, "", text);
                }
                ([was], [is]) => {
                    let pair = (ptr::from_ref(was.map), ptr::from_ref(is.map), Types::NONE);
                    if notes && self.seen.insert(pair) {
                        self.notes([was.map; 2], [is.map; 2]);
                    }
                    self.pair(was, is);
                }
                (old, new) => self.variants(kind, old, new),
            }
        }
    }

    /// Several schemas of one type: variants that only one side has are told, a variant that
    /// changed is not found out.
    fn variants(&mut self, kind: Types, old: &[Node<'a>], new: &[Node<'a>]) {
        let mut fresh: Vec<&Node<'a>> = new.iter().collect();
        let mut lost = 0;
        for was in old {
            match fresh.iter().position(|is| self.same(|walk| walk.pair(was, is))) {
                Some(place) => drop(fresh.remove(place)),
                None => lost += 1,
            }
        }
        let count = |count: usize| match count {
            1 => format!("one of the alternatives for {}", kind.words()),
            more => format!("{more} of the alternatives for {}", kind.words()),
        };
        match (lost, fresh.len()) {
            (0, 0) => {}
            (0, more) => self.say(Effect::More, ".anyOf", format!("{}: added", count(more))),
            (gone, 0) => self.say(Effect::Fewer, ".anyOf", format!("{}: removed", count(gone))),
            (gone, _) => self.doubt(".anyOf", &format!("{}: changed", count(gone))),
        }
    }

    /// Two schemas that refer to nothing else as a whole.
    fn pair(&mut self, old: &Node<'a>, new: &Node<'a>) {
        if self.enter(old.map, new.map, old.kind.and(new.kind)) && self.spend(old.cost + new.cost) {
            self.keywords(old, new);
        }
        self.open.pop();
    }

    fn keywords(&mut self, old: &Node<'a>, new: &Node<'a>) {
        if old.values.is_some() && new.values.is_some() {
            // They tell more than their types.
            self.values(old, new);
        } else {
            self.types(old, new);
        }
        let both = old.types.and(new.types);
        if both.is_empty() {
            return;
        }
        if old.values.is_some() != new.values.is_some() {
            self.values(old, new);
        }
        self.bounds(old, new, both);
        self.texts(old, new, both);
        if both.has(Types::ARRAY) {
            self.elements(old, new);
        }
        if both.has(Types::OBJECT) {
            self.members(old, new);
        }
        self.opaque(old, new);
    }

    fn types(&mut self, old: &Node<'a>, new: &Node<'a>) {
        let (lost, gained) = (old.types.minus(new.types), new.types.minus(old.types));
        let effect = match (lost.is_empty(), gained.is_empty()) {
            (true, true) => return,
            (false, true) => Effect::Fewer,
            (true, false) => Effect::More,
            (false, false) => Effect::Other,
        };
        let text = format!("was {}, is {}", old.types.words(), new.types.words());
        self.say(effect, ".type", text);
    }

    /// Keywords that are for people and tools, the schema's own before those it refers to.
    fn notes(&mut self, old: [&'a Map<String, Value>; 2], new: [&'a Map<String, Value>; 2]) {
        let of = |maps: &[&'a Map<String, Value>; 2], key: &str| {
            maps.iter().find_map(|map| map.get(key))
        };
        let keys = [old, new].into_iter().flatten().flat_map(Map::keys);
        let mut keys: Vec<&String> = keys.filter(|key| is_note(key)).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let text = match (of(&old, key), of(&new, key)) {
                (was, is) if was == is => continue,
                (Some(Value::String(was)), Some(Value::String(is))) => {
                    // Finding the difference goes letter by letter.
                    if !self.spend((was.len() + is.len()) / 64) {
                        return;
                    }
                    let (was, is) = from_difference(was, is);
                    format!("was \"{was}\", is \"{is}\"")
                }
                (was, is) => was_is(was, is),
            };
            self.push(Class::Cosmetic, Mark::Changed, &segment(key), text);
        }
    }

    /// Whether a comparison finds nothing but words. What it finds is forgotten; pairs that are
    /// being compared tell their differences themselves.
    fn same(&mut self, compare: impl FnOnce(&mut Self)) -> bool {
        let facts = std::mem::take(&mut self.facts);
        let seen = std::mem::replace(&mut self.seen, self.open.iter().copied().collect());
        self.held += 1;
        compare(self);
        self.held -= 1;
        self.seen = seen;
        let found = std::mem::replace(&mut self.facts, facts);
        self.steps > 0 && found.iter().all(|fact| fact.class == Class::Cosmetic)
    }

    fn within(&mut self, segment: String, compare: impl FnOnce(&mut Self)) {
        self.path.push(segment);
        compare(self);
        self.path.pop();
    }

    /// Takes steps; false when there are none left.
    fn spend(&mut self, steps: usize) -> bool {
        self.steps = self.steps.saturating_sub(steps);
        self.steps > 0
    }

    fn say(&mut self, effect: Effect, at: &str, text: String) {
        self.push(effect.class(self.direction), Mark::Changed, at, text);
    }

    fn doubt(&mut self, at: &str, text: &str) {
        let text = format!("{text}; whether that breaks anybody could not be told");
        self.push(Class::Unknown, Mark::Changed, at, text);
    }

    fn push(&mut self, class: Class, mark: Mark, at: &str, text: String) {
        let mut path = String::new();
        for part in self.path.iter().map(String::as_str).chain([at]) {
            if path.len() > MAX_PATH {
                path.push('…');
                break;
            }
            path.push_str(part);
        }
        self.facts.push(Fact { class, mark, path, text });
    }
}

/// A keyword's value on both sides.
fn was_is(was: Option<&Value>, is: Option<&Value>) -> String {
    match (was, is) {
        (Some(was), Some(is)) => {
            format!("was {}, is {}", json(was, MAX_VALUE), json(is, MAX_VALUE))
        }
        (Some(was), None) => format!("was {}, is gone", json(was, MAX_VALUE)),
        (None, Some(is)) => format!("is new: {}", json(is, MAX_VALUE)),
        (None, None) => "is the same".to_owned(),
    }
}

#[cfg(test)]
mod tests;
