//! What is left of the split while endpoints are down or coming back.
//!
//! Pure. The configured weights stay what they are; what an arm cannot take goes to the other one
//! as long as that is fitter. Has never heard of how a fitness is found: it does not know probes.

use crate::names::{Arm, PerArm, Split};

/// The share of new work that each arm really gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effective {
    /// The secondary's, from 0 to 1; the primary has the rest.
    pub secondary: f64,
    /// Nothing is healthy: the stable arm is tried anyway.
    pub nothing_healthy: bool,
}

impl Effective {
    /// The effective share. `fitness` is the best of an arm's endpoints: from 0 (none may get new
    /// work) to 1.
    pub fn new(split: Split, fitness: &PerArm<f64>, stable: Arm) -> Effective {
        let best = fitness.primary.max(fitness.secondary);
        if best <= 0.0 {
            let secondary = if stable == Arm::Secondary { 1.0 } else { 0.0 };
            return Effective { secondary, nothing_healthy: true };
        }
        // Only the less fit arm loses: two that come back together share as they should. An arm of
        // weight 0 stands in where there is nobody else, and does not help out.
        let kept = |arm: Arm| {
            let alone = split.weight(arm.other()) == 0 && *fitness.get(arm) > 0.0;
            let share = if alone { 1.0 } else { fitness.get(arm) / best };
            f64::from(split.weight(arm)) / 100.0 * share
        };
        let secondary = if fitness.primary < fitness.secondary {
            1.0 - kept(Arm::Primary)
        } else {
            kept(Arm::Secondary)
        };
        Effective { secondary, nothing_healthy: false }
    }

    /// The share of an arm, from 0 to 1.
    pub fn share(self, arm: Arm) -> f64 {
        match arm {
            Arm::Primary => 1.0 - self.secondary,
            Arm::Secondary => self.secondary,
        }
    }

    /// The arm for a point in `[0, 1)`. Growing an arm's share only adds points to it, so a key
    /// with a fixed point never leaves an arm whose share grew.
    pub fn arm_at(self, point: f64) -> Arm {
        if point < self.secondary { Arm::Secondary } else { Arm::Primary }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn effective(weight: u8, primary: f64, secondary: f64) -> Effective {
        let split = Split::new(100 - weight, weight).unwrap();
        Effective::new(split, &PerArm { primary, secondary }, Arm::Primary)
    }

    #[test]
    fn what_an_arm_cannot_take_goes_to_the_other() {
        for (weight, primary, secondary, share) in [
            // All is well: what was asked for.
            (0, 1.0, 1.0, 0.0),
            (30, 1.0, 1.0, 0.3),
            (100, 1.0, 1.0, 1.0),
            // One is down: the other gets all, whatever its weight.
            (30, 0.0, 1.0, 1.0),
            (0, 0.0, 1.0, 1.0),
            (30, 1.0, 0.0, 0.0),
            (100, 1.0, 0.0, 0.0),
            // One comes back.
            (50, 1.0, 0.1, 0.05),
            // The other has weight 0 and does not help out.
            (100, 1.0, 0.5, 1.0),
            (0, 0.1, 1.0, 0.0),
            (20, 0.5, 1.0, 0.6),
            // Both come back: together as they should be, else the fitter one helps.
            (10, 0.1, 0.1, 0.1),
            (50, 0.4, 0.2, 0.25),
        ] {
            let found = effective(weight, primary, secondary);
            assert!(!found.nothing_healthy);
            let at = format!("{weight} {primary} {secondary}: {found:?}");
            assert!((found.share(Arm::Secondary) - share).abs() < 1e-9, "{at}");
            assert!((found.share(Arm::Primary) - (1.0 - share)).abs() < 1e-9, "{at}");
        }
    }

    #[test]
    fn when_nothing_is_healthy_the_stable_arm_gets_everything() {
        for (stable, share) in [(Arm::Primary, 0.0), (Arm::Secondary, 1.0)] {
            let split = Split::new(50, 50).unwrap();
            let found = Effective::new(split, &PerArm::default(), stable);
            assert_eq!((found.secondary, found.nothing_healthy), (share, true));
        }
    }

    #[test]
    fn raising_a_weight_only_adds_points() {
        for step in 0..1000 {
            let point = f64::from(step) / 1000.0;
            let mut was = Arm::Primary;
            for weight in 0..=100 {
                let now = effective(weight, 1.0, 1.0).arm_at(point);
                assert!(was == Arm::Primary || now == Arm::Secondary, "{point} left at {weight}");
                was = now;
            }
            assert_eq!(was, Arm::Secondary);
        }
    }

    proptest! {
        #[test]
        fn a_fitter_arm_never_loses_a_caller(
            weight in 0_u8..=100,
            fitness in prop::array::uniform2(0.0..=1.0_f64),
            more in 0.0..=1.0_f64,
            point in 0.0..1.0_f64,
            arm in prop::sample::select(&Arm::ALL[..]),
        ) {
            let before = PerArm { primary: fitness[0], secondary: fitness[1] };
            let mut after = before.clone();
            *after.get_mut(arm) = before.get(arm).max(more);
            let split = Split::new(100 - weight, weight).unwrap();
            let [before, after] = [before, after].map(|it| Effective::new(split, &it, Arm::Primary));
            prop_assert!((0.0..=1.0).contains(&after.secondary));
            prop_assert!(after.share(arm) >= before.share(arm) - 1e-12);
            if before.arm_at(point) == arm && !before.nothing_healthy {
                // Within a rounding error of the border either is right.
                let at_border = (point - after.secondary).abs() < 1e-12;
                prop_assert!(after.arm_at(point) == arm || at_border);
            }
        }
    }
}
