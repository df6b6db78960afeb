//! What the operator's rules can do at the traffic there is: whether they can fire at all, and how
//! likely they fire on a good version.
//!
//! The rules are kept as they are written; this says beforehand what they are worth, so that
//! nobody learns it from a revert at night. Calls are taken to come independently, as a Poisson
//! process: errors that come in clusters make false alarms more likely than told here. Does not
//! know: what traffic there is.

use crate::config::{ErrorRate, Performance};

use super::guards::{CALLS_MIN, SPANS, is_above};
use super::minutes::KEPT;

/// Minutes of the false alarms that are told: 24 hours.
const DAY: usize = 24 * 60;
/// Minutes within which a rule should find a version that fails every call.
const HOUR: usize = 60;
/// A false alarm a day that is worth a word.
const LIKELY: f64 = 0.05;
/// One that is not, by the advice that is given.
const UNLIKELY: f64 = 0.01;
/// Calls a minute below which a comparison of times without the noise guard is often chance:
/// `reliability.md` C2.
const STEADY: f64 = 1000.0;

/// A probability beside the likeliest one that is left out.
const NOTHING: f64 = 1e-40;

/// A Poisson distribution as far as it is not nothing.
struct Poisson {
    /// The number that `shares` begins with.
    first: u64,
    /// The probability of each number.
    shares: Vec<f64>,
    /// The probability of less than each number, and at the end of all.
    below: Vec<f64>,
}

impl Poisson {
    /// The one with this mean, 0 to 1e9.
    fn new(mean: f64) -> Poisson {
        // By ratios from the likeliest number, which needs no factorials; the sum is one at the end.
        let likeliest = mean.floor();
        let mut shares = falling(|step| ((likeliest - step + 1.0) / mean).max(0.0));
        let first = likeliest as u64 - shares.len() as u64;
        shares.reverse();
        shares.push(1.0);
        shares.extend(falling(|step| mean / (likeliest + step)));
        let sum: f64 = shares.iter().sum();
        for share in &mut shares {
            *share /= sum;
        }
        let mut below = vec![0.0];
        for share in &shares {
            below.push(below[below.len() - 1] + share);
        }
        Poisson { first, shares, below }
    }

    /// One more than the greatest number.
    fn end(&self) -> u64 {
        self.first + self.shares.len() as u64
    }

    /// The probability of less than this.
    fn below(&self, number: u64) -> f64 {
        let at = number.saturating_sub(self.first).min(self.shares.len() as u64);
        self.below[at as usize]
    }
}

/// What one becomes by the ratio of each step from 1 on, until it is next to nothing.
fn falling(ratio: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut shares = Vec::new();
    let mut share = ratio(1.0);
    while share > NOTHING {
        shares.push(share);
        share *= ratio(shares.len() as f64 + 1.0);
    }
    shares
}

/// The probability that one minute is bad by the rule on errors.
fn bad_minute(per_minute: f64, rate: f64, rule: &ErrorRate) -> f64 {
    let per_minute = per_minute.clamp(0.0, 1e9);
    let rate = rate.clamp(0.0, 1.0);
    // Faults and other calls are independent of each other.
    let (faults, others) =
        (Poisson::new(per_minute * rate), Poisson::new(per_minute * (1.0 - rate)));
    // Beside so many faults, fewer others than this are too few.
    let mut too_few = others.first;
    let mut sum = 0.0;
    for (count, share) in (faults.first..).zip(&faults.shares) {
        while too_few < others.end() && is_above(rule.above, count + too_few, count) {
            too_few += 1;
        }
        let least = rule.min_requests.saturating_sub(count);
        sum += share * (others.below(too_few) - others.below(least)).max(0.0);
    }
    sum
}

