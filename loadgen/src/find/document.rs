//! A search for programs: JSON as `docs/loadgen.find-max.schema.json` describes it.

use serde_json::{Value, json};

use super::finding::{Finding, Trial, unit};
use crate::machine::Machine;
use crate::report::began_text;

impl Finding<'_> {
    /// The document.
    pub fn json(&self) -> Value {
        let options = self.options;
        json!({
            "schema": "strowger-loadgen/find-max/1",
            "version": env!("CARGO_PKG_VERSION"),
            "command_line": self.command_line,
            "began": began_text(self.began),
            "elapsed_s": self.elapsed.as_secs_f64(),
            "target": options.calls.common.target,
            "by": unit(options),
            "found": self.found,
            "sentence": self.sentence,
            "exit_code": self.code,
            "within": options.within.iter().map(|condition| condition.text.clone()).collect::<Vec<_>>(),
            "low": options.low,
            "high": options.high,
            "precision_percent": options.precision,
            "confirm": options.confirm,
            "step_s": options.step.as_secs_f64(),
            "settle_s": options.settle.as_secs_f64(),
            "steps": self.trials.iter().map(trial).collect::<Vec<_>>(),
            "machine": Machine::fingerprint(),
        })
    }
}

fn trial(trial: &Trial) -> Value {
    let milliseconds = |at: usize| trial.srd.map(|srd| srd[at] as f64 / 1e6);
    json!({
        "value": trial.value,
        "kind": trial.kind.word(),
        "at_s": trial.at.as_secs_f64(),
        "passed": trial.passed,
        "saturated": trial.saturated,
        "why": trial.why,
        "calls_established": trial.established,
        "ser_percent": trial.ser,
        "rtp_loss_percent": trial.rtp_loss,
        "srd_p50_ms": milliseconds(0),
        "srd_p99_ms": milliseconds(1),
    })
}
