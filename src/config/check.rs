//! One value against the kind of its row: the value in its unit, or what is wrong with it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::model::Advertise;
use super::net::Net;
use super::row::{Kind, Row};
use super::value::{quoted, size, size_text, span, span_text};
use crate::base::time::Duration;

/// A value that fits its row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Checked {
    /// Off, or decided by another setting.
    Absent,
    Text(String),
    Bool(bool),
    Integer(u64),
    Auto,
    Span(Duration),
    Size(u64),
    Socket(SocketAddr),
    Ip(IpAddr),
    HostPort(Advertise),
    /// Each with its place.
    Texts(Vec<(String, Range<usize>)>),
    Nets(Vec<Net>),
}

/// What is wrong.
#[derive(Debug, PartialEq)]
pub(super) struct Problem {
    pub message: String,
    pub label: String,
    pub help: Option<String>,
    /// Narrower than the value itself.
    pub span: Option<Range<usize>>,
}

impl Problem {
    fn new(message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { message: message.into(), label: label.into(), help: None, span: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn at(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }
}

const TEXT_BYTES_MAX: usize = 4_096;

/// Checks `value` against `row`.
pub(super) fn check(row: &Row, value: &DeValue<'_>) -> Result<Checked, Problem> {
    match row.kind {
        Kind::Bool => value.as_bool().map(Checked::Bool).ok_or_else(|| wrong_type(row, value, "`true` or `false`")),
        Kind::Integer { min, max } => integer(row, value, min, max).map(Checked::Integer),
        Kind::AutoOr { min, max } => match value.as_str() {
            Some("auto") => Ok(Checked::Auto),
            Some(_) => Err(wrong_type(row, value, "`\"auto\"` or a whole number")),
            None => integer(row, value, min, max).map(Checked::Integer),
        },
        Kind::Hosts | Kind::Codecs | Kind::Numbers | Kind::Prefixes | Kind::Nets | Kind::Devices => items(row, value),
        _ => text(row, value),
    }
}

fn wrong_type(row: &Row, value: &DeValue<'_>, expected: &str) -> Problem {
    let found = match value.type_str() {
        "string" => "text",
        "integer" => "a whole number",
        "float" => "a number with a fraction",
        "boolean" => "`true` or `false`",
        "array" => "a list",
        "table" => "a table",
        _ => "a date",
    };
    Problem::new(format!("`{}` takes {expected}", row.name()), format!("{found} stands here"))
}

fn integer(row: &Row, value: &DeValue<'_>, min: u64, max: u64) -> Result<u64, Problem> {
    let Some(number) = value.as_integer() else { return Err(wrong_type(row, value, "a whole number")) };
    let parsed = u64::from_str_radix(number.as_str(), number.radix()).ok();
    parsed
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| Problem::new(format!("`{}` is out of range", row.name()), format!("expected {min} to {max}")))
}

fn text(row: &Row, value: &DeValue<'_>) -> Result<Checked, Problem> {
    let Some(text) = value.as_str() else { return Err(not_text(row, value)) };
    if text.len() > TEXT_BYTES_MAX || text.contains(['\r', '\n', '\0']) {
        return Err(Problem::new(
            format!("`{}` is not usable", row.name()),
            format!("longer than {TEXT_BYTES_MAX} bytes, or with a line break"),
        ));
    }
    if text.is_empty() && row.default == "\"\"" {
        return Ok(Checked::Absent);
    }
    let bad = |why: String| Problem::new(format!("`{}` is not usable", row.name()), why);
    match row.kind {
        Kind::Span { min, max } => {
            let span = span(text).map_err(bad)?;
            let range = || bad(format!("expected {} to {}", span_text(min), span_text(max)));
            if (min..=max).contains(&span) { Ok(Checked::Span(span)) } else { Err(range()) }
        }
        Kind::Size { min, max } => {
            let size = size(text).map_err(bad)?;
            let range = || bad(format!("expected {} to {}", size_text(min), size_text(max)));
            if (min..=max).contains(&size) { Ok(Checked::Size(size)) } else { Err(range()) }
        }
        Kind::Choice(words) => choice(row, text, words),
        Kind::Socket => socket(row, text),
        Kind::Ip => text.parse().map(Checked::Ip).map_err(|_| {
            bad("expected an IP address".into()).help("host names are not resolved here; write the address")
        }),
        Kind::HostPort => host_port(text)
            .map(Checked::HostPort)
            .ok_or_else(|| bad("expected a host name or IP address, with or without `:port`".into())),
        Kind::Name if !is_name(text) => Err(bad("expected 1 to 64 letters, digits, `-`, `_` or `.`".into())),
        Kind::Hex(digits) if text.len() != digits || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Err(bad(format!("expected {digits} hexadecimal digits")))
        }
        Kind::Path if text.is_empty() => Err(bad("expected a path".into())),
        _ => Ok(Checked::Text(text.to_owned())),
    }
}

