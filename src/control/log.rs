//! Log lines: logfmt or JSON, one write each, on standard error. Shards' events come by a bounded queue; the control
//! plane's own come through `tracing`. Telephone numbers are redacted here unless the configuration shows them.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::clock::{Clock, Reading, rfc3339};
use crate::config::{Log, LogFormat, LogLevel};
use crate::observe::event::redacted;
use crate::observe::{Event, Level, Value, Verbosity};

/// Events waiting to be written; more are dropped and counted by the worker.
pub const EVENTS_MAX: usize = 8_192;
/// Events are written together that come within this of each other: a reader waits no longer for a line.
const GATHER: Duration = Duration::from_millis(50);

/// What may change while it runs, and how lines look.
#[derive(Debug)]
pub struct LogSettings {
    json: bool,
    /// Shared with the workers, which send nothing that would not be written.
    pub verbosity: Verbosity,
    show_digits: AtomicBool,
    /// Lines that standard error refused.
    pub lost: AtomicU64,
}

impl LogSettings {
    /// From `[log]`.
    #[must_use]
    pub fn new(log: &Log) -> Self {
        let settings = Self {
            json: log.format == LogFormat::Json,
            verbosity: Verbosity::default(),
            show_digits: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        };
        settings.apply(log);
        settings
    }

    /// After a reload.
    pub fn apply(&self, log: &Log) {
        let level = match log.level {
            LogLevel::Error => Level::Error as u8,
            LogLevel::Warn => Level::Warn as u8,
            LogLevel::Info => Level::Info as u8,
            LogLevel::Debug => Level::Debug as u8,
            LogLevel::Trace => Verbosity::TRACE,
        };
        self.verbosity.set(level);
        self.show_digits.store(log.show_digits, Relaxed);
    }

    fn takes(&self, level: u8) -> bool {
        self.verbosity.takes(level)
    }
}

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// A line being made behind others.
struct Line<'t> {
    json: bool,
    is_empty: bool,
    text: &'t mut Vec<u8>,
}

impl<'t> Line<'t> {
    fn new(text: &'t mut Vec<u8>, json: bool, wall: OffsetDateTime, level: u8, what: &str) -> Self {
        let mut line = Self { json, is_empty: true, text };
        line.field("time", &rfc3339(wall));
        line.field("level", LEVELS.get(usize::from(level)).unwrap_or(&"trace"));
        line.field("msg", what);
        line
    }

    fn key(&mut self, name: &str) {
        let first = std::mem::take(&mut self.is_empty);
        if self.json {
            self.text.push(if first { b'{' } else { b',' });
            self.quote(name);
            self.text.push(b':');
        } else {
            if !first {
                self.text.push(b' ');
            }
            self.text.extend_from_slice(name.as_bytes());
            self.text.push(b'=');
        }
    }

    /// JSON's escapes keep a peer's line break from becoming a line of ours.
    fn quote(&mut self, value: &str) {
        // Writing to a vector cannot fail.
        let _ = serde_json::to_writer(&mut *self.text, value);
    }

    fn field(&mut self, name: &str, value: &str) {
        self.key(name);
        let plain = |letter: u8| letter.is_ascii_graphic() && !matches!(letter, b'"' | b'=' | b'\\');
        if !self.json && !value.is_empty() && value.bytes().all(plain) {
            self.text.extend_from_slice(value.as_bytes());
        } else {
            self.quote(value);
        }
    }

    fn number(&mut self, name: &str, value: impl fmt::Display) {
        self.key(name);
        let _ = write!(self.text, "{value}");
    }

    fn finish(self) {
        self.text.extend_from_slice(if self.json { b"}\n" } else { b"\n" });
    }
}

/// A shard's event as a line behind `text`, if it is wanted.
pub fn event_line(event: &Event, clock: &Reading, settings: &LogSettings, text: &mut Vec<u8>) {
    let level = event.level as u8;
    if !settings.takes(level) {
        return;
    }
    let mut line = Line::new(text, settings.json, clock.wall(event.at), level, event.what);
    line.number("shard", event.shard.0);
    if let Some(call) = event.call {
        line.field("call", &call.to_string());
    }
    for (name, value) in &event.fields {
        match value {
            Value::Word(word) => line.field(name, word),
            Value::Text(text) => line.field(name, text),
            Value::Digits(digits) if settings.show_digits.load(Relaxed) => line.field(name, digits),
            Value::Digits(digits) => line.field(name, &redacted(digits)),
            Value::Number(number) => line.number(name, number),
            Value::Span(span) => line.number(&format!("{name}_ms"), span.as_millis()),
            Value::Address(address) => line.field(name, &address.to_string()),
        }
    }
    line.finish();
}

