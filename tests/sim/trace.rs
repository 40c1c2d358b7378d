//! What happened, as one number: the same seed must give the same number, here and on any other machine.

use std::collections::VecDeque;
use std::fmt::Write;
use strowger::base::Instant;

/// Lines kept for telling what led to a violation.
const LINES_MAX: usize = 60;

/// A hash of everything delivered, and the last lines of it.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    count: u64,
    lines: VecDeque<String>,
    verbose: bool,
}

impl Trace {
    /// Prints each line as it comes where `verbose`.
    pub fn new(verbose: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, count: 0, lines: VecDeque::new(), verbose }
    }

    fn mix(&mut self, bytes: &[u8]) {
        // FNV-1a: plain, and the same everywhere.
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Notes a delivery.
    pub fn note(&mut self, now: Instant, what: &str, bytes: &[u8]) {
        self.count += 1;
        self.mix(&now.as_nanos().to_be_bytes());
        self.mix(what.as_bytes());
        self.mix(bytes);
        let sip = bytes.first().is_some_and(u8::is_ascii_uppercase);
        if what.starts_with("datagram") && !sip {
            return;
        }
        let mut line = format!("{:>9.3} ms  {what}", now.as_nanos() as f64 / 1e6);
        if sip {
            let text = String::from_utf8_lossy(bytes);
            let cseq = text.lines().find(|line| line.starts_with("CSeq")).unwrap_or("");
            let _ = write!(line, "  {}  [{cseq}]", text.lines().next().unwrap_or(""));
        }
        self.say(line);
    }

    /// Keeps a line that is not part of the hash.
    pub fn say(&mut self, line: String) {
        if self.verbose {
            println!("{line}");
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The number.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Deliveries so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last lines.
    pub fn tail(&self) -> String {
        self.lines.iter().fold(String::new(), |out, line| out + "  " + line + "\n")
    }
}
