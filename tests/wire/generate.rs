//! Well-formed messages from a seed, in all the ways the grammar allows one thing to be written, and what they say.

/// A small generator of numbers: the seed is the test case.
pub struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }

    pub fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    pub fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// How freely a message is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// All that RFC 3261 allows: folds, compact names, any case, lists on one line, odd octets in quotes, IPv6, any scheme.
    Free,
    /// The same without what `docs/parser-differences.md` lists as read differently by sipx-sip.
    Shared,
    /// What every parser reads: one value a line, usual names, names and IPv4 addresses as hosts.
    Plain,
}

/// A message and what it says.
#[derive(Debug, Default)]
pub struct Generated {
    pub bytes: Vec<u8>,
    pub request: bool,
    pub method: String,
    pub uri: String,
    pub status: u16,
    /// Host, port, branch.
    pub vias: Vec<(String, Option<u16>, String)>,
    pub from: Address,
    pub to: Address,
    pub call_id: String,
    pub cseq: u32,
    pub max_forwards: Option<u8>,
    pub contacts: Vec<Address>,
    pub routes: Vec<Address>,
    /// Name and value as written, in order.
    pub unknown: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub struct Address {
    pub uri: String,
    pub tag: Option<String>,
}

const HOSTS: &[&str] = &["example.com", "a", "192.0.2.7", "ss1.atlanta.example.com", "x-y.example.org"];
const FREE_HOSTS: &[&str] = &["[2001:db8::1]", "[::ffff:192.0.2.1]", "under_score.example"];
const USERS: &[&str] = &["alice", "+14085550100", "bob.smith", "1001"];
const FREE_USERS: &[&str] = &["user;par=u%40example.net", "a?b/c", "%00", "al%69ce:pass=word", "*67", "x&y=z$,"];
const METHODS: &[&str] = &["INVITE", "ACK", "BYE", "OPTIONS", "REGISTER", "SUBSCRIBE", "NOTIFY", "MESSAGE", "INFO"];

struct Writer {
    seed: Seeded,
    style: Style,
}

impl Writer {
    fn free(&self) -> bool {
        self.style != Style::Plain
    }

    fn pick(&mut self, plain: &[&str], free: &[&str]) -> String {
        if self.free() && self.seed.chance(3) { self.seed.one(free) } else { self.seed.one(plain) }.to_owned()
    }

    fn token(&mut self, length: usize) -> String {
        (0..length).map(|_| self.seed.one(&["a", "B", "7", "z", "0", "k", "-"])).collect()
    }

    fn uri(&mut self) -> String {
        if self.free() && self.seed.chance(6) {
            return self
                .seed
                .one(&["tel:+1-201-555-0123;phone-context=example.com", "urn:service:sos", "http://a.example/b"])
                .to_owned();
        }
        let mut uri = self.pick(&["sip:"], &["sips:", "SIP:"]);
        if !self.seed.chance(4) {
            uri += &self.pick(USERS, FREE_USERS);
            if self.style == Style::Free && self.seed.chance(6) {
                uri += "#31#";
            }
            uri += "@";
        }
        uri += &self.pick(HOSTS, FREE_HOSTS);
        if self.seed.chance(3) {
            uri += self.seed.one(&[":5060", ":1", ":65535"]);
        }
        for _ in 0..self.seed.below(3) {
            let param = self.pick(&[";transport=tcp", ";user=phone"], &[";lr", ";%6Dr", ";x=%20y", ";maddr=[::1]"]);
            if !uri.contains(&param) {
                uri += &param;
            }
        }
        uri
    }

    /// Blanks the grammar lets stand between two parts of a value.
    fn blank(&mut self) -> &'static str {
        if self.free() { self.seed.one(&["", "", "", " ", "\t", "\r\n ", " \r\n\t "]) } else { "" }
    }

