//! The course of a run, second after second: what the text lines, the screen, the plots and the JSON all read.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::news::{News, Recent};
use crate::core::stats::Counters;

/// Points kept. A longer run keeps them for more than a second each.
const POINTS_MAX: usize = 1200;

/// The latencies of one point, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// How many were measured.
    pub count: u64,
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Longest.
    pub max: u64,
}

impl Quantiles {
    /// Percentiles of two seconds cannot be added; the higher ones stand.
    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.p50 = self.p50.max(other.p50);
        self.p99 = self.p99.max(other.p99);
        self.max = self.max.max(other.max);
    }
}

/// One second, or a few in a long run.
#[derive(Clone, Debug)]
pub struct Point {
    /// Its beginning, from the first arrival on.
    pub from: Duration,
    /// Its end.
    pub to: Duration,
    /// Arrivals per second asked for, as of its end.
    pub rate: f64,
    /// Calls up at its end on the calling side.
    pub up_uac: usize,
    /// Calls up at its end on the answering side.
    pub up_uas: usize,
    /// What was counted in it.
    pub events: Counters,
    /// RTP packets that went missing in it, of calls that are still up too.
    pub rtp_lost: u64,
    /// Mean jitter of the directions that are up, at its end.
    pub jitter: Option<Duration>,
    /// What was measured in it, by name.
    pub latencies: BTreeMap<&'static str, Quantiles>,
}

impl Point {
    /// How long it is, in seconds.
    pub fn seconds(&self) -> f64 {
        (self.to - self.from).as_secs_f64().max(1e-3)
    }

    fn merge(&mut self, next: Self) {
        self.events.merge(&next.events);
        self.rtp_lost += next.rtp_lost;
        for (name, quantiles) in next.latencies {
            self.latencies.entry(name).and_modify(|sum| sum.merge(&quantiles)).or_insert(quantiles);
        }
        let Self { to, rate, up_uac, up_uas, jitter, .. } = next;
        *self = Self { to, rate, up_uac, up_uas, jitter, ..std::mem::replace(self, Self::empty()) };
    }

    fn empty() -> Self {
        Self {
            from: Duration::ZERO,
            to: Duration::ZERO,
            rate: 0.0,
            up_uac: 0,
            up_uas: 0,
            events: Counters::default(),
            rtp_lost: 0,
            jitter: None,
            latencies: BTreeMap::new(),
        }
    }
}

/// The course of a run.
#[derive(Clone, Debug, Default)]
pub struct Series {
    points: Vec<Point>,
    seconds_per_point: u32,
    seconds_in_last: u32,
    latest: Option<Point>,
    /// Everything so far.
    pub total: News,
}

impl Series {
    /// The points, oldest first, none missing between them.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The latest second, however long the points are.
    pub fn latest(&self) -> Option<&Point> {
        self.latest.as_ref()
    }

    /// Takes what all cores told at `at`.
    pub fn push(&mut self, at: Duration, rate: f64, mut news: News) {
        let before = &self.total;
        let lost = |news: &News| news.events.rtp_lost + news.media.missing;
        let recent = std::mem::take(&mut news.recent);
        let point = Point {
            from: self.latest.as_ref().map_or(Duration::ZERO, |latest| latest.to),
            to: at,
            rate,
            up_uac: news.up_uac,
            up_uas: news.up_uas,
            events: news.events.since(&before.events),
            rtp_lost: lost(&news).saturating_sub(lost(before)),
            jitter: news.media.jitter(),
            latencies: quantiles(&recent),
        };
        news.recent = std::mem::take(&mut self.total.recent);
        news.recent.merge(&recent);
        self.total = news;
        self.latest = Some(point.clone());
        self.keep(point);
    }

    fn keep(&mut self, point: Point) {
        self.seconds_per_point = self.seconds_per_point.max(1);
        match self.points.last_mut() {
            Some(last) if self.seconds_in_last < self.seconds_per_point => {
                self.seconds_in_last += 1;
                last.merge(point);
            }
            _ => {
                self.seconds_in_last = 1;
                self.points.push(point);
            }
        }
        if self.points.len() > POINTS_MAX {
            self.seconds_per_point *= 2;
            let mut halved: Vec<Point> = Vec::with_capacity(POINTS_MAX / 2 + 1);
            for (index, point) in self.points.drain(..).enumerate() {
                match halved.last_mut() {
                    Some(last) if index % 2 == 1 => last.merge(point),
                    _ => halved.push(point),
                }
            }
            self.points = halved;
        }
    }
}

fn quantiles(recent: &Recent) -> BTreeMap<&'static str, Quantiles> {
    let each = recent.0.iter().map(|(&name, histogram)| {
        let at = |quantile| histogram.value_at_quantile(quantile);
        (name, Quantiles { count: histogram.len(), p50: at(0.5), p99: at(0.99), max: histogram.max() })
    });
    each.collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::core::stats::{Latencies, record};

    /// News of a run that begins `rate` calls a second, each answered after `millis`.
    pub fn news(second: u64, rate: u64, millis: u64) -> News {
        let mut latencies = Latencies::default();
        (0..rate).for_each(|_| record(&mut latencies.srd, Duration::from_millis(millis)));
        let mut news = News { up_uac: rate as usize * 5, ..News::default() };
        news.recent = Recent(latencies.take_recent().into_iter().collect());
        news.events.calls_attempted = second * rate;
        news.events.calls_established = second * rate;
        news
    }

    #[test]
    fn each_point_holds_what_its_second_saw() {
        let mut series = Series::default();
        for (second, millis) in [(1, 10), (2, 50), (3, 20)] {
            let mut news = news(second, 100, millis);
            news.media.missing = [0, 7, 4][second as usize - 1];
            series.push(Duration::from_secs(second), 100.0, news);
        }
        let points = series.points();
        assert_eq!(points.len(), 3);
        assert_eq!((points[1].from, points[1].to), (Duration::from_secs(1), Duration::from_secs(2)));
        assert!(points.iter().all(|point| point.events.calls_attempted == 100 && point.up_uac == 500));
        let lost: Vec<u64> = points.iter().map(|point| point.rtp_lost).collect();
        assert_eq!(lost, [0, 7, 0], "what came late after all is no negative loss");
        assert!(points[1].latencies["srd"].p99.abs_diff(50_000_000) < 500_000);
        assert_eq!(series.total.recent.0["srd"].len(), 300);
        assert!(series.total.recent.at("srd", 0.5).unwrap().abs_diff(20_000_000) < 200_000);
    }

    #[test]
    fn a_long_run_keeps_its_shape_in_bounded_points() {
        let mut series = Series::default();
        let seconds = POINTS_MAX as u64 * 5 + 3;
        for second in 1..=seconds {
            series.push(Duration::from_secs(second), 10.0, news(second, 10, if second == 777 { 900 } else { 1 }));
        }
        let points = series.points();
        assert!(points.len() <= POINTS_MAX && points.len() > POINTS_MAX / 4, "{}", points.len());
        assert!(points.windows(2).all(|two| two[0].to == two[1].from), "no gap");
        assert_eq!(points.iter().map(|point| point.events.calls_attempted).sum::<u64>(), seconds * 10);
        assert_eq!(points.iter().map(|point| point.latencies["srd"].count).sum::<u64>(), seconds * 10);
        let stall = points.iter().find(|point| point.latencies["srd"].max > 800_000_000).unwrap();
        assert!(stall.from < Duration::from_secs(777) && stall.to >= Duration::from_secs(777));
        assert_eq!(series.latest().map(|latest| latest.to - latest.from), Some(Duration::from_secs(1)));
    }
}
