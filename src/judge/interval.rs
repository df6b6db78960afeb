//! The Jeffreys interval of a rate: what one may believe of it after so many calls.
//!
//! The quantiles of Beta(e + 1/2, n - e + 1/2). The incomplete beta function by its continued
//! fraction (DLMF 8.17.22, evaluated by Lentz's method), the logarithm of the gamma function by
//! Stirling's series (DLMF 5.11.1). Does not know: what is counted.

/// The bounds of the middle 95 %: of `events` among `calls`, each 0 to 1.
pub fn jeffreys(events: u64, calls: u64) -> (f64, f64) {
    let (a, b) = (events as f64 + 0.5, (calls - events) as f64 + 0.5);
    (quantile(a, b, 0.025), quantile(a, b, 0.975))
}

/// The x at which Beta(a, b) has this share below it.
fn quantile(a: f64, b: f64, share: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    let mut x: f64 = a / (a + b);
    for _ in 0..200 {
        let (below, density) = beta(a, b, x);
        if below < share {
            low = x;
        } else {
            high = x;
        }
        // Newton, as long as it stays inside what is known.
        let next = x - (below - share) / density;
        if (next - x).abs() <= 1e-13 * x || high - low <= 1e-13 * high {
            break;
        }
        x = if next > low && next < high { next } else { f64::midpoint(low, high) };
    }
    x
}

/// The share of Beta(a, b) below x, and its density there; 0 < x < 1.
fn beta(a: f64, b: f64, x: f64) -> (f64, f64) {
    let log = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p();
    let front = log.exp();
    // The fraction converges fast on one side of the mean, and the other side mirrors it.
    let below = if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(a, b, x) / a
    } else {
        1.0 - front * fraction(b, a, 1.0 - x) / b
    };
    (below, front / (x * (1.0 - x)))
}

/// 1 / (1 + d1 / (1 + d2 / (1 + ...))), DLMF 8.17.23.
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    let away_from_zero = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let (mut above, mut below) = (1.0, 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0)));
    let mut value = below;
    for turn in 1..100_000 {
        let m = f64::from(turn);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = value;
        for term in [even, odd] {
            below = 1.0 / away_from_zero(1.0 + term * below);
            above = away_from_zero(1.0 + term / above);
            value *= above * below;
        }
        if (value / before - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

/// ln of the gamma function, for positive numbers.
fn ln_gamma(x: f64) -> f64 {
    // The series is good from ten on: gamma(x) = gamma(x + 1) / x until there.
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift += x.ln();
        x += 1.0;
    }
    let (inverse, square) = (1.0 / x, 1.0 / (x * x));
    let series = inverse
        * (1.0 / 12.0
            - square
                * (1.0 / 360.0
                    - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square / 1188.0))));
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_published() {
        // Brown, Cai and DasGupta, Interval Estimation for a Binomial Proportion (2001), table 5,
        // n = 10; at the ends they round outwards to 0 and 1.
        for (events, low, high) in [
            (0, 0.0, 0.217),
            (1, 0.011, 0.381),
            (2, 0.044, 0.503),
            (3, 0.093, 0.606),
            (5, 0.224, 0.776),
        ] {
            let told = jeffreys(events, 10);
            assert!((told.0 - low).abs() < 6e-4 && (told.1 - high).abs() < 6e-4, "{told:?}");
        }
    }

    #[test]
    fn the_gamma_function_is_that_of_factorials() {
        let mut factorial = 1.0_f64;
        for number in 1..=20 {
            let told = ln_gamma(f64::from(number));
            assert!((told - factorial.ln()).abs() < 2e-13, "{number}: {told}");
            factorial *= f64::from(number);
        }
        let half = std::f64::consts::PI.sqrt().ln();
        assert!((ln_gamma(0.5) - half).abs() < 2e-13);
    }

    #[test]
    fn holds_the_middle_and_mirrors() {
        for calls in [0, 1, 2, 7, 73, 1000, 123_456, 5_000_000] {
            for events in [0, 1, calls / 100, calls / 3, calls] {
                let events = events.min(calls);
                let (low, high) = jeffreys(events, calls);
                assert!(0.0 < low && low < high && high < 1.0, "{events}/{calls}: {low} {high}");
                let (a, b) = (events as f64 + 0.5, (calls - events) as f64 + 0.5);
                assert!((beta(a, b, low).0 - 0.025).abs() < 1e-5, "{events}/{calls}");
                assert!((beta(a, b, high).0 - 0.975).abs() < 1e-5, "{events}/{calls}");
                let mirrored = jeffreys(calls - events, calls);
                assert!((mirrored.0 - (1.0 - high)).abs() < 1e-5, "{events}/{calls}");
            }
        }
    }

    #[test]
    fn is_the_integral_of_its_density() {
        // By Simpson's rule, away from the ends where the density is not smooth.
        for (a, b, from, to) in
            [(2.5, 8.5, 0.05, 0.6), (10.5, 0.5, 0.2, 0.9), (1.5, 90.5, 0.01, 0.1)]
        {
            let steps = 2000;
            let width = (to - from) / f64::from(steps);
            let sum: f64 = (0..=steps)
                .map(|step| {
                    let weight = match step {
                        0 => 1.0,
                        it if it == steps => 1.0,
                        it if it % 2 == 1 => 4.0,
                        _ => 2.0,
                    };
                    weight * beta(a, b, from + width * f64::from(step)).1
                })
                .sum();
            let integral = sum * width / 3.0;
            let told = beta(a, b, to).0 - beta(a, b, from).0;
            assert!((integral - told).abs() < 1e-9, "{a} {b}: {integral} {told}");
        }
    }
}
