//! Quantities as people write them: `250ms`, `4MiB`, `5%`, `0600`, `primary:90`.
//!
//! The grammar is small on purpose: whole numbers, one unit, no spaces, so that what a file says
//! has one reading. The command line reads its arguments here, too.
//! Does not know: files, keys, which ranges make sense where.

use std::time::Duration;

use crate::names::{Arm, BadName, PerArm, Split};

/// `250ms`, `5s`, `10m`, `1h`.
pub fn duration(text: &str) -> Result<Duration, BadName> {
    let (number, unit) = number_and_unit(text, "a duration such as `250ms`, `5s`, `10m` or `1h`")?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => return Err(BadName(format!("`{text}` has no unit: write `{text}s` or `{text}ms`"))),
        _ => return Err(bad_unit(text, unit, "`ms`, `s`, `m` or `h`")),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(|| too_large(text))
}

/// A duration, or `off` for none.
pub fn duration_or_off(text: &str) -> Result<Option<Duration>, BadName> {
    if text == "off" { Ok(None) } else { duration(text).map(Some) }
}

/// `4MiB`, `32KiB`, `10kB`, `512B` or plain bytes.
pub fn bytes(text: &str) -> Result<u64, BadName> {
    let (number, unit) = number_and_unit(text, "a size such as `4MiB`, `32KiB` or `10kB`")?;
    let factor = match unit {
        "" | "B" => 1,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(bad_unit(text, unit, "`B`, `KiB`, `MiB`, `GiB`, `kB`, `MB` or `GB`")),
    };
    number.checked_mul(factor).ok_or_else(|| too_large(text))
}

/// A size in the largest binary unit that says it exactly.
pub(super) fn bytes_text(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |(shift, _): &(u32, &str)| bytes > 0 && bytes.trailing_zeros() >= *shift;
    let found = units.into_iter().find(fits);
    found.map_or(format!("{bytes}B"), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// Whole percents from 0 to 100, with or without the sign: `5%`, `90`.
pub fn percent(text: &str) -> Result<u8, BadName> {
    let (number, unit) = number_and_unit(text, "a whole percentage such as `5%`")?;
    if !matches!(unit, "" | "%") {
        return Err(bad_unit(text, unit, "`%`"));
    }
    u8::try_from(number)
        .ok()
        .filter(|percent| *percent <= 100)
        .ok_or_else(|| BadName(format!("`{text}` is more than 100 %")))
}

/// The mode of a file in octal: `0600`, `660`.
pub fn mode(text: &str) -> Result<u32, BadName> {
    let octal = matches!(text.len(), 3..=4) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777);
    mode.ok_or_else(|| BadName(format!("`{text}` is no file mode in octal, such as `0600`")))
}

/// The arguments of `set-traffic-split`: `primary:90 secondary:10` in any order. An arm that is
/// left out gets the rest.
pub fn split(words: &[String]) -> Result<Split, BadName> {
    let mut weights: PerArm<Option<u8>> = PerArm::default();
    for word in words {
        let (arm, weight) = word
            .split_once(':')
            .ok_or_else(|| BadName(format!("`{word}` is no weight, such as `primary:90`")))?;
        let arm: Arm = arm.parse()?;
        if weights.get_mut(arm).replace(percent(weight)?).is_some() {
            return Err(BadName(format!("`{arm}` is there twice")));
        }
    }
    split_of(&weights).unwrap_or_else(|| {
        Err(BadName("no weights: say for instance `primary:90 secondary:10`".into()))
    })
}

/// The split of one or two weights; `None` if there is none.
pub(super) fn split_of(weights: &PerArm<Option<u8>>) -> Option<Result<Split, BadName>> {
    match (weights.primary, weights.secondary) {
        (None, None) => None,
        (Some(primary), Some(secondary)) => Some(Split::new(primary, secondary)),
        (Some(primary), None) => Some(Split::new(primary, 100u8.saturating_sub(primary))),
        (None, Some(secondary)) => Some(Split::new(100u8.saturating_sub(secondary), secondary)),
    }
}

fn number_and_unit<'t>(text: &'t str, what: &str) -> Result<(u64, &'t str), BadName> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() || unit.starts_with(['.', ',']) {
        return Err(BadName(format!("`{text}` is not {what}")));
    }
    Ok((number.parse().map_err(|_| too_large(text))?, unit))
}

fn bad_unit(text: &str, unit: &str, known: &str) -> BadName {
    BadName(format!("`{text}` has the unknown unit `{unit}`: write {known}"))
}

fn too_large(text: &str) -> BadName {
    BadName(format!("`{text}` is too large"))
}

#[cfg(test)]
mod tests;