    fn address(&mut self, tag: Option<&str>) -> (String, Address) {
        let uri = self.uri();
        let display = self.pick(
            &["", "\"Alice\" ", "Bob ", "\"A. B.\" "],
            &[
                "\"a \\\"q\\\" <x>, ;\\\\\"",
                "Two Words",
                "\"\u{65e5}\u{672c}\" ",
                "\"bell \\\x07\"",
                "\"fold\r\n here\"",
            ],
        );
        let bare = display.is_empty() && !uri.contains([';', ',', '?']) && self.seed.chance(2);
        let mut text = if bare { uri.clone() } else { format!("{display}<{uri}>") };
        for _ in 0..self.seed.below(2) {
            text += self.blank();
            text += self.seed.one(&[";x=y", ";q=0.5", ";flag", ";expires=60"]);
        }
        if let Some(tag) = tag {
            let name = if self.free() { self.seed.one(&["tag", "TAG", "Tag"]) } else { "tag" };
            text += &format!("{};{}{name}{}={}{tag}", self.blank(), self.blank(), self.blank(), self.blank());
        }
        (text, Address { uri, tag: tag.map(str::to_owned) })
    }

    fn via(&mut self) -> (String, (String, Option<u16>, String)) {
        let host = self.pick(HOSTS, FREE_HOSTS);
        let port = self.seed.chance(2).then(|| 1 + self.seed.below(65535) as u16);
        let branch = format!("z9hG4bK{}", self.token(8));
        let transport = self.pick(&["UDP", "TCP", "TLS"], &["SCTP", "UNKNOWN"]);
        let mut text = if self.free() && self.seed.chance(3) {
            format!("SIP{}/{}2.0{}/{}{transport} ", self.blank(), self.blank(), self.blank(), self.blank())
        } else {
            format!("SIP/2.0/{transport} ")
        };
        text += &host;
        if let Some(port) = port {
            let blank = if self.style == Style::Free { self.blank() } else { "" };
            text += &format!("{blank}:{blank}{port}");
        }
        if self.free() && self.seed.chance(3) {
            text +=
                self.seed.one(&[";rport", ";rport=7", ";received=192.0.2.1", ";received=2001:db8::9", ";x=\"a,;b\""]);
        }
        text += &format!("{};branch={}{branch}", self.blank(), self.blank());
        (text, (host, port, branch))
    }

    /// A header line with the name written in one of its ways.
    fn line(&mut self, name: &str, compact: &str, value: &str) -> String {
        if !self.free() {
            return format!("{name}: {value}\r\n");
        }
        let name = match self.seed.below(6) {
            0 if !compact.is_empty() => compact.to_owned(),
            1 if !compact.is_empty() => compact.to_uppercase(),
            2 => name.to_lowercase(),
            3 => name.to_uppercase(),
            _ => name.to_owned(),
        };
        let before = self.seed.one(&["", "", "", " ", "\t "]);
        let after = self.seed.one(&[" ", " ", " ", "", "  ", "\t", "\r\n ", " \r\n  "]);
        let end = self.seed.one(&["", "", "", " ", "\t", "\r\n "]);
        format!("{name}{before}:{after}{value}{end}\r\n")
    }

    /// Up to two addresses in brackets under a name, and their lines. A URI without brackets before a comma is one that several
    /// parsers read differently.
    fn addresses(&mut self, name: &str, compact: &str) -> (Vec<Address>, Vec<String>) {
        let mut texts = Vec::new();
        let mut addresses = Vec::new();
        for _ in 0..self.seed.below(3) {
            let (text, address) = self.address(None);
            if text.contains('<') {
                texts.push(text);
                addresses.push(address);
            }
        }
        let mut lines = Vec::new();
        self.list(name, compact, &texts, &mut lines);
        (addresses, lines)
    }

    /// List values, on one line or on several.
    fn list(&mut self, name: &str, compact: &str, values: &[String], lines: &mut Vec<String>) {
        if self.free() && values.len() > 1 && self.seed.chance(2) {
            let value = values.join(&format!("{},{}", self.blank(), self.blank()));
            lines.push(self.line(name, compact, &value));
        } else {
            for value in values {
                let line = self.line(name, compact, value);
                lines.push(line);
            }
        }
    }
}

