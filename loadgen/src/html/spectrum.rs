//! The latency spectrum: every percentile of a latency, on an axis that gives each further nine as much room as the one before.

use hdrhistogram::Histogram;

use super::frame::{human, tick_time};
use super::plot::{Axis, Plot, Trace, round_step};

/// Steps of the histogram per halving of what remains above.
const STEPS: u32 = 8;
/// Medians further apart than this are told apart on a logarithmic axis.
pub const APART: f64 = 20.0;

/// The plot of several latencies.
pub fn plot(latencies: &[(&str, &Histogram<u64>)]) -> Plot {
    let largest = latencies.iter().map(|(_, histogram)| histogram.len()).max().unwrap_or(1);
    // One value in so many is the rarest that can be told.
    let nines = (largest as f64).log10().clamp(1.0, 8.0);
    let medians = latencies.iter().map(|(_, histogram)| histogram.value_at_quantile(0.5).max(1) as f64);
    let (low, high) = medians.fold((f64::MAX, 1.0f64), |(low, high), value| (low.min(value), high.max(value)));
    let top = latencies.iter().map(|(_, histogram)| histogram.max()).max().unwrap_or(1) as f64;
    let logarithmic = high / low > APART;
    let y = if logarithmic { decades(low, top) } else { linear(top) };
    let scale = |nanos: f64| if logarithmic { nanos.max(1.0).log10() } else { nanos };
    let traces = latencies.iter().map(|(name, histogram)| {
        let mut points = vec![(0.0, scale(histogram.min() as f64))];
        for step in histogram.iter_quantiles(STEPS) {
            let left = 1.0 - step.quantile_iterated_to();
            let x = if left > 0.0 { (-left.log10()).min(nines) } else { (histogram.len() as f64).log10().min(nines) };
            points.push((x, scale(step.value_iterated_to() as f64)));
        }
        Trace::line(format!("{name} ({} measured)", crate::units::grouped(histogram.len())), points)
    });
    let traces: Vec<Trace> = traces.collect();
    let percentiles = [(0.0, "0%"), (1.0, "90%"), (2.0, "99%"), (3.0, "99.9%"), (4.0, "99.99%"), (5.0, "99.999%")];
    let ticks =
        percentiles.into_iter().filter(|(at, _)| *at <= nines).map(|(at, text)| (at, text.to_string())).collect();
    Plot {
        title: "Latency by percentile".into(),
        description: describe(latencies),
        x: Axis { name: "share of all that took no longer".into(), range: (0.0, nines), ticks },
        y,
        traces,
        marks: Vec::new(),
        steps: false,
    }
}

/// An axis of times from zero.
pub fn linear(top: f64) -> Axis {
    let step = round_step(top.max(1.0) / 5.0);
    Axis::linear("latency", top, |nanos| tick_time(nanos, step))
}

/// A logarithmic axis of times, of which the values are the powers of ten.
pub fn decades(low: f64, top: f64) -> Axis {
    let (from, to) = (low.log10().floor(), top.max(low * 10.0).log10().ceil());
    let ticks = (from as i32..=to as i32).map(|power| (f64::from(power), tick_time(10f64.powi(power), 1.0)));
    Axis { name: "latency, logarithmic".into(), range: (from, to), ticks: ticks.collect() }
}

fn describe(latencies: &[(&str, &Histogram<u64>)]) -> String {
    let each = latencies.iter().map(|(name, histogram)| {
        let at = |quantile| human(histogram.value_at_quantile(quantile) as f64);
        format!("{name}: median {}, 99% within {}, longest {}", at(0.5), at(0.99), at(1.0))
    });
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: impl Iterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).unwrap();
        values.for_each(|value| histogram.record(value).unwrap());
        histogram
    }

    #[test]
    fn each_nine_has_the_same_room_and_the_longest_is_there() {
        let one = histogram((1..=1000).map(|index| index * 1000));
        let plot = plot(&[("srd", &one)]);
        assert_eq!(plot.x.range, (0.0, 3.0));
        assert_eq!(
            plot.x.ticks.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
            ["0%", "90%", "99%", "99.9%"]
        );
        let points = &plot.traces[0].points;
        let near = points.iter().min_by(|a, b| (a.0 - 1.0).abs().total_cmp(&(b.0 - 1.0).abs())).unwrap();
        assert!((near.1 - 900_000.0).abs() < 20_000.0, "{near:?}");
        let last = points.last().unwrap();
        assert!(last.0 == 3.0 && (last.1 - 1_000_000.0).abs() < 2000.0, "{last:?}");
        assert!(points.windows(2).all(|two| two[0].0 <= two[1].0 && two[0].1 <= two[1].1));
    }

    #[test]
    fn latencies_far_apart_get_a_logarithmic_axis() {
        let (short, long) = (histogram([1_000_000; 9].into_iter()), histogram([2_000_000_000; 9].into_iter()));
        let plot = plot(&[("srd", &short), ("setup", &long)]);
        assert!(plot.y.name.contains("logarithmic"), "{}", plot.y.name);
        let ticks: Vec<&str> = plot.y.ticks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(ticks.first().zip(ticks.last()), Some((&"1 ms", &"10 s")), "{ticks:?}");
    }
}
