//! The report for programs: JSON as `docs/loadgen.schema.json` describes it.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::core::stats::Counters;
use crate::machine::Machine;
use crate::report::{Report, Verdict};
use crate::series::Point;

/// Quantiles of the report.
const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99_9", 0.999), ("p99_99", 0.9999)];

impl Report<'_> {
    /// The report for programs; `docs/loadgen.schema.json` describes it.
    pub fn json(&self, verdict: &Verdict) -> Value {
        let stats = &self.outcome.stats;
        let counters: Map<String, Value> = Counters::NAMES
            .iter()
            .zip(stats.counters.values())
            .map(|(&name, value)| (name.to_string(), value.into()))
            .collect();
        let latencies: Map<String, Value> = stats
            .histograms()
            .filter(|(_, histogram)| !histogram.is_empty())
            .map(|(name, histogram)| (name.to_string(), summary(histogram)))
            .collect();
        let counted: Map<String, Value> =
            stats.counted.iter().map(|(name, count)| (name.clone(), (*count).into())).collect();
        let refusals: Vec<Value> = stats
            .refusals
            .iter()
            .map(|(status, (count, reason))| json!({"status": status, "reason": reason, "count": count}))
            .collect();
        let asserts: Vec<Value> = self
            .asserts()
            .map(|(text, value, holds)| json!({"condition": text, "value": value, "holds": holds}))
            .collect();
        json!({
            "schema": "strowger-loadgen/1",
            "version": env!("CARGO_PKG_VERSION"),
            "command": self.command,
            "command_line": self.command_line,
            "began": self.began_text(),
            "elapsed_s": self.outcome.elapsed.as_secs_f64(),
            "result": verdict.result,
            "exit_code": verdict.code,
            "sentences": verdict.sentences,
            "seen": stats.samples,
            "settings": self.settings(),
            "counters": counters,
            "scenario_counters": counted,
            "ratios_percent": stats.ratios().map(|r| json!({
                "ser": r.ser, "seer": r.seer, "scr": r.scr, "asr": r.asr, "ner": r.ner,
            })),
            "ramp": self.ramp_json(),
            "rtp_loss_percent": stats.rtp_loss(),
            "mos": stats.scores.summary().map(|mos| json!({"min": mos.min, "p5": mos.p5, "mean": mos.mean})),
            "latency_ms": latencies,
            "refusals": refusals,
            "rate_changes": self.outcome.changes.iter().map(|change| json!({
                "at_s": change.at.as_secs_f64(), "rate": change.rate, "by": "hand",
            })).collect::<Vec<_>>(),
            "series": self.outcome.series.points().iter().map(point).collect::<Vec<_>>(),
            "asserts": asserts,
            "generator": {
                "saturated": verdict.saturated,
                "backend": self.backend,
                "threads": self.common.threads,
                "cpu_s": self.outcome.cpu_s,
                "datagrams_sent": self.outcome.driver.sent,
                "datagrams_received": self.outcome.driver.received,
                "kernel_dropped": self.outcome.driver.kernel_dropped,
                "send_dropped": self.outcome.driver.send_dropped,
            },
            "machine": Machine::fingerprint(),
        })
    }

    fn settings(&self) -> Value {
        let plan = self.plan;
        json!({
            "target": plan.target.to_string(),
            "transport": plan.transport.uri_token(),
            "rate": plan.load.rate,
            "duration_s": plan.load.duration.map(|duration| duration.as_secs_f64()),
            "count": plan.load.count,
            "arrivals": format!("{:?}", plan.load.arrivals).to_lowercase(),
            "concurrent": self.concurrent,
            "users": plan.users,
            "hold_s": plan.hold.mean().as_secs_f64(),
            "hold": plan.hold.to_string(),
            "ring_s": plan.ring.as_secs_f64(),
            "hangup": format!("{:?}", plan.hangup).to_lowercase(),
            "rtp": if plan.rtp { plan.flow.codec.name().to_lowercase() } else { "off".into() },
            "t1_s": plan.timers.t1.as_secs_f64(),
            "check": plan.check,
        })
    }
}

/// Of the counters, those that counted anything.
fn point(point: &Point) -> Value {
    let counted = Counters::NAMES.iter().zip(point.events.values()).filter(|(_, value)| *value > 0);
    let counters: Map<String, Value> = counted.map(|(&name, value)| (name.to_string(), value.into())).collect();
    let latencies: Map<String, Value> = point
        .latencies
        .iter()
        .map(|(&name, q)| {
            let [p50, p99, max] = [q.p50, q.p99, q.max].map(|nanos| milliseconds(nanos as f64));
            (name.to_string(), json!({"count": q.count, "p50": p50, "p99": p99, "max": max}))
        })
        .collect();
    json!({
        "from_s": point.from.as_secs_f64(),
        "to_s": point.to.as_secs_f64(),
        "rate": point.rate,
        "up_uac": point.up_uac,
        "up_uas": point.up_uas,
        "rtp_lost": point.rtp_lost,
        "jitter_ms": point.jitter.map(|jitter| milliseconds(jitter.as_nanos() as f64)),
        "counters": counters,
        "latency_ms": latencies,
    })
}

fn milliseconds(nanos: f64) -> f64 {
    (nanos / 1e3).round() / 1e3
}

fn summary(histogram: &Histogram<u64>) -> Value {
    let mut out = Map::new();
    out.insert("count".into(), histogram.len().into());
    out.insert("min".into(), milliseconds(histogram.min() as f64).into());
    out.insert("mean".into(), milliseconds(histogram.mean()).into());
    for (name, quantile) in QUANTILES {
        out.insert(name.into(), milliseconds(histogram.value_at_quantile(quantile) as f64).into());
    }
    out.insert("max".into(), milliseconds(histogram.max() as f64).into());
    out.into()
}
