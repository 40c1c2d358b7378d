//! Percentile distributions in the text form that HdrHistogram's plotter reads.

use hdrhistogram::Histogram;

/// One latency, values in milliseconds.
pub fn text(histogram: &Histogram<u64>) -> String {
    let mut out = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut total = 0;
    for value in histogram.iter_quantiles(5) {
        total += value.count_since_last_iteration();
        let (at, quantile) = (value.value_iterated_to() as f64 / 1e6, value.quantile_iterated_to());
        let inverse = if quantile < 1.0 { format!("{:.2}", 1.0 / (1.0 - quantile)) } else { "inf".into() };
        out += &format!("{at:>12.3} {quantile:>14.12} {total:>10} {inverse:>14}\n");
    }
    let (mean, deviation) = (histogram.mean() / 1e6, histogram.stdev() / 1e6);
    out + &format!(
        "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]\n\
         #[Max     = {:>12.3}, Total count    = {:>12}]\n#[Buckets = {:>12}, SubBuckets     = {:>12}]\n",
        histogram.max() as f64 / 1e6,
        histogram.len(),
        histogram.buckets(),
        histogram.distinct_values()
    )
}
