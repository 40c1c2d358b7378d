//! The words in square brackets: which there are, and how one is read.

use super::problem::instead;
use super::text::Key;
use super::variable::Variables;

/// Reads a file named in a scenario.
pub type Load<'a> = dyn Fn(&str) -> Result<Vec<u8>, String> + 'a;

/// What keywords may name.
pub struct Words<'a> {
    /// Variables so far.
    pub variables: &'a mut Variables,
    /// `--key`.
    pub keys: &'a [(String, String)],
    /// `--inf`, by name.
    pub files: &'a [String],
    /// Reads `[file name=]`.
    pub load: &'a Load<'a>,
}

/// A keyword as it is written: a text in its parameters is still to be read.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// Known already.
    Bytes(Vec<u8>),
    /// Without a text in it.
    Key(Key),
    /// `[fieldN file= line=]`
    Field {
        /// Which field.
        field: usize,
        /// Which injection file.
        file: usize,
        /// Which line.
        line: Option<String>,
    },
    /// `[authentication username= password=]`
    Authentication {
        /// Who.
        user: Option<String>,
        /// Their password.
        password: Option<String>,
    },
}

const PLAIN: [(&str, Key); 22] = [
    ("service", Key::Service),
    ("remote_ip", Key::RemoteIp),
    ("remote_host", Key::RemoteHost),
    ("local_ip", Key::LocalIp),
    ("server_ip", Key::LocalIp),
    ("local_ip_type", Key::LocalIpType),
    ("media_ip", Key::MediaIp),
    ("media_ip_type", Key::MediaIpType),
    ("transport", Key::Transport),
    ("call_id", Key::CallId),
    ("pid", Key::Pid),
    ("msg_index", Key::MsgIndex),
    ("last_message", Key::LastMessage),
    ("last_Request_URI", Key::LastRequestUri),
    ("peer_tag_param", Key::PeerTagParam),
    ("routes", Key::Routes),
    ("next_url", Key::NextUrl),
    ("timestamp", Key::Timestamp),
    ("date", Key::Date),
    ("clock_tick", Key::ClockTick),
    ("dynamic_id", Key::DynamicId),
    ("users", Key::Users),
];
/// A keyword that takes an offset, and how it is made with one.
type Counted = (&'static str, fn(i64) -> Key);

const COUNTED: [Counted; 10] = [
    ("remote_port", Key::RemotePort),
    ("local_port", Key::LocalPort),
    ("media_port", Key::MediaPort),
    ("rtpstream_audio_port", Key::MediaPort),
    ("auto_media_port", Key::AutoMediaPort),
    ("call_number", Key::CallNumber),
    ("cseq", Key::Cseq),
    ("len", Key::Len),
    ("branch", Key::Branch),
    ("last_cseq_number", Key::LastCseqNumber),
];
const WITH_PARAMETERS: [&str; 6] = ["field0", "authentication", "fill", "file", "userid", "sipp_version"];
/// SIPp has them, we do not.
const REFUSED: [&str; 4] = ["tdmmap", "rtpstream_video_port", "cryptotag", "cryptokeyparams"];

/// Reads what stands between the brackets.
pub fn read(content: &str, words: &mut Words<'_>) -> Result<Word, String> {
    let content = content.trim();
    let (name, parameters) = content.split_at(content.find(char::is_whitespace).unwrap_or(content.len()));
    if let Some((_, value)) = words.keys.iter().find(|(key, _)| key == name) {
        return Ok(Word::Bytes(value.clone().into_bytes()));
    }
    if let Some(variable) = name.strip_prefix('$') {
        let variable = Variables::check(variable)?;
        return Ok(Word::Key(Key::Variable(words.variables.read(variable))));
    }
    if let Some((_, key)) = PLAIN.iter().find(|(known, _)| *known == name) {
        return Ok(Word::Key(key.clone()));
    }
    let (base, offset) = split_offset(name);
    if let Some((_, make)) = COUNTED.iter().find(|(known, _)| *known == base) {
        return Ok(Word::Key(make(offset)));
    }
    if let Some(header) = name.strip_prefix("last_").filter(|header| is_header(header)) {
        let (header, value_alone) = match header.strip_suffix(".value") {
            Some(header) => (header, true),
            None => (header, false),
        };
        return Ok(Word::Key(Key::Last(header.trim_end_matches(':').to_string(), value_alone)));
    }
    if let Some(number) = name.strip_prefix("field").and_then(|digits| digits.parse().ok()) {
        return field(number, parameters, words);
    }
    with_parameters(name, parameters, words)
}

fn with_parameters(name: &str, parameters: &str, words: &mut Words<'_>) -> Result<Word, String> {
    match name {
        "userid" => Ok(Word::Key(Key::UserId)),
        "sipp_version" => Ok(Word::Bytes(concat!("strowger-loadgen/", env!("CARGO_PKG_VERSION")).into())),
        "authentication" => {
            let given = read_parameters(name, parameters, &["username", "password"])?;
            let text = |name| find(&given, name).map(unquote);
            Ok(Word::Authentication { user: text("username"), password: text("password") })
        }
        "fill" => {
            let given = read_parameters(name, parameters, &["variable", "text"])?;
            let variable = find(&given, "variable").ok_or("[fill] needs variable=NAME: how long it is")?;
            let variable = Variables::check(variable.trim_start_matches('$'))?;
            let text = find(&given, "text").filter(|text| !text.is_empty()).unwrap_or("X").to_string();
            Ok(Word::Key(Key::Fill(words.variables.read(variable), text)))
        }
        "file" => {
            let given = read_parameters(name, parameters, &["name"])?;
            let file = find(&given, "name").ok_or("[file] needs name=FILE")?;
            (words.load)(file).map(Word::Bytes)
        }
        _ if REFUSED.iter().any(|refused| name.starts_with(refused)) => Err(format!("[{name}] is not supported")),
        _ => {
            let known: Vec<&str> = PLAIN.iter().map(|row| row.0).chain(COUNTED.iter().map(|row| row.0)).collect();
            let known = [&known[..], &WITH_PARAMETERS[..]].concat();
            let meant = instead(name, &known);
            let meant = if meant.starts_with("; did") { meant } else { String::new() };
            Err(format!(
                "[{name}] is no keyword{meant}; give one of your own its value with --key {name} VALUE, and write \\x5b \
                 for a plain '['"
            ))
        }
    }
}

fn field(field: usize, parameters: &str, words: &Words<'_>) -> Result<Word, String> {
    let given = read_parameters("field", parameters, &["file", "line"])?;
    if words.files.is_empty() {
        return Err(format!("[field{field}] needs a file of values: --inf FILE"));
    }
    let file = match find(&given, "file") {
        None => 0,
        Some(name) => words.files.iter().position(|file| same_file(file, name)).ok_or_else(|| {
            let known: Vec<&str> = words.files.iter().map(String::as_str).collect();
            format!("[field{field}]: no --inf {name} was given{}", instead(name, &known))
        })?,
    };
    Ok(Word::Field { field, file, line: find(&given, "line").map(unquote) })
}

/// The name as given to `--inf`, or the last part of its path.
fn same_file(given: &str, name: &str) -> bool {
    given == name || given.rsplit('/').next() == Some(name.rsplit('/').next().unwrap_or(name))
}

fn is_header(name: &str) -> bool {
    let name = name.trim_end_matches(".value").trim_end_matches(':');
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && name != "message"
}

/// `port+3` is `port` and 3, `branch-4` is `branch` and -4.
fn split_offset(name: &str) -> (&str, i64) {
    let Some(at) = name.rfind(['+', '-']) else { return (name, 0) };
    match name[at + 1..].parse::<i32>() {
        Ok(number) if name.as_bytes()[at] == b'-' => (&name[..at], -i64::from(number)),
        Ok(number) => (&name[..at], i64::from(number)),
        Err(_) => (name, 0),
    }
}

fn find<'a>(given: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    given.iter().find(|(known, _)| *known == name).map(|&(_, value)| value)
}

