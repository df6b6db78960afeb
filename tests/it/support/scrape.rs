//! What `/metrics` told at one moment.

use std::collections::BTreeMap;

/// The text of one scrape.
#[derive(Debug)]
pub struct Scrape(pub String);

impl Scrape {
    /// The sum of the samples of a metric whose line has all these texts.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.lines(name)
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// The same of a counter.
    pub fn count(&self, name: &str, labels: &[&str]) -> u64 {
        self.sum(name, labels).round() as u64
    }

    /// A counter's sums by the values of these labels.
    pub fn by<const N: usize>(&self, name: &str, labels: [&str; N]) -> BTreeMap<[String; N], u64> {
        let mut sums = BTreeMap::new();
        for line in self.lines(name) {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let of = |label: &str| {
                let (_, rest) = sample.split_once(&format!("{label}=\""))?;
                Some(rest.split_once('"')?.0.to_owned())
            };
            let own = labels.map(|label| of(label).unwrap_or_else(|| panic!("{label}: {line}")));
            *sums.entry(own).or_default() += value.parse::<f64>().unwrap().round() as u64;
        }
        sums
    }

    fn lines<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let starts = [format!("{name}{{"), format!("{name} ")];
        self.0.lines().filter(move |line| starts.iter().any(|start| line.starts_with(start)))
    }
}
