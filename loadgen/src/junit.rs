//! The report for build servers: JUnit's XML, one test case for the run itself, one for its generator, and one for each
//! `--assert`. The elements and attributes are those of the schema that Jenkins and others check (`junit-10.xsd`).

use std::fmt::Write as _;

use crate::report::{Report, Verdict};

/// Text as it may stand in XML 1.0: markup as entities, without the characters that cannot stand there at all.
fn escaped(text: &str) -> String {
    let allowed =
        |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    let text: String = text.chars().filter(allowed).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// One test case; a failure is its kind, its message, and more words.
pub struct Case {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed.
    pub failure: Option<(&'static str, String, String)>,
}

/// Test cases that belong together, and where they come from.
pub struct Suite {
    /// `calls`, `find-max` and so on.
    pub command: &'static str,
    /// How long all took.
    pub seconds: f64,
    /// When it began, as RFC 3339 says.
    pub began: String,
    /// What a reader should know.
    pub properties: Vec<(&'static str, String)>,
    /// Its cases.
    pub cases: Vec<Case>,
    /// What was printed.
    pub out: String,
}

impl Suite {
    /// The file.
    pub fn xml(&self) -> String {
        let failures = self.cases.iter().filter(|case| case.failure.is_some()).count();
        let name = format!("strowger-loadgen {}", self.command);
        let (count, seconds) = (self.cases.len(), self.seconds);
        let counts = format!("tests=\"{count}\" failures=\"{failures}\" errors=\"0\" time=\"{seconds:.3}\"");
        let mut out = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{name}\" {counts}>\n  <testsuite name=\"{name}\" {counts} \
             skipped=\"0\" timestamp=\"{}\">\n    <properties>\n",
            self.began.trim_end_matches('Z')
        );
        for (name, value) in &self.properties {
            let _ = writeln!(out, "      <property name=\"{name}\" value=\"{}\"/>", escaped(value));
        }
        out += "    </properties>\n";
        self.cases.iter().for_each(|case| self.case(case, &mut out));
        let _ = write!(out, "    <system-out>{}</system-out>\n  </testsuite>\n</testsuites>\n", escaped(&self.out));
        out
    }

    fn case(&self, case: &Case, out: &mut String) {
        let _ = write!(
            out,
            "    <testcase name=\"{}\" classname=\"strowger-loadgen.{}\" time=\"{:.3}\"",
            escaped(&case.name),
            self.command,
            case.seconds
        );
        match &case.failure {
            None => *out += "/>\n",
            Some((kind, message, text)) => {
                let _ = write!(
                    out,
                    ">\n      <failure type=\"{kind}\" message=\"{}\">{}</failure>\n    </testcase>\n",
                    escaped(message),
                    escaped(text)
                );
            }
        }
    }
}

impl Report<'_> {
    /// The file.
    pub fn junit(&self, verdict: &Verdict) -> String {
        let suite = Suite {
            command: self.command,
            seconds: self.outcome.elapsed.as_secs_f64(),
            began: self.began_text(),
            properties: vec![
                ("command_line", self.command_line.clone()),
                ("target", self.plan.target.to_string()),
                ("exit_code", verdict.code.to_string()),
                ("version", env!("CARGO_PKG_VERSION").to_string()),
            ],
            cases: self.cases(verdict),
            out: self.text(verdict),
        };
        suite.xml()
    }

    fn cases(&self, verdict: &Verdict) -> Vec<Case> {
        let told = |sentences: &[String]| {
            let first = sentences.first().cloned().unwrap_or_else(|| verdict.result.to_string());
            (first, sentences.join("\n"))
        };
        // That an --assert does not hold is a case of its own.
        let whys: Vec<String> = verdict.sentences.iter().filter(|why| !why.starts_with("--assert ")).cloned().collect();
        let failed = matches!(verdict.code, 1 | 97 | 99) || !whys.is_empty();
        let run = failed.then(|| {
            let (message, text) = told(&whys);
            ("run", message, text)
        });
        let generator = (!verdict.saturated.is_empty()).then(|| {
            let (message, text) = told(&verdict.saturated);
            ("generator", message, text)
        });
        let mut cases = vec![
            Case { name: "the run".into(), seconds: self.outcome.elapsed.as_secs_f64(), failure: run },
            Case { name: "the generator kept its schedule".into(), seconds: 0.0, failure: generator },
        ];
        cases.extend(self.asserts().map(|(text, value, holds)| {
            let value = value.unwrap_or_else(|| "nothing measured".into());
            let failure = (!holds).then(|| ("assert", format!("{text}: {value}"), String::new()));
            Case { name: format!("assert {text}"), seconds: 0.0, failure }
        }));
        cases
    }
}
