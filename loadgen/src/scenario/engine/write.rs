//! Writes a text: every keyword gets its value of this call and this moment.

use std::net::{IpAddr, SocketAddr};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::call::Call;
use super::header;
use super::shared::Shared;
use crate::core::digest::{Asked, Secret};
use crate::core::pattern::word as random_word;
use crate::core::{Context, Plan};
use crate::scenario::inject::Value as FieldValue;
use crate::scenario::text::{Key, Part, Text};

/// Keywords in the fields of a file of values may not name such fields again without end.
const DEPTH_MAX: usize = 4;
/// `[fill]` is for large messages, not for endless ones.
const FILL_MAX: f64 = 60_000.0;

/// One writing.
pub struct Pen<'a, 'c> {
    /// Whose.
    pub call: &'a mut Call,
    /// What all calls share.
    pub shared: &'a mut Shared,
    /// Time, randomness, figures.
    pub cx: &'a mut Context<'c>,
    /// Index of the command it is for.
    pub index: usize,
    lengths: Vec<(usize, i64)>,
    depth: usize,
}

impl<'a, 'c> Pen<'a, 'c> {
    /// For the command at `index`.
    pub fn new(call: &'a mut Call, shared: &'a mut Shared, cx: &'a mut Context<'c>, index: usize) -> Self {
        Self { call, shared, cx, index, lengths: Vec::new(), depth: 0 }
    }

    /// A message, `[len]` filled in.
    pub fn message(mut self, text: &Text) -> Vec<u8> {
        let mut out = Vec::with_capacity(768);
        self.write(text, &mut out);
        let length = header::body(&out).len() as i64;
        for (at, offset) in self.lengths.iter().rev() {
            let digits = (length + offset).to_string().into_bytes();
            out.splice(*at..*at, digits);
        }
        out
    }

