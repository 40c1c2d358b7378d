//! `--assert 'srd_p99<20ms'`: what must hold at the end, read and checked before anything is sent.

use hdrhistogram::Histogram;
use strsim::jaro_winkler;

use crate::core::latency::Latency;
use crate::core::stats::{Counters, Latencies, Stats};
use crate::units;

/// One condition.
#[derive(Clone, Debug)]
pub struct Assertion {
    /// As it was written.
    pub text: String,
    metric: Metric,
    compare: Compare,
    bound: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Metric {
    Counter(usize),
    Latency(usize, Statistic),
    Timer(String, Statistic),
    Counted(String),
    Ratio(&'static str),
    Score(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Statistic {
    Count,
    Min,
    Mean,
    Max,
    Quantile(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    Unequal,
}

const SCORES: [&str; 3] = ["mos_min", "mos_p5", "mos_mean"];
const RATIOS: [&str; 6] = ["ser", "seer", "scr", "asr", "ner", "rtp_loss"];
const COMPARE: [(&str, Compare); 6] = [
    ("<=", Compare::LessOrEqual),
    (">=", Compare::GreaterOrEqual),
    ("==", Compare::Equal),
    ("!=", Compare::Unequal),
    ("<", Compare::Less),
    (">", Compare::Greater),
];

impl Assertion {
    /// Reads a condition.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (at, sign, compare) = COMPARE
            .iter()
            .filter_map(|&(sign, compare)| Some((text.find(sign)?, sign, compare)))
            .min_by_key(|&(at, sign, _)| (at, usize::MAX - sign.len()))
            .ok_or_else(|| format!("'{text}' compares nothing: write it like srd_p99<20ms"))?;
        let (name, value) = (text[..at].trim(), text[at + sign.len()..].trim());
        let metric = Metric::parse(name)?;
        let bound = match metric {
            Metric::Latency(_, statistic) | Metric::Timer(_, statistic) if statistic != Statistic::Count => {
                units::duration(value)?.as_nanos() as f64
            }
            Metric::Ratio(_) => units::percent(value)?,
            _ => match units::split(value)? {
                (number, "") => number,
                _ => return Err(format!("'{name}' has no unit: '{value}' must be a plain number")),
            },
        };
        Ok(Self { text: text.to_string(), metric, compare, bound })
    }

    /// The timer of a scenario that it is about.
    pub fn timer(&self) -> Option<&str> {
        match &self.metric {
            Metric::Timer(name, _) => Some(name),
            _ => None,
        }
    }

    /// The counter of a scenario that it is about.
    pub fn counter(&self) -> Option<&str> {
        match &self.metric {
            Metric::Counted(name) => Some(name),
            _ => None,
        }
    }

    /// What was measured, and whether it holds. Nothing measured (no call at all) never holds.
    pub fn check(&self, stats: &Stats) -> (Option<f64>, bool) {
        let value = self.metric.value(stats);
        let holds = value.is_some_and(|value| match self.compare {
            Compare::Less => value < self.bound,
            Compare::LessOrEqual => value <= self.bound,
            Compare::Greater => value > self.bound,
            Compare::GreaterOrEqual => value >= self.bound,
            Compare::Equal => (value - self.bound).abs() < 1e-9,
            Compare::Unequal => (value - self.bound).abs() >= 1e-9,
        });
        (value, holds)
    }

    /// A value of this metric for people.
    pub fn show(&self, value: f64) -> String {
        match self.metric {
            Metric::Latency(_, statistic) | Metric::Timer(_, statistic) if statistic != Statistic::Count => {
                units::human(value)
            }
            Metric::Ratio(_) => format!("{value:.3}%"),
            Metric::Score(_) => format!("{value:.2}"),
            _ => format!("{value}"),
        }
    }
}

impl Metric {
    fn parse(name: &str) -> Result<Self, String> {
        if let Some(&ratio) = RATIOS.iter().find(|&&ratio| ratio == name) {
            return Ok(Self::Ratio(ratio));
        }
        if let Some(&score) = SCORES.iter().find(|&&score| score == name) {
            return Ok(Self::Score(score));
        }
        if let Some(index) = Counters::NAMES.iter().position(|&counter| counter == name) {
            return Ok(Self::Counter(index));
        }
        if let Some((latency, statistic)) = name.rsplit_once('_').map(|(head, tail)| whole_quantile(name, head, tail))
            && let Some(index) = Latencies::NAMES.iter().position(|&known| known == latency)
            && let Some(statistic) = Statistic::parse(statistic)
        {
            return Ok(Self::Latency(index, statistic));
        }
        if let Some(timer) = name.strip_prefix("rtd_")
            && let Some((timer, statistic)) =
                timer.rsplit_once('_').map(|(head, tail)| whole_quantile(timer, head, tail))
            && let Some(statistic) = Statistic::parse(statistic)
        {
            return Ok(Self::Timer(timer.to_string(), statistic));
        }
        if let Some(counter) = name.strip_prefix("counter_") {
            return Ok(Self::Counted(counter.to_string()));
        }
        let latencies = Latencies::NAMES.iter().map(|latency| format!("{latency}_p99"));
        let names = RATIOS.iter().chain(&SCORES).chain(Counters::NAMES).map(|&name| name.to_string()).chain(latencies);
        let nearest = names.max_by(|a, b| jaro_winkler(a, name).total_cmp(&jaro_winkler(b, name)));
        Err(format!("nothing is called '{name}'; did you mean {}?", nearest.unwrap_or_default()))
    }

    fn value(&self, stats: &Stats) -> Option<f64> {
        match self {
            Self::Counter(index) => stats.counters.values().get(*index).map(|&value| value as f64),
            Self::Latency(index, statistic) => {
                let each = stats.latencies.each();
                statistic.of(each.get(*index)?.1)
            }
            Self::Timer(name, statistic) => {
                let wanted = |timer: &&(String, Latency)| timer.0.strip_prefix("rtd_") == Some(name);
                statistic.of(&stats.timers.iter().find(wanted)?.1)
            }
            Self::Counted(name) => {
                stats.counted.iter().find(|(known, _)| known == name).map(|&(_, count)| count as f64)
            }
            Self::Score(name) => stats.scores.summary().map(|mos| match *name {
                "mos_min" => mos.min,
                "mos_p5" => mos.p5,
                _ => mos.mean,
            }),
            Self::Ratio("rtp_loss") => Some(stats.rtp_loss()),
            Self::Ratio(name) => stats.ratios().map(|ratios| match *name {
                "ser" => ratios.ser,
                "seer" => ratios.seer,
                "scr" => ratios.scr,
                "asr" => ratios.asr,
                _ => ratios.ner,
            }),
        }
    }
}

/// `srd_p99_9` is `srd` and `p99_9`.
fn whole_quantile<'a>(name: &'a str, head: &'a str, tail: &'a str) -> (&'a str, &'a str) {
    match head.rfind("_p") {
        Some(at) if tail.bytes().all(|byte| byte.is_ascii_digit()) => (&name[..at], &name[at + 1..]),
        _ => (head, tail),
    }
}

impl Statistic {
    /// Nothing where nothing was measured.
    fn of(self, histogram: &Histogram<u64>) -> Option<f64> {
        match self {
            Self::Count => Some(histogram.len() as f64),
            _ if histogram.is_empty() => None,
            Self::Min => Some(histogram.min() as f64),
            Self::Mean => Some(histogram.mean()),
            Self::Max => Some(histogram.max() as f64),
            Self::Quantile(quantile) => Some(histogram.value_at_quantile(quantile) as f64),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "count" => Self::Count,
            "min" => Self::Min,
            "mean" => Self::Mean,
            "max" => Self::Max,
            quantile => {
                let percent: f64 = quantile.strip_prefix('p')?.replace('_', ".").parse().ok()?;
                (0.0..=100.0).contains(&percent).then_some(Self::Quantile(percent / 100.0))?
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::stats::record;
    use std::time::Duration;

    fn holds(text: &str) -> bool {
        let mut stats = Stats::default();
        (1..=1000).for_each(|millis| record(&mut stats.latencies.srd, Duration::from_millis(millis)));
        stats.counters.calls_attempted = 4;
        stats.counters.calls_established = 3;
        stats.scores.record(4.2);
        stats.scores.record(4.4);
        Assertion::parse(text).unwrap().check(&stats).1
    }

    #[test]
    fn conditions_are_read_and_held() {
        for text in [
            "srd_p99<991ms",
            "srd_p99.9>=0.99s",
            "srd_p99_9<=1.001s",
            "srd_max<1.01s",
            "srd_count==1000",
            "srd_mean>500ms",
            "calls_failed==0",
            "calls_failed != 1",
            "ser==75%",
            "rtp_loss<0.1%",
            "mos_min>4.1",
            "mos_mean<=4.4",
        ] {
            assert!(holds(text), "{text}");
        }
        assert!(!holds("srd_p99 < 980ms"));
        assert!(!holds("sdd_p50<1s"), "nothing measured does not hold");
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        let error = |text| Assertion::parse(text).unwrap_err();
        assert!(error("srd_p99<20").contains("20ms") && error("ser>99").contains("99%"));
        assert!(error("srd_p99").contains("compares nothing"));
        assert!(error("call_failed==0").contains("did you mean calls_failed?"));
        assert!(error("srt_p99<1s").contains("did you mean srd_p99?"));
        assert!(error("calls_failed<1ms").contains("plain number"));
        assert!(error("srd_p101<1s").contains("nothing is called"));
    }
}