/// The probability, 0 to 1, that the rule on errors fires within so many minutes on a version
/// with this error rate (0 to 1) and so many calls a minute on average.
pub fn false_alarm(per_minute: f64, rate: f64, rule: &ErrorRate, span_minutes: usize) -> f64 {
    let bad = bad_minute(per_minute, rate, rule);
    // The probability of each number of bad minutes up to now, as long as it has not fired.
    let mut row = vec![0.0; rule.minutes.max(1)];
    row[0] = 1.0;
    let mut fired = 0.0;
    for _ in 0..span_minutes {
        let good = row.iter().sum::<f64>() * (1.0 - bad);
        for share in &mut row {
            *share *= bad;
        }
        row.rotate_right(1);
        fired += std::mem::replace(&mut row[0], good);
    }
    fired
}

/// What to say of the rule on errors at so many calls of the candidate a minute, where a good
/// version has this error rate (0 to 1); nothing where it can be relied on.
pub fn error_rate(per_minute: f64, rate: f64, rule: &ErrorRate) -> Option<String> {
    let calls = number(per_minute);
    let found = false_alarm(per_minute, 1.0, rule, HOUR);
    if found < 0.5 {
        let asked = match rule.min_requests {
            0 | 1 => "a call at all".to_owned(),
            least => format!("the {least} calls that min_requests asks for"),
        };
        return Some(if found < UNLIKELY {
            format!("at {calls} calls a minute no minute has {asked}: the rule cannot fire")
        } else {
            format!(
                "at {calls} calls a minute few minutes have {asked}: a version that fails every \
                 call is found within an hour with a probability of {}",
                chance(found)
            )
        });
    }
    let fires = false_alarm(per_minute, rate, rule, DAY);
    if fires < LIKELY {
        return None;
    }
    let advice = calmer(per_minute, rate, rule).unwrap_or_default();
    Some(format!(
        "at {calls} calls a minute and {:.1} % errors, this rule fires on a good version within \
         24 h with a probability of {}{advice}",
        rate * 100.0,
        chance(fires)
    ))
}

/// The smallest change of the rule after which it is unlikely to fire on a good version and still
/// finds one that fails every call.
fn calmer(per_minute: f64, rate: f64, rule: &ErrorRate) -> Option<String> {
    let requests = [10, 20, 50, 100, 200, 500, 1000]
        .into_iter()
        .filter(|least| *least > rule.min_requests)
        .map(|least| ErrorRate { min_requests: least, ..*rule });
    let minutes = (rule.minutes + 1..=KEPT).map(|minutes| ErrorRate { minutes, ..*rule });
    let mut changes = requests.chain(minutes);
    let change = changes.find(|it| {
        false_alarm(per_minute, rate, it, DAY) < UNLIKELY
            && false_alarm(per_minute, 1.0, it, HOUR) >= 0.5
    })?;
    let setting = if change.minutes == rule.minutes {
        format!("min_requests = {}", change.min_requests)
    } else {
        format!("minutes = {}", change.minutes)
    };
    let fires = chance(false_alarm(per_minute, rate, &change, DAY));
    Some(format!("; {setting} would make that {fires}"))
}

/// What to say of the rule on time at so many calls of the candidate a minute; nothing where it
/// can be relied on.
pub fn performance(per_minute: f64, rule: &Performance) -> Option<String> {
    let calls = number(per_minute);
    let longest = SPANS[SPANS.len() - 1];
    if !rule.noise_guard {
        return (per_minute < STEADY).then(|| {
            format!(
                "at {calls} calls a minute and without noise_guard, a minute can be slow by \
                 chance: this rule is likely to fire on a good version"
            )
        });
    }
    (per_minute * (longest as f64) < CALLS_MIN).then(|| {
        format!(
            "the candidate gets {calls} calls a minute, and {CALLS_MIN} within {longest} minutes \
             are needed: the rule has too little to go by"
        )
    })
}

/// A number of calls, with a decimal where it matters.
fn number(calls: f64) -> String {
    if calls >= 9.95 { format!("{calls:.0}") } else { format!("{calls:.1}") }
}

/// A probability in percent, as far as anybody can rely on it.
fn chance(share: f64) -> String {
    match share * 100.0 {
        under if under < 1.0 => "less than 1 %".to_owned(),
        over if over > 99.0 => "more than 99 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

#[cfg(test)]
mod tests;