/// A value inside an attribute's quotes has its own quotes escaped.
fn unquote(value: &str) -> String {
    value.replace("\\\"", "\"").trim_matches('"').to_string()
}

/// `name=value name="value"`; a value may hold brackets with blanks in them.
fn read_parameters<'a>(word: &str, text: &'a str, known: &[&str]) -> Result<Vec<(&'a str, &'a str)>, String> {
    let (mut out, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        let Some((name, after)) = rest.split_once('=') else {
            return Err(format!("[{word}]: '{rest}' is no parameter; write NAME=VALUE"));
        };
        let name = name.trim();
        if !known.contains(&name) {
            return Err(format!("[{word}] has no parameter {name}{}", instead(name, known)));
        }
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"').or_else(|| after.strip_prefix("\\\"")) {
            Some(quoted) => {
                let end = quoted.find('"').unwrap_or(quoted.len());
                (quoted[..end].trim_end_matches('\\'), quoted.get(end + 1..).unwrap_or_default())
            }
            None => after.split_at(value_end(after)),
        };
        out.push((name, value));
        rest = next.trim_start();
    }
    Ok(out)
}

/// Up to the first blank outside brackets.
fn value_end(text: &str) -> usize {
    let mut depth = 0;
    let end = text.char_indices().find(|&(_, c)| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        depth <= 0 && c.is_whitespace()
    });
    end.map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_taken_off_the_end() {
        assert_eq!(split_offset("branch-4"), ("branch", -4));
        assert_eq!(split_offset("remote_port+3"), ("remote_port", 3));
        assert_eq!(split_offset("X-Header"), ("X-Header", 0));
    }

    #[test]
    fn parameters_may_be_quoted_or_hold_brackets() {
        let read = |text| read_parameters("w", text, &["a", "b"]).unwrap();
        assert_eq!(read(" a=1 b=\"x y\""), [("a", "1"), ("b", "x y")]);
        assert_eq!(read("a=[field0 line=2] b=\\\"q\\\""), [("a", "[field0 line=2]"), ("b", "q")]);
        assert!(read_parameters("w", "aa=1", &["a"]).unwrap_err().contains("did you mean a?"));
        assert!(read_parameters("w", "a", &["a"]).unwrap_err().contains("NAME=VALUE"));
    }
}
