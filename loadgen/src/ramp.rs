//! `ramp`: the table of what was answered at each rate, and what it says: does goodput hold under overload, and come back?

use serde_json::{Value, json};

use crate::core::steps::StepFigures;
use crate::report::Report;
use crate::units::human;

/// Goodput at the top of at least this share of its peak is no collapse.
const HOLDS: f64 = 0.8;
/// So much is answered again at the end, where it was at the beginning.
const RECOVERS: f64 = 0.95;

/// One step and what came of it.
pub struct Row<'a> {
    /// Offered per second.
    pub rate: f64,
    /// Its length.
    pub seconds: f64,
    /// What came of it.
    pub figures: &'a StepFigures,
}

impl Row<'_> {
    /// So many in each of its seconds.
    pub fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.seconds
    }

    /// Goodput.
    pub fn answered(&self) -> f64 {
        self.per_second(self.figures.answered)
    }

    fn share(&self) -> f64 {
        self.figures.answered as f64 / self.figures.offered.max(1) as f64
    }
}

impl Report<'_> {
    /// The steps; none where it was no ramp.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let steps = self.plan.steps.iter().zip(&self.outcome.stats.steps);
        steps.map(|(&(rate, length), figures)| Row { rate, seconds: length.as_secs_f64(), figures }).collect()
    }

    /// The table, a line for each step, and the sentences about it.
    pub fn ramp_text(&self) -> Vec<String> {
        let rows = self.rows();
        if rows.is_empty() {
            return Vec::new();
        }
        let mut lines = vec!["  per second     offered   answered    refused       lost    srd p50        p99".into()];
        for row in &rows {
            let [offered, answered, refused, failed] =
                [row.figures.offered, row.figures.answered, row.figures.refused, row.figures.failed]
                    .map(|count| row.per_second(count));
            let [p50, p99] = [0.5, 0.99].map(|quantile| match row.figures.srd.is_empty() {
                true => "-".into(),
                false => human(row.figures.srd.value_at_quantile(quantile) as f64),
            });
            lines.push(format!(
                "  {:>10.1} {offered:>11.1} {answered:>10.1} {refused:>10.1} {failed:>10.1} {p50:>10} {p99:>10}",
                row.rate
            ));
        }
        lines.extend(conclusions(&rows).into_iter().map(|sentence| format!("  {sentence}")));
        lines
    }

    /// The same for programs.
    pub fn ramp_json(&self) -> Option<Value> {
        let rows = self.rows();
        let steps: Vec<Value> = rows
            .iter()
            .map(|row| {
                let figures = row.figures;
                let milliseconds = |quantile| match figures.srd.is_empty() {
                    true => Value::Null,
                    false => (figures.srd.value_at_quantile(quantile) as f64 / 1e6).into(),
                };
                json!({
                    "rate": row.rate, "seconds": row.seconds, "offered": figures.offered, "answered": figures.answered,
                    "refused": figures.refused, "lost": figures.failed,
                    "srd_p50_ms": milliseconds(0.5), "srd_p99_ms": milliseconds(0.99),
                })
            })
            .collect();
        (!steps.is_empty()).then(|| json!({"steps": steps, "sentences": conclusions(&rows)}))
    }
}

fn conclusions(rows: &[Row<'_>]) -> Vec<String> {
    let peak = rows.iter().max_by(|a, b| a.answered().total_cmp(&b.answered()));
    let top = rows.iter().max_by(|a, b| a.rate.total_cmp(&b.rate));
    let (Some(peak), Some(top), Some(first), Some(last)) = (peak, top, rows.first(), rows.last()) else {
        return Vec::new();
    };
    let kept = top.answered() / peak.answered().max(1e-9);
    let word = if kept >= HOLDS { "holds" } else { "collapses" };
    let back = last.share() >= RECOVERS * first.share();
    let recovers = if back { "recovers" } else { "does not recover" };
    vec![
        format!("goodput peaks at {:.1}/s with {:.1}/s offered", peak.answered(), peak.rate),
        format!(
            "at the top ({:.1}/s) it is {:.1}/s, {:.0}% of the peak: it {word}",
            top.rate,
            top.answered(),
            kept * 100.0
        ),
        format!("back at {:.1}/s {:.1}% are answered: the target {recovers}", last.rate, last.share() * 100.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collapse_is_called_one() {
        let figures = |offered, answered| StepFigures { offered, answered, ..StepFigures::default() };
        let said = |answered: [u64; 3]| {
            let all = [figures(100, answered[0]), figures(1000, answered[1]), figures(100, answered[2])];
            let rates = [10.0, 100.0, 10.0];
            let rows: Vec<_> =
                all.iter().zip(rates).map(|(figures, rate)| Row { rate, seconds: 10.0, figures }).collect();
            conclusions(&rows).join("; ")
        };
        let well = said([100, 600, 100]);
        assert!(
            well.contains("peaks at 60.0/s") && well.contains("it holds") && well.contains("target recovers"),
            "{well}"
        );
        let badly = said([100, 20, 50]);
        assert!(badly.contains("20% of the peak: it collapses") && badly.contains("does not recover"), "{badly}");
    }
}
