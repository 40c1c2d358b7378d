//! Flow files: a conversation as data. `tests/flows/README.md` says how they are written.

use std::time::Duration;

/// A whole file.
#[derive(Debug, Default)]
pub struct Script {
    /// What it shows.
    pub title: String,
    /// Phones and trunks.
    pub cast: Vec<Member>,
    /// Settings added to an account's or the whole configuration.
    pub settings: Vec<(Option<String>, String)>,
    /// What happens.
    pub steps: Vec<Step>,
}

/// Who takes part.
#[derive(Debug)]
pub struct Member {
    pub name: String,
    /// The account it registers with; none for a trunk.
    pub account: Option<String>,
    pub tcp: bool,
    pub v6: bool,
    pub nat: bool,
    pub password: Option<String>,
    /// User and password that a trunk demands of callers.
    pub challenge: Option<(String, String)>,
    /// TOML lines of a trunk.
    pub more: String,
}

/// One action and what must be seen because of it.
#[derive(Debug)]
pub struct Step {
    pub line: usize,
    pub words: Vec<String>,
    pub wanted: Vec<Wanted>,
}

/// A message that must be seen.
#[derive(Debug)]
pub struct Wanted {
    pub line: usize,
    pub who: String,
    /// Left (true) or reached that phone.
    pub sent: bool,
    /// Where messages get lost, this one may be missing: nothing repeats a provisional answer.
    pub may_be_lost: bool,
    /// It may be missing anywhere: it depends on which shard is asked.
    pub may_be_missing: bool,
    /// Method, or status and CSeq method.
    pub what: Vec<String>,
    /// Header name (or `uri`, `body`, `reason`) and pattern.
    pub lines: Vec<(String, String)>,
}

impl Script {
    /// Reads a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut script = Self::default();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let body = line.split(" # ").next().unwrap_or("").trim_end();
            let depth = body.len() - body.trim_start().len();
            let body = body.trim_start();
            if body.is_empty() || body.starts_with('#') {
                continue;
            }
            script.line(number, depth, body).map_err(|why| format!("line {number}: {why}: {line}"))?;
        }
        if script.title.is_empty() || script.steps.is_empty() {
            return Err("a flow needs a title and steps".to_owned());
        }
        Ok(script)
    }

    fn line(&mut self, number: usize, depth: usize, body: &str) -> Result<(), String> {
        match depth {
            0 => self.head_or_step(number, body),
            2 => {
                let step = self.steps.last_mut().ok_or("no action above")?;
                step.wanted.push(wanted(number, body)?);
                Ok(())
            }
            4 => {
                let above = self.steps.last_mut().and_then(|step| step.wanted.last_mut()).ok_or("no message above")?;
                let (name, pattern) = body.split_once(':').ok_or("no colon")?;
                above.lines.push((name.trim().to_owned(), pattern.trim().to_owned()));
                Ok(())
            }
            _ => Err("indent by 0, 2 or 4".to_owned()),
        }
    }

    fn head_or_step(&mut self, number: usize, body: &str) -> Result<(), String> {
        let words: Vec<String> = body.split_whitespace().map(str::to_owned).collect();
        match words[0].as_str() {
            "title" => self.title = body["title".len()..].trim().to_owned(),
            "phone" | "trunk" => self.cast.push(member(&words)?),
            "account" => {
                let name = words.get(1).ok_or("which account?")?;
                let rest = body.splitn(3, ' ').nth(2).ok_or("which setting?")?;
                self.settings.push((Some(name.clone()), rest.to_owned()));
            }
            "|" => self.settings.push((None, body[1..].trim().to_owned())),
            _ => self.steps.push(Step { line: number, words, wanted: Vec::new() }),
        }
        Ok(())
    }
}

fn member(words: &[String]) -> Result<Member, String> {
    let name = words.get(1).ok_or("which name?")?.clone();
    let mut member = Member {
        account: None,
        tcp: false,
        v6: false,
        nat: false,
        password: None,
        challenge: None,
        more: String::new(),
        name,
    };
    if words[0] == "phone" {
        member.account = Some(member.name.clone());
    }
    for word in &words[2..] {
        match word.split_once('=') {
            None if word == "tcp" => member.tcp = true,
            None if word == "v6" => member.v6 = true,
            None if word == "nat" => member.nat = true,
            Some((key, value)) if words[0] == "trunk" => {
                if let ("challenge", Some(login)) = (key, value.split_once(':')) {
                    member.challenge = Some((login.0.to_owned(), login.1.to_owned()));
                } else {
                    member.more.push_str(&format!("{key} = {value}\n"));
                }
            }
            Some(("account", account)) => member.account = Some(account.to_owned()),
            Some(("password", password)) => member.password = Some(password.to_owned()),
            _ => return Err(format!("what is {word:?}?")),
        }
    }
    Ok(member)
}

fn wanted(line: usize, body: &str) -> Result<Wanted, String> {
    let mut words = body.split_whitespace();
    let who = words.next().ok_or("who?")?.to_owned();
    let (sent, may_be_lost, may_be_missing) = match words.next() {
        Some("->") => (true, false, false),
        Some("<-") => (false, false, false),
        Some("<-?") => (false, true, false),
        Some("<-~") => (false, true, true),
        other => return Err(format!("-> or <- or <-? or <-~, not {other:?}")),
    };
    let what: Vec<String> = words.map(str::to_owned).collect();
    if what.is_empty() {
        Err("which message?".to_owned())
    } else {
        Ok(Wanted { line, who, sent, may_be_lost, may_be_missing, what, lines: Vec::new() })
    }
}

/// `2s`, `500ms`.
pub fn duration(word: &str) -> Result<Duration, String> {
    let (number, unit) = word.split_at(word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len()));
    let number: u64 = number.parse().map_err(|_| format!("{word:?} is no duration"))?;
    match unit {
        "s" => Ok(Duration::from_secs(number)),
        "ms" => Ok(Duration::from_millis(number)),
        _ => Err(format!("{word:?} has no unit")),
    }
}