/// The message of a seed.
pub fn generate(seed: u64, style: Style) -> Generated {
    let mut writer = Writer { seed: Seeded::new(seed), style };
    let mut message = Generated { request: !writer.seed.chance(3), ..Generated::default() };
    message.method = writer.pick(METHODS, &["FOO", "!odd-Method.1", "%49NVITE"]);
    let mut groups: Vec<Vec<String>> = Vec::new();
    let mut lines = Vec::new();

    let (vias, facts): (Vec<_>, Vec<_>) = (0..1 + writer.seed.below(3)).map(|_| writer.via()).unzip();
    message.vias = facts;
    writer.list("Via", "v", &vias, &mut lines);
    groups.push(lines);

    let from_tag = writer.token(6);
    let (text, address) = writer.address(Some(&from_tag));
    message.from = address;
    groups.push(vec![writer.line("From", "f", &text)]);
    let to_tag = writer.seed.chance(2).then(|| writer.token(5));
    let (text, address) = writer.address(to_tag.as_deref());
    message.to = address;
    groups.push(vec![writer.line("To", "t", &text)]);
    message.call_id = writer.pick(&["a84b4c76e66710@pc33.example.com", "1"], &["w.%ZK-!.*_+'@w`~)(><:\\/\"][?}{"]);
    groups.push(vec![writer.line("Call-ID", "i", &message.call_id)]);
    message.cseq = writer.seed.below(1 << 31) as u32;
    let blank = if writer.free() { writer.seed.one(&[" ", "  ", "\t", "\r\n "]) } else { " " };
    let cseq = format!("{}{blank}{}", message.cseq, message.method);
    groups.push(vec![writer.line("CSeq", "", &cseq)]);
    if message.request {
        let value = writer.seed.below(256) as u8;
        message.max_forwards = Some(value);
        groups.push(vec![writer.line("Max-Forwards", "", &value.to_string())]);
    }
    (message.contacts, lines) = writer.addresses("Contact", "m");
    groups.push(lines);
    (message.routes, lines) = writer.addresses("Route", "");
    groups.push(lines);
    for at in 0..writer.seed.below(4) {
        let name =
            writer.pick(&["X-Custom", "P-Extension"], &["x.odd~Name", "UnknownHeaderWithAVeryLongNameIndeedYes"]);
        let value =
            writer.pick(&["value", "a=b; c"], &[";;,,;;,;", "", "\u{e9}\u{4e16}", "\"open", "a\r\n  b", "a:b:c"]);
        message.unknown.push((format!("{name}-{at}"), value.clone()));
        groups.push(vec![format!("{name}-{at}: {value}\r\n")]);
    }
    if writer.seed.chance(2) {
        message.body = (0..writer.seed.below(80)).map(|_| writer.seed.below(256) as u8).collect();
        groups.push(vec![writer.line("Content-Type", "c", "application/octet-stream")]);
    }
    groups.push(vec![writer.line("Content-Length", "l", &message.body.len().to_string())]);

    shuffle(&mut writer.seed, &mut groups);
    message.uri = writer.uri();
    message.status = 100 + writer.seed.below(600) as u16;
    let first = match message.request {
        true => format!("{} {} SIP/2.0\r\n", message.method, message.uri),
        false => {
            format!("SIP/2.0 {} {}\r\n", message.status, writer.pick(&["OK", "Ringing"], &["", "Gr\u{fc}\u{df}e"]))
        }
    };
    message.bytes = first.into_bytes();
    message.bytes.extend(groups.concat().concat().into_bytes());
    message.bytes.extend_from_slice(b"\r\n");
    message.bytes.extend_from_slice(&message.body);
    message
}

/// Mixes the headers; unknown ones keep their order, so that it can be asserted.
fn shuffle(seed: &mut Seeded, groups: &mut [Vec<String>]) {
    let unknown = |group: &[String]| group.first().is_some_and(|line| line.starts_with(['X', 'P', 'x', 'U']));
    for at in (1..groups.len()).rev() {
        let other = seed.below(at + 1);
        if !unknown(&groups[at]) && !unknown(&groups[other]) {
            groups.swap(at, other);
        }
    }
}