    /// The value of an attribute.
    pub fn text(mut self, text: &Text) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(text, &mut out);
        out
    }

    fn write(&mut self, text: &Text, out: &mut Vec<u8>) {
        for part in &text.parts {
            match part {
                Part::Bytes(bytes) => out.extend_from_slice(bytes),
                Part::Key(key) => self.key(key, out),
                Part::Break => {
                    let line = out.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                    if out[line..].trim_ascii().is_empty() {
                        out.truncate(line);
                    } else {
                        out.extend_from_slice(b"\r\n");
                    }
                }
            }
        }
    }

    fn key(&mut self, key: &Key, out: &mut Vec<u8>) {
        let (call, env) = (&self.call, &self.shared.env);
        let text = match key {
            Key::Service => env.service.clone(),
            Key::RemoteIp => bracketed(call.remote.ip()),
            Key::RemoteHost => env.remote_host.clone().unwrap_or_else(|| bracketed(call.remote.ip())),
            Key::RemotePort(offset) => add(call.remote.port(), *offset),
            Key::LocalIp => bracketed(call.local.ip()),
            Key::LocalIpType => family(call.local).into(),
            Key::LocalPort(offset) => add(call.local.port(), *offset),
            Key::MediaIp => self.media().ip().to_string(),
            Key::MediaIpType => family(self.media()).into(),
            Key::MediaPort(offset) => add(self.media().port(), *offset),
            Key::AutoMediaPort(offset) => match call.media {
                Some(_) => add(self.media().port(), *offset),
                None => add(env.media_port, *offset + (4 * (call.number as i64 - 1)).rem_euclid(10_000)),
            },
            Key::Transport => self.cx.plan.transport.via_token().into(),
            Key::CallNumber(offset) => (call.number as i64 + offset).to_string(),
            Key::Cseq(offset) => (i64::from(call.cseq) + offset).to_string(),
            Key::Pid => env.pid.to_string(),
            Key::Branch(offset) => {
                format!("z9hG4bK-{}-{}-{}", env.pid, call.number, self.index as i64 + offset)
            }
            Key::MsgIndex => self.index.to_string(),
            Key::LastCseqNumber(offset) => (i64::from(call.last_cseq) + offset).to_string(),
            Key::Users => self.cx.plan.users.to_string(),
            Key::UserId => call.user.to_string(),
            Key::ClockTick => self.cx.now.since(self.shared.began).as_millis().to_string(),
            Key::DynamicId => self.shared.dynamic_id().to_string(),
            Key::Timestamp => timestamp(self.shared.wall(self.cx.now)),
            Key::Date => self.shared.wall(self.cx.now).format(&Rfc2822).unwrap_or_default().replace("+0000", "GMT"),
            _ => return self.longer(key, out),
        };
        out.extend_from_slice(text.as_bytes());
    }

    /// Keywords whose values are bytes of messages, variables or files.
    fn longer(&mut self, key: &Key, out: &mut Vec<u8>) {
        let call = &self.call;
        match key {
            Key::CallId => out.extend_from_slice(&call.call_id),
            Key::Len(offset) => self.lengths.push((out.len(), *offset)),
            Key::PeerTagParam if !call.peer_tag.is_empty() => {
                out.extend_from_slice(b";tag=");
                out.extend_from_slice(&call.peer_tag);
            }
            Key::Routes if !call.routes.is_empty() => {
                out.extend_from_slice(b"Route: ");
                out.extend_from_slice(&call.routes);
            }
            Key::NextUrl => out.extend_from_slice(&call.next_url),
            Key::LastMessage => out.extend_from_slice(call.last.as_deref().unwrap_or_default()),
            Key::LastRequestUri => {
                let to = call.last.as_deref().and_then(|last| header::joined(last, "To"));
                out.extend_from_slice(crate::core::scan::uri(&to.unwrap_or_default()));
            }
            Key::Last(name, value_alone) => {
                let Some(value) = call.last.as_deref().and_then(|last| header::joined(last, name)) else { return };
                if !value_alone {
                    out.extend_from_slice(name.as_bytes());
                    out.extend_from_slice(b": ");
                }
                out.extend_from_slice(&value);
            }
            Key::Variable(id) => out.extend_from_slice(&self.shared.store.get(&call.variables, call.user, *id).text()),
            Key::Fill(id, text) => {
                let length = self.shared.store.get(&call.variables, call.user, *id).number().unwrap_or(0.0);
                out.extend(text.bytes().cycle().take(length.clamp(0.0, FILL_MAX) as usize));
            }
            Key::Field { field, file, line } => self.field(*field, *file, line.as_ref(), out),
            Key::Authentication(user, password) => self.authentication(user.as_ref(), password.as_ref(), out),
            _ => {}
        }
    }

    fn media(&self) -> SocketAddr {
        let fixed = SocketAddr::new(self.shared.env.media_ip, self.shared.env.media_port);
        self.call.media.and_then(|port| self.shared.player.address(port)).unwrap_or(fixed)
    }

    /// A text inside a text, such as a parameter of a keyword.
    fn inner(&mut self, text: &Text) -> Vec<u8> {
        let mut out = Vec::new();
        if self.depth < DEPTH_MAX {
            self.depth += 1;
            self.write(text, &mut out);
            self.depth -= 1;
        }
        out
    }

    fn field(&mut self, field: usize, file: usize, line: Option<&Text>, out: &mut Vec<u8>) {
        let line = match line {
            Some(text) => {
                let text = self.inner(text);
                String::from_utf8_lossy(&text).trim().parse::<f64>().map_or(0, |line| line.max(0.0) as u64)
            }
            None => self.call.lines.get(file).copied().unwrap_or(0),
        };
        let env = self.shared.env.clone();
        let Some(injection) = env.injections.get(file) else { return };
        match injection.field(line, field) {
            Some(FieldValue::Bytes(bytes)) => out.extend_from_slice(&bytes),
            Some(FieldValue::Text(text)) if self.depth < DEPTH_MAX => {
                self.depth += 1;
                self.write(text, out);
                self.depth -= 1;
            }
            Some(FieldValue::Text(_)) => {}
            None => {
                let name = &injection.name;
                self.cx.stats.sample(|| format!("{name}: line {line} of its values has no field {field}"));
            }
        }
    }

    fn authentication(&mut self, user: Option<&Text>, password: Option<&Text>, out: &mut Vec<u8>) {
        let given = self.secret(user, password);
        let (method, uri) = (header::word(out, 0).to_vec(), header::word(out, 1).to_vec());
        let cnonce = random_word(self.cx.random);
        match (&mut self.call.challenge, given) {
            (Some(challenge), Some(secret)) => {
                let asked = Asked { method: &method, uri: &uri, cnonce: &cnonce };
                challenge.answer(&secret, asked, out);
                out.truncate(out.trim_ascii_end().len());
                self.cx.stats.counters.challenges_answered += 1;
            }
            (None, _) => self.cx.stats.sample(|| {
                "[authentication] stands for nothing: no <recv auth=\"true\"> got a challenge that can be answered"
                    .into()
            }),
            (_, None) => self.cx.stats.sample(|| {
                "[authentication] needs a password: --auth USER:PASSWORD, or [authentication username=… password=…]"
                    .into()
            }),
        }
    }

    fn secret(&mut self, user: Option<&Text>, password: Option<&Text>) -> Option<Secret> {
        let common = default_secret(self.cx.plan, self.call.user);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let user = user.map(|user| text(self.inner(user)));
        let password = password.map(|password| text(self.inner(password)));
        let service = || self.shared.env.service.clone();
        Some(Secret {
            user: user.or_else(|| common.as_ref().map(|common| common.user.clone())).unwrap_or_else(service),
            password: password.or_else(|| common.map(|common| common.password))?,
        })
    }
}

fn default_secret(plan: &Plan, user: u64) -> Option<Secret> {
    crate::core::message::secret(plan, user)
}

fn bracketed(ip: IpAddr) -> String {
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

fn family(address: SocketAddr) -> &'static str {
    if address.is_ipv4() { "4" } else { "6" }
}

fn add(port: u16, offset: i64) -> String {
    (i64::from(port) + offset).to_string()
}

/// As SIPp's logs write it: date, time and seconds since 1970.
fn timestamp(time: OffsetDateTime) -> String {
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    let (micros, unix) = (time.microsecond(), time.unix_timestamp());
    let month = u8::from(month);
    format!("{year}-{month:02}-{day:02}\t{hour:02}:{minute:02}:{second:02}.{micros:06}\t{unix}.{micros:06}")
}
