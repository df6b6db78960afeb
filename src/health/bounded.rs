//! JSON of servers, read within a bound of memory.
//!
//! A text says little about the memory that it takes once it is read: `{"":0}` takes a hundred
//! times its length, so a body that is short enough could still end the router. Does not know:
//! what the values are good for.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Bytes that one message may take. A list of 500 tools with 5 KiB of schema each takes about as
/// much, which is several times what a model can be given.
pub(super) const MEMORY_MAX: usize = 32 << 20;

/// Bytes of a node of the tree that an object is: room for eleven members, half of it in use.
const NODE: usize = 11 * (size_of::<String>() + size_of::<Value>()) + 16;

/// Members in a node at least, but for the last.
const MEMBERS: usize = 6;

/// Bytes of an object's tree with so many members, about.
pub(super) const fn tree(members: usize) -> usize {
    members.div_ceil(MEMBERS) * NODE
}

/// Reads a text that is one value.
///
/// # Errors
/// When it is no JSON, or the value takes more than [`MEMORY_MAX`].
pub(super) fn read(text: &[u8]) -> Result<Value, serde_json::Error> {
    let room = Cell::new(MEMORY_MAX);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Bounded(&room).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Reads a value into what room is left.
#[derive(Clone, Copy)]
struct Bounded<'a>(&'a Cell<usize>);

impl Bounded<'_> {
    fn take<E: Error>(self, bytes: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(bytes);
        let too_much = || E::custom(format!("it takes more than {} MiB", MEMORY_MAX >> 20));
        self.0.set(left.ok_or_else(too_much)?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        // Lists grow by doubling, so there is room for two.
        self.take(2 * size_of::<Value>())?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.take(value.len())?;
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = from.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            if members.len().is_multiple_of(MEMBERS) {
                self.take(NODE)?;
            }
            self.take(key.len())?;
            members.insert(key, from.next_value_seed(self)?);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_grows_in_memory_is_refused() {
        for unit in ["0", "[]", "{\"\":0}", "{\"a\":{\"a\":0}}"] {
            let text = |times| format!("[{}0]", format!("{unit},").repeat(times));
            assert!(read(text(10_000).as_bytes()).is_ok(), "{unit}");
            let refused = read(text(600_000).as_bytes()).unwrap_err().to_string();
            assert!(refused.starts_with("it takes more than 32 MiB at line 1"), "{refused}");
        }
        let text = serde_json::json!("x".repeat(4 << 20)).to_string();
        assert!(read(text.as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn all_else_is_as_ever(
            text in "[\\[\\]{}\",:0-9a.e\\-\\\\ntrufls ]{0,40}|\\[(-?[0-9]{1,25}(\\.[0-9]{1,5})?(e-?[0-9])?,){0,5}\"a\"\\]",
        ) {
            match (read(text.as_bytes()), serde_json::from_slice::<Value>(text.as_bytes())) {
                (Ok(found), Ok(expected)) => prop_assert_eq!(found, expected),
                (Err(found), Err(expected)) => {
                    prop_assert_eq!(found.to_string(), expected.to_string());
                }
                (found, expected) => prop_assert!(false, "{found:?} {expected:?}"),
            }
        }
    }
}
