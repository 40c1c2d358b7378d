//! What the demo says: a line that moves, a report for people, or one line of JSON for machines.

use super::Options;
use super::talk::{Outcome, Progress};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Phones this late measure themselves, not the appliance.
const TOO_LATE: Duration = Duration::from_millis(100);

/// One line on standard error, written over where that is a terminal.
pub fn progress(options: &Options, progress: &Progress) {
    let mut out = std::io::stderr().lock();
    let end = if out.is_terminal() { "\r" } else { "\n" };
    let talked = progress.talked.as_secs().min(u64::from(options.seconds));
    // A closed terminal does not end the demo.
    let _ = write!(
        out,
        "phones {}/2  placed {:>4}  answered {:>4}  failed {:>3}  ended {:>4}  talking {talked:>3}/{} s   {end}",
        progress.registered, progress.placed, progress.answered, progress.failed, progress.ended, options.seconds
    );
    let _ = out.flush();
}

/// The report.
pub fn report(options: &Options, outcome: &Outcome) {
    let millis = |micros: u64| micros as f64 / 1_000.0;
    let (setup, latency) = (&outcome.setup, &outcome.latency);
    let micros = |nanos: u64| nanos as f64 / 1_000.0;
    let mut out = std::io::stdout().lock();
    let text = format!(
        "\n\ncalls          {} placed, {} failed, {} s each\n\
         set-up         p50 {:.2} ms   p99 {:.2} ms   max {:.2} ms   (INVITE to 200)\n\
         RTP packets    {} sent, {} relayed to the far end, {} lost, {} damaged, {} doubled\n\
         RTP latency    p50 {:.0} µs   p99 {:.0} µs   p99.9 {:.0} µs   max {:.0} µs   (from due to heard)\n\
         SIP            {} messages sent again by the phones\n",
        outcome.calls,
        outcome.calls_failed,
        options.seconds,
        millis(setup.value_at_quantile(0.5)),
        millis(setup.value_at_quantile(0.99)),
        millis(setup.max()),
        outcome.packets_sent,
        outcome.packets_received,
        outcome.packets_lost(),
        outcome.packets_corrupt,
        outcome.packets_duplicated,
        micros(latency.value_at_quantile(0.5)),
        micros(latency.value_at_quantile(0.99)),
        micros(latency.value_at_quantile(0.999)),
        micros(latency.max()),
        outcome.retransmissions,
    );
    let _ = out.write_all(text.as_bytes());
    if outcome.late_max >= TOO_LATE {
        let late = outcome.late_max.as_millis();
        let _ = writeln!(
            out,
            "this machine   the phones themselves were up to {late} ms late: fewer calls would tell more"
        );
    }
    for failure in &outcome.failures {
        let _ = writeln!(out, "failure        {failure}");
    }
    let verdict = if outcome.is_perfect() { "every call and every packet arrived" } else { "NOT everything arrived" };
    let _ = writeln!(out, "{verdict}");
}

/// One line.
pub fn json(options: &Options, outcome: &Outcome) {
    let (setup, latency) = (&outcome.setup, &outcome.latency);
    let millis = |micros: u64| Duration::from_micros(micros).as_secs_f64() * 1_000.0;
    let micros = |nanos: u64| nanos as f64 / 1_000.0;
    let line = serde_json::json!({
        "calls": outcome.calls,
        "calls_failed": outcome.calls_failed,
        "seconds": options.seconds,
        "transport": options.transport.uri_token(),
        "packets_sent": outcome.packets_sent,
        "packets_relayed": outcome.packets_received,
        "packets_lost": outcome.packets_lost(),
        "packets_corrupt": outcome.packets_corrupt,
        "packets_duplicated": outcome.packets_duplicated,
        "retransmissions": outcome.retransmissions,
        "setup_p50_ms": millis(setup.value_at_quantile(0.5)),
        "setup_p99_ms": millis(setup.value_at_quantile(0.99)),
        "setup_max_ms": millis(setup.max()),
        "latency_p50_us": micros(latency.value_at_quantile(0.5)),
        "latency_p99_us": micros(latency.value_at_quantile(0.99)),
        "latency_p999_us": micros(latency.value_at_quantile(0.999)),
        "phones_late_max_ms": millis(u64::try_from(outcome.late_max.as_micros()).unwrap_or(u64::MAX)),
        "latency_max_us": micros(latency.max()),
        "failures": outcome.failures,
    });
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
}
