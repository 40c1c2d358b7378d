//! Any text as a configuration: it is read or refused, each finding names a place in it and can be shown, and the same
//! text means the same each time.

use strowger::config::{Diagnostic, diff, read};

const SHOWN_MAX: usize = 4;

/// Reads it, looks at every finding.
pub fn run(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    let outcome = read(&text, "fuzz.toml");
    assert_eq!(outcome.config.is_some(), outcome.errors.is_empty());
    assert!(outcome.more == 0 || !outcome.errors.is_empty());
    for findings in [&outcome.errors, &outcome.notes] {
        assert!(findings.is_sorted_by_key(|finding| finding.span.start));
        findings.iter().for_each(|finding| look(finding, &text));
        // Showing one costs far more than finding it.
        findings.iter().take(SHOWN_MAX).for_each(|finding| show(finding, &text));
    }
    let again = read(&text, "fuzz.toml");
    assert_eq!((&again.errors, &again.notes, again.more), (&outcome.errors, &outcome.notes, outcome.more));
    let (Some(config), Some(again)) = (outcome.config, again.config) else { return };
    assert!(diff(&config.values, &again.values).is_empty(), "a reload of the same file changes something");
    assert!(!config.sip.listen.is_empty() && config.media.port_min < config.media.port_max);
    assert!(config.trunks.iter().all(|trunk| !trunk.name.is_empty()));
    assert!(config.accounts.iter().all(|account| !account.name.is_empty()));
}

fn look(finding: &Diagnostic, text: &str) {
    assert!(!finding.message.is_empty());
    assert!(finding.line >= 1 && finding.line <= text.split('\n').count(), "{finding}");
    assert!(finding.column >= 1, "{finding}");
}

fn show(finding: &Diagnostic, text: &str) {
    let plain = finding.render(text, false);
    assert!(plain.contains("fuzz.toml"), "{plain}");
    assert!(plain.len() < 16_384, "{} bytes for one finding", plain.len());
    let _ = finding.render(text, true);
}
