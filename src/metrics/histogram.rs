//! A histogram that takes whole sketches, so that what the judge reads and what Prometheus shows
//! is one measurement.
//!
//! The library's own histogram takes one value at a time. Does not know: what is measured.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::observe::latency::Sketch;

/// Upper ends of the buckets in seconds: what people ask about a tool, from a cached answer to the
/// longest that any client waits.
pub(super) const BOUNDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// One series.
#[derive(Clone, Debug, Default)]
struct Series {
    counts: [u64; BOUNDS.len()],
    count: u64,
    seconds: f64,
}

/// A histogram with labels; clones are one.
#[derive(Clone)]
pub(super) struct Durations {
    desc: Desc,
    labels: &'static [&'static str],
    series: Arc<Mutex<BTreeMap<Vec<String>, Series>>>,
}

impl fmt::Debug for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durations").field("name", &self.desc.fq_name).finish_non_exhaustive()
    }
}

impl Durations {
    /// A histogram of seconds.
    ///
    /// # Errors
    /// When the name or a label is none that Prometheus takes.
    pub(super) fn new(
        name: &str,
        labels: &'static [&'static str],
        help: &str,
    ) -> prometheus::Result<Durations> {
        let names = labels.iter().map(ToString::to_string).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), names, HashMap::new())?;
        Ok(Durations { desc, labels, series: Arc::default() })
    }

    /// Adds all of a sketch. A value counts to the bucket in which its sketch has it, which may be
    /// the neighbour's when it is within two percent of the end.
    pub(super) fn add(&self, values: &[&str], sketch: &Sketch) {
        if sketch.count() == 0 {
            return;
        }
        let values: Vec<_> = values.iter().map(ToString::to_string).collect();
        let mut all = self.series.lock().expect("nothing panics while it holds this lock");
        let series = all.entry(values).or_default();
        for (seconds, count) in sketch.filled() {
            if let Some(at) = BOUNDS.iter().position(|bound| seconds <= *bound) {
                series.counts[at] += u64::from(count);
            }
        }
        series.count += sketch.count();
        series.seconds += sketch.seconds();
    }
}

impl Series {
    fn metric(&self, labels: &[&str], values: &[String]) -> Metric {
        let pair = |(name, value): (&&str, &String)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value.clone());
            pair
        };
        let mut below = 0;
        let bucket = |(bound, count): (&f64, &u64)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(below);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_bucket(BOUNDS.iter().zip(&self.counts).map(bucket).collect());
        histogram.set_sample_count(self.count);
        histogram.set_sample_sum(self.seconds);
        let mut metric = Metric::from_label(labels.iter().zip(values).map(pair).collect());
        metric.set_histogram(histogram);
        metric
    }
}

impl Collector for Durations {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let all = self.series.lock().expect("nothing panics while it holds this lock");
        let metrics: Vec<_> =
            all.iter().map(|(values, series)| series.metric(self.labels, values)).collect();
        if metrics.is_empty() {
            return Vec::new();
        }
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(metrics);
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let durations = Durations::new("x_seconds", &["arm"], "Help.").unwrap();
        let mut sketch = Sketch::default();
        for millis in [2, 3, 40, 9000, 999_000] {
            sketch.add(Duration::from_millis(millis));
        }
        durations.add(&["primary"], &sketch);
        durations.add(&["primary"], &sketch);
        durations.add(&["secondary"], &Sketch::default());
        let registry = prometheus::Registry::new();
        registry.register(Box::new(durations)).unwrap();
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for line in [
            r#"x_seconds_bucket{arm="primary",le="0.0025"} 2"#,
            r#"x_seconds_bucket{arm="primary",le="0.05"} 6"#,
            r#"x_seconds_bucket{arm="primary",le="300"} 8"#,
            r#"x_seconds_bucket{arm="primary",le="+Inf"} 10"#,
            r#"x_seconds_count{arm="primary"} 10"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("secondary"));
    }
}
