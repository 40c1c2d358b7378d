//! Writes the reports of a run where they were asked for.

use std::path::PathBuf;

use crate::files::{put, put_text};
use crate::hgrm;
use crate::report::{Report, Verdict};

impl Report<'_> {
    /// Writes what was asked for.
    pub fn write(&self, verdict: &Verdict) -> Result<(), String> {
        if let Some(path) = &self.common.json {
            put(path, &self.json(verdict))?;
        }
        if let Some(path) = &self.common.html {
            put_text(path, &self.html(verdict))?;
        }
        if let Some(path) = &self.common.junit {
            put_text(path, &self.junit(verdict))?;
        }
        if let Some(path) = &self.common.hgrm {
            let whole = path.to_string_lossy();
            let base = whole.strip_suffix(".hgrm").unwrap_or(&whole);
            for (name, histogram) in self.outcome.stats.histograms().filter(|(_, h)| !h.is_empty()) {
                put_text(&PathBuf::from(format!("{base}.{name}.hgrm")), &hgrm::text(histogram))?;
            }
        }
        Ok(())
    }
}
