//! What a core tells while it runs, once a second: counts since the beginning, latencies since the last time, and where
//! its calls stand. Small, because packets wait while it is put together.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use strowger::base::Instant;

use super::rtp::{CLOCK_HZ, Sink};
use super::stats::Counters;

/// One core's news, or all cores' once merged.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// When it was put together; the latest of all cores.
    pub at: Instant,
    /// Event counts since the beginning.
    pub events: Counters,
    /// Latencies since the last news, by name; those without any are left out.
    pub recent: Recent,
    /// Calls and registrations open, by the state they are in.
    pub states: BTreeMap<&'static str, usize>,
    /// Calls up on the calling side.
    pub up_uac: usize,
    /// Calls up on the answering side.
    pub up_uas: usize,
    /// The media of calls that are up.
    pub media: MediaNow,
    /// Final answers that refused, by status.
    pub refusals: BTreeMap<u16, (u64, String)>,
    /// A few sentences about single failures.
    pub samples: Vec<String>,
}

impl News {
    /// Adds another core's.
    pub fn merge(&mut self, other: Self) {
        self.at = self.at.max(other.at);
        self.events.merge(&other.events);
        self.recent.merge(&other.recent);
        self.up_uac += other.up_uac;
        self.up_uas += other.up_uas;
        self.media.merge(&other.media);
        for (name, count) in other.states {
            *self.states.entry(name).or_default() += count;
        }
        for (status, (count, reason)) in other.refusals {
            self.refusals.entry(status).or_insert((0, reason)).0 += count;
        }
        let new = other.samples.into_iter().filter(|sample| !self.samples.contains(sample)).collect::<Vec<_>>();
        self.samples.extend(new);
    }
}

/// What the sinks of calls that are up know so far; calls that ended are in the counters.
#[derive(Clone, Copy, Debug, Default)]
pub struct MediaNow {
    /// Directions in which something has come.
    pub directions: u64,
    /// Packets that a later one has overtaken and that have not come.
    pub missing: u64,
    /// Sum of the directions' jitter (RFC 3550 §6.4.1), in units of the RTP clock.
    pub jitter_sum: f64,
}

impl MediaNow {
    /// A sink counts from now on, as it is.
    pub fn enter(&mut self, sink: &Sink) {
        self.directions += u64::from(sink.unique > 0);
        self.missing += sink.missing();
        self.jitter_sum += sink.jitter_units();
    }

    /// A sink counts no more: it changes, or its call is over.
    pub fn leave(&mut self, sink: &Sink) {
        self.directions -= u64::from(sink.unique > 0);
        self.missing -= sink.missing();
        self.jitter_sum -= sink.jitter_units();
    }

    /// Mean jitter of the directions.
    pub fn jitter(&self) -> Option<Duration> {
        let mean = self.jitter_sum.max(0.0) / self.directions as f64;
        (self.directions > 0).then(|| Duration::from_secs_f64(mean / CLOCK_HZ))
    }

    fn merge(&mut self, other: &Self) {
        self.directions += other.directions;
        self.missing += other.missing;
        self.jitter_sum += other.jitter_sum;
    }
}

/// Latencies of some time, by name.
#[derive(Clone, Debug, Default)]
pub struct Recent(pub BTreeMap<&'static str, Histogram<u32>>);

impl Recent {
    /// Adds those of another core, or of another second.
    pub fn merge(&mut self, other: &Self) {
        for (&name, histogram) in &other.0 {
            match self.0.get_mut(name) {
                // Histograms of the same bounds can always be added.
                Some(sum) => drop(sum.add(histogram)),
                None => drop(self.0.insert(name, histogram.clone())),
            }
        }
    }

    /// The value at a quantile in nanoseconds, if there is any.
    pub fn at(&self, name: &str, quantile: f64) -> Option<u64> {
        self.0.get(name).filter(|histogram| !histogram.is_empty()).map(|h| h.value_at_quantile(quantile))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::stats::{Latencies, record};

    fn news(millis: u64, state: &'static str) -> News {
        let mut latencies = Latencies::default();
        record(&mut latencies.srd, Duration::from_millis(millis));
        let mut news = News { recent: Recent(latencies.take_recent().into_iter().collect()), ..News::default() };
        news.states.insert(state, 2);
        news.refusals.insert(486, (1, "Busy".into()));
        news.samples.push("one".into());
        news.media = MediaNow { directions: 1, missing: 3, jitter_sum: 8.0 * millis as f64 };
        news
    }

    #[test]
    fn two_cores_make_one() {
        let mut sum = news(10, "up");
        sum.merge(news(30, "up"));
        sum.merge(news(20, "ringing"));
        assert_eq!((sum.states["up"], sum.states["ringing"], sum.refusals[&486].0), (4, 2, 3));
        assert_eq!((sum.samples.len(), sum.media.missing), (1, 9));
        assert_eq!(sum.media.jitter(), Some(Duration::from_millis(20)));
        assert_eq!(sum.recent.at("srd", 0.5).map(|nanos| nanos / 1_000_000), Some(20));
        assert_eq!((sum.recent.0["srd"].len(), sum.recent.at("sdd", 0.5)), (3, None));
    }
}