fn not_text(row: &Row, value: &DeValue<'_>) -> Problem {
    let number = value.is_integer() || value.is_float();
    match row.kind {
        Kind::Span { .. } if number => {
            Problem::new(format!("`{}` needs a unit", row.name()), "a bare number could be anything")
                .help(format!("write it with its unit, such as {}", row.shown()))
        }
        Kind::Size { .. } if number => {
            Problem::new(format!("`{}` needs a unit", row.name()), "a bare number could be anything")
                .help(format!("write it with its unit, such as {}", row.shown()))
        }
        _ => wrong_type(row, value, "text in quotes"),
    }
}

fn choice(row: &Row, text: &str, words: &[&str]) -> Result<Checked, Problem> {
    if words.contains(&text) {
        return Ok(Checked::Text(text.to_owned()));
    }
    let list = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let problem = Problem::new(format!("`{}` cannot be \"{text}\"", row.name()), format!("expected one of {list}"));
    Err(match nearest(text, words.iter().copied()) {
        Some(word) => problem.help(format!("did you mean \"{word}\"?")),
        None => problem,
    })
}

fn socket(row: &Row, text: &str) -> Result<Checked, Problem> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        if address.port() != 0 {
            return Ok(Checked::Socket(address));
        }
        return Err(Problem::new(format!("`{}` needs a port", row.name()), "port 0 is no port"));
    }
    let problem = Problem::new(format!("`{}` is not usable", row.name()), "expected an IP address and a port");
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((_, port)) =
        text.rsplit_once(':').filter(|(host, port)| host.parse::<Ipv4Addr>().is_ok() && digits(port))
    {
        return Err(problem.help(format!("{port} is no port: they go from 1 to 65535")));
    }
    let example = row.shown().trim_matches('"');
    let port = example.rsplit_once(':').map_or("5060", |(_, port)| port);
    Err(match text.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => problem.help(format!("with a port: \"{}\"", SocketAddr::new(ip, port.parse().unwrap_or(5060)))),
        Err(_) => problem.help(
            "host names are not resolved here; write the address, such as \"192.0.2.1:5060\" or \"[2001:db8::1]:5060\"",
        ),
    })
}

fn host_port(text: &str) -> Option<Advertise> {
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Some(Advertise { host: ip.to_string(), port: None });
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(Advertise { host: address.ip().to_string(), port: Some(address.port()) });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok().filter(|&port: &u16| port != 0)?)),
        None => (text, None),
    };
    is_host(host).then(|| Advertise { host: host.to_owned(), port })
}

fn items(row: &Row, value: &DeValue<'_>) -> Result<Checked, Problem> {
    let Some(array) = value.as_array() else {
        let problem = wrong_type(row, value, "a list");
        return Err(match value.as_str() {
            Some(text) => problem.help(format!("in brackets: [{}]", quoted(text))),
            None => problem,
        });
    };
    if row.kind == Kind::Nets {
        return nets(row, array).map(Checked::Nets);
    }
    let (usable, expected): (fn(&str) -> bool, &str) = match row.kind {
        Kind::Hosts => {
            (|text| is_host(text) || text.parse::<IpAddr>().is_ok(), "expected a host name or an IP address")
        }
        Kind::Devices => (is_device, "expected the name of a network device, such as \"eth0\""),
        Kind::Codecs => (is_name, "expected a codec name, such as \"PCMU\""),
        Kind::Numbers => {
            (|text| !text.is_empty() && is_number(text), "expected digits, `*`, `#`, with or without a leading `+`")
        }
        _ => (is_number, "expected digits, with or without a leading `+`"),
    };
    let mut out: Vec<(String, Range<usize>)> = Vec::with_capacity(array.len());
    for item in array {
        let text = item_text(row, item)?;
        if !usable(text) {
            return Err(Problem::new(format!("`{}` is not usable", row.name()), expected).at(item.span()));
        }
        if out.iter().any(|(known, _)| known.eq_ignore_ascii_case(text)) {
            let message = format!("{} stands twice in `{}`", quoted(text), row.name());
            return Err(Problem::new(message, "again here").at(item.span()));
        }
        out.push((text.to_owned(), item.span()));
    }
    Ok(Checked::Texts(out))
}

