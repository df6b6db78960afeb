//! Minutes put together to as many points as a plot can show.
//!
//! Does not know: plots.

use std::collections::BTreeMap;

use crate::names::{Arm, PerArm};
use crate::records::history::{ArmMinute, Minute};

use super::{ArmPoint, Point};

/// Points of a series.
const POINTS_MAX: u64 = 1500;

/// Some minutes, put together as they come.
#[derive(Debug)]
pub(super) struct Thin {
    from: u64,
    /// Milliseconds of a point.
    width: u64,
    sums: BTreeMap<u64, (u64, PerArm<Sum>)>,
    /// Milliseconds of all minutes.
    span: u64,
}

/// Several minutes of an arm.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    span: u64,
    exchanges: u64,
    errors: u64,
    calls: f64,
    /// Each times the calls that it was measured on.
    p50: f64,
    p95: f64,
}

impl Sum {
    fn add(&mut self, span: u64, minute: &ArmMinute) {
        self.span += span;
        self.exchanges += minute.exchanges;
        self.errors += minute.errors;
        if let (Some(p50), Some(p95)) = (minute.p50, minute.p95) {
            let calls = minute.calls.max(1) as f64;
            self.calls += calls;
            self.p50 += p50 * calls;
            self.p95 += p95 * calls;
        }
    }

    fn point(&self) -> ArmPoint {
        let per = |sum: f64, of: f64| (of > 0.0).then(|| round(sum / of));
        ArmPoint {
            rate: per(self.exchanges as f64 * 1e3, self.span as f64).unwrap_or_default(),
            exchanges: self.exchanges,
            errors: per(self.errors as f64, self.exchanges as f64),
            p50: per(self.p50, self.calls),
            p95: per(self.p95, self.calls),
        }
    }
}

/// To six digits behind the point: nobody reads more, and the answer is half as long.
fn round(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

impl Thin {
    /// For the time between two moments, in milliseconds since 1970.
    pub(super) fn new(from: u64, to: u64) -> Thin {
        let width = to.saturating_sub(from).div_ceil(POINTS_MAX).max(1);
        Thin { from, width, sums: BTreeMap::new(), span: 0 }
    }

    pub(super) fn add(&mut self, minute: &Minute) {
        let number = (minute.at.saturating_sub(self.from) / self.width).min(POINTS_MAX - 1);
        let (at, sums) = self.sums.entry(number).or_default();
        *at = minute.at.max(*at);
        for arm in Arm::ALL {
            sums.get_mut(arm).add(minute.span, minute.arms.get(arm));
        }
        self.span = self.span.saturating_add(minute.span);
    }

    /// How much of so many milliseconds there is, from 0 to 1.
    pub(super) fn covers(&self, span: u64) -> f64 {
        if span == 0 { 1.0 } else { (self.span as f64 / span as f64).min(1.0) }
    }

    pub(super) fn points(&self) -> Vec<Point> {
        let point = |(at, sums): &(u64, PerArm<Sum>)| Point {
            at: *at,
            arms: PerArm::from_fn(|arm| sums.get(arm).point()),
        };
        self.sums.values().map(point).collect()
    }
}