fn write(text: &[u8], settings: &LogSettings) {
    if std::io::stderr().lock().write_all(text).is_err() {
        settings.lost.fetch_add(1, Relaxed);
    }
}

/// Sends `tracing` events of this process to the same lines.
struct Lines {
    settings: Arc<LogSettings>,
}

struct Fields {
    what: String,
    rest: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.what);
        } else {
            self.rest.push((field.name(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => 0,
            tracing::Level::WARN => 1,
            tracing::Level::INFO => 2,
            tracing::Level::DEBUG => 3,
            tracing::Level::TRACE => 4,
        };
        let ours = event.metadata().target().starts_with("strowger");
        if !self.settings.takes(level) || !ours && level > 1 {
            return;
        }
        let mut fields = Fields { what: String::new(), rest: Vec::new() };
        event.record(&mut fields);
        let mut text = Vec::new();
        let mut line = Line::new(&mut text, self.settings.json, OffsetDateTime::now_utc(), level, &fields.what);
        for (name, value) in fields.rest {
            line.field(name, &value);
        }
        line.finish();
        write(&text, &self.settings);
    }
}

/// Makes this process's `tracing` events lines of the log. The first call wins.
pub fn install(settings: &Arc<LogSettings>) {
    let lines = Lines { settings: Arc::clone(settings) };
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
}

/// Starts the thread that writes shards' events. It ends when every sender is gone.
///
/// # Errors
/// No thread could be made.
pub fn start(clock: Clock, settings: Arc<LogSettings>) -> std::io::Result<(Sender<Event>, JoinHandle<()>)> {
    let (sender, receiver) = bounded(EVENTS_MAX);
    let thread = std::thread::Builder::new().name("log".into()).spawn(move || run(&receiver, &clock, &settings))?;
    Ok((sender, thread))
}

fn run(events: &Receiver<Event>, clock: &Clock, settings: &LogSettings) {
    const BATCH_BYTES: usize = 64 * 1024;
    let mut text = Vec::new();
    while let Ok(event) = events.recv() {
        let reading = clock.reading();
        text.clear();
        event_line(&event, &reading, settings, &mut text);
        while text.len() < BATCH_BYTES
            && let Ok(event) = events.try_recv()
        {
            event_line(&event, &reading, settings, &mut text);
        }
        if !text.is_empty() {
            write(&text, settings);
        }
        // While this thread sleeps, a shard that logs wakes nobody: a system call less for each event. A full batch means that
        // more waits.
        if text.len() < BATCH_BYTES {
            std::thread::sleep(GATHER);
        }
    }
}

/// Whether colours make sense on standard error.
#[must_use]
pub fn styled() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Instant, ShardId};

    fn settings(json: bool, show_digits: bool) -> LogSettings {
        let format = if json { LogFormat::Json } else { LogFormat::Logfmt };
        LogSettings::new(&Log { format, level: LogLevel::Info, show_digits })
    }

    fn line(settings: &LogSettings) -> String {
        let clock = Clock::new(std::time::Instant::now());
        let event = Event::new(Instant::ZERO, ShardId(1), Level::Info, "call answered")
            .digits("to", "+15550100")
            .text("reason", "a \"b\"\nlevel=error")
            .number("packets", 7);
        let mut text = Vec::new();
        event_line(&event, &clock.reading(), settings, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn digits_are_hidden_and_line_breaks_stay_inside() {
        let line = line(&settings(false, false));
        let rest = line.split_once(" level=").unwrap().1;
        assert_eq!(
            rest,
            "info msg=\"call answered\" shard=1 to=+xxxxxx00 reason=\"a \\\"b\\\"\\nlevel=error\" packets=7\n"
        );
    }

    #[test]
    fn json_is_json_and_shows_digits_when_told() {
        let value: serde_json::Value = serde_json::from_str(&line(&settings(true, true))).unwrap();
        assert_eq!((value["to"].as_str(), value["packets"].as_u64()), (Some("+15550100"), Some(7)));
        assert_eq!(value["reason"], "a \"b\"\nlevel=error");
    }

    #[test]
    fn a_level_below_is_not_written() {
        let clock = Clock::new(std::time::Instant::now());
        let event = Event::new(Instant::ZERO, ShardId(0), Level::Debug, "x");
        let mut text = Vec::new();
        event_line(&event, &clock.reading(), &settings(false, false), &mut text);
        assert!(text.is_empty());
    }
}