fn nets(row: &Row, array: &DeArray<'_>) -> Result<Vec<Net>, Problem> {
    array
        .iter()
        .map(|item| {
            Net::parse(item_text(row, item)?)
                .map_err(|why| Problem::new(format!("`{}` is not usable", row.name()), why).at(item.span()))
        })
        .collect()
}

fn item_text<'v>(row: &Row, item: &'v Spanned<DeValue<'_>>) -> Result<&'v str, Problem> {
    let text = item.get_ref().as_str();
    text.ok_or_else(|| wrong_type(row, item.get_ref(), "a list of texts in quotes").at(item.span()))
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// As the kernel takes them: IFNAMSIZ.
fn is_device(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    (1..16).contains(&text.len()) && text.bytes().all(fits) && text != "." && text != ".."
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    text.len() <= 32 && digits.bytes().all(|byte| byte.is_ascii_digit() || b"*#".contains(&byte))
}

/// A host name (RFC 1123), not an address.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label) && !text.ends_with(|letter: char| letter.is_ascii_digit())
        || text.parse::<std::net::Ipv4Addr>().is_ok()
}

/// The known word that a typo most likely meant.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_ascii_lowercase();
    let far = (word.len() / 3).clamp(1, 3);
    known
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

impl fmt::Display for Checked {
    /// As TOML: the same value, the same text.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |texts: Vec<String>| format!("[{}]", texts.join(", "));
        match self {
            Self::Absent => out.write_str("\"\""),
            Self::Text(text) => out.write_str(&quoted(text)),
            Self::Bool(value) => write!(out, "{value}"),
            Self::Integer(value) => write!(out, "{value}"),
            Self::Auto => out.write_str("\"auto\""),
            Self::Span(span) => write!(out, "\"{}\"", span_text(*span)),
            Self::Size(bytes) => write!(out, "\"{}\"", size_text(*bytes)),
            Self::Socket(address) => write!(out, "\"{address}\""),
            Self::Ip(ip) => write!(out, "\"{ip}\""),
            Self::HostPort(Advertise { host, port }) => match port {
                Some(port) if host.contains(':') => write!(out, "\"[{host}]:{port}\""),
                Some(port) => write!(out, "\"{host}:{port}\""),
                None => write!(out, "\"{host}\""),
            },
            Self::Texts(texts) => out.write_str(&list(texts.iter().map(|(text, _)| quoted(text)).collect())),
            Self::Nets(nets) => out.write_str(&list(nets.iter().map(|net| format!("\"{net}\"")).collect())),
        }
    }
}

/// What a good value turns into; after an error, something harmless, since the configuration is thrown away.
impl Checked {
    pub fn text(self) -> String {
        if let Self::Text(text) = self { text } else { String::new() }
    }

    pub fn bool(self) -> bool {
        matches!(self, Self::Bool(true))
    }

    pub fn integer<T: TryFrom<u64> + Default>(self) -> T {
        if let Self::Integer(value) = self { T::try_from(value).unwrap_or_default() } else { T::default() }
    }

    /// `None` where the key may be missing and is.
    pub fn integer_if_any<T: TryFrom<u64> + Default>(self) -> Option<T> {
        if self == Self::Absent { None } else { Some(self.integer()) }
    }

    pub fn span(self) -> Duration {
        if let Self::Span(span) = self { span } else { Duration::ZERO }
    }

    pub fn size(self) -> u64 {
        if let Self::Size(bytes) = self { bytes } else { 0 }
    }

    pub fn socket(self) -> SocketAddr {
        if let Self::Socket(address) = self { address } else { SocketAddr::from(([0, 0, 0, 0], 0)) }
    }

    pub fn ip_if_any(self) -> Option<IpAddr> {
        if let Self::Ip(ip) = self { Some(ip) } else { None }
    }

    pub fn host_port_if_any(self) -> Option<Advertise> {
        if let Self::HostPort(advertise) = self { Some(advertise) } else { None }
    }

    pub fn text_if_any(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub fn texts(self) -> Vec<(String, Range<usize>)> {
        if let Self::Texts(texts) = self { texts } else { Vec::new() }
    }

    pub fn nets(self) -> Vec<Net> {
        if let Self::Nets(nets) = self { nets } else { Vec::new() }
    }
}
