//! SIPp's own spelling of options, for command lines that are there already: `sipp -sf uac.xml 192.0.2.1 -r 10 -m 100`.
//!
//! Only `strowger-loadgen sipp …` is translated. What has no meaning here is said; what cannot be had is an error.

use crate::scenario::problem::instead;

/// What becomes of an option.
#[derive(Clone, Copy)]
enum Means {
    /// Another name, with so many values.
    Name(&'static str, usize),
    /// A time, in this unit where none is given.
    Time(&'static str, &'static str),
    /// Handled together with others.
    Joined,
    /// Nothing to be had by it here, with so many values.
    Nothing(usize),
    /// Not to be had; what to do instead.
    Refused(&'static str),
}

const OPTIONS: &[(&str, Means)] = &[
    ("-sf", Means::Name("--sf", 1)),
    ("-sn", Means::Refused("print the scenario to a file, sipp -sd NAME > NAME.xml, and run that")),
    ("-inf", Means::Name("--inf", 1)),
    ("-key", Means::Name("--key", 2)),
    ("-set", Means::Name("--set", 2)),
    ("-l", Means::Name("--concurrent", 1)),
    ("-m", Means::Name("--calls", 1)),
    ("-s", Means::Name("--service", 1)),
    ("-aa", Means::Name("--auto-answer", 0)),
    ("-nd", Means::Name("--no-defaults", 0)),
    ("-nr", Means::Name("--no-retransmit", 0)),
    ("-mp", Means::Name("--media-port", 1)),
    ("-mi", Means::Name("--media-ip", 1)),
    ("-rtp_echo", Means::Name("--rtp-echo", 0)),
    ("-base_cseq", Means::Name("--base-cseq", 1)),
    ("-max_retrans", Means::Name("--retransmissions", 1)),
    ("-pause_msg_ign", Means::Name("--ignore-in-pauses", 0)),
    ("-d", Means::Time("--pause", "ms")),
    ("-recv_timeout", Means::Time("--receive-timeout", "ms")),
    ("-timeout", Means::Time("--timeout", "s")),
    ("-r", Means::Joined),
    ("-rp", Means::Joined),
    ("-i", Means::Joined),
    ("-p", Means::Name("--port", 1)),
    ("-t", Means::Joined),
    ("-au", Means::Joined),
    ("-ap", Means::Joined),
    ("-users", Means::Refused("keep N calls up with --concurrent N, and number users with --users N")),
    ("-3pcc", Means::Refused("third-party call control is not supported")),
    ("-oocsf", Means::Refused("requests outside calls are answered by themselves")),
    ("-oocsn", Means::Refused("requests outside calls are answered by themselves")),
    ("-rate_increase", Means::Refused("the rate of a run is fixed")),
    ("-bg", Means::Refused("put it into the background with the shell")),
    ("-nostdin", Means::Nothing(0)),
    ("-skip_rlimit", Means::Nothing(0)),
    ("-bind_local", Means::Nothing(0)),
    ("-trace_err", Means::Nothing(0)),
    ("-trace_stat", Means::Nothing(0)),
    ("-trace_logs", Means::Nothing(0)),
    ("-trace_screen", Means::Nothing(0)),
    ("-trace_counts", Means::Nothing(0)),
    ("-trace_rtt", Means::Nothing(0)),
    ("-trace_msg", Means::Nothing(0)),
    ("-trace_shortmsg", Means::Nothing(0)),
    ("-trace_error_codes", Means::Nothing(0)),
    ("-f", Means::Nothing(1)),
    ("-fd", Means::Nothing(1)),
    ("-max_socket", Means::Nothing(1)),
    ("-watchdog_interval", Means::Nothing(1)),
];

#[derive(Default)]
struct Joined {
    rate: Option<String>,
    period: Option<String>,
    ip: Option<String>,
    transport: Option<String>,
    user: Option<String>,
    password: Option<String>,
}

/// The arguments as clap reads them, and what has no effect.
pub fn translate(arguments: Vec<String>) -> Result<(Vec<String>, Vec<String>), String> {
    if arguments.get(1).map(String::as_str) != Some("sipp") {
        return Ok((arguments, Vec::new()));
    }
    let (mut out, mut notes, mut joined) = (arguments[..2].to_vec(), Vec::new(), Joined::default());
    let mut words = arguments.into_iter().skip(2);
    while let Some(word) = words.next() {
        let is_ours = !word.starts_with('-') || word.starts_with("--") || matches!(&*word, "-h" | "-q" | "-V");
        if is_ours {
            out.push(word);
            continue;
        }
        let Some((_, means)) = OPTIONS.iter().find(|(name, _)| *name == word) else {
            let known: Vec<&str> = OPTIONS.iter().map(|option| option.0).collect();
            let meant = instead(&word, &known);
            let meant = if meant.starts_with("; did") { meant } else { String::new() };
            return Err(format!(
                "{word} has no counterpart here{meant}; strowger-loadgen sipp --help lists what there is"
            ));
        };
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match means {
            Means::Name(name, count) => {
                out.push((*name).to_string());
                for _ in 0..*count {
                    out.push(value()?);
                }
            }
            Means::Time(name, unit) => {
                let time = value()?;
                out.push((*name).to_string());
                out.push(with_unit(time, unit));
            }
            Means::Joined => {
                let value = value()?;
                joined.keep(&word, value);
            }
            Means::Nothing(count) => {
                for _ in 0..*count {
                    value()?;
                }
                notes.push(format!("{word} has no effect here"));
            }
            Means::Refused(instead) => return Err(format!("{word}: {instead}")),
        }
    }
    joined.give(&mut out)?;
    Ok((out, notes))
}

fn with_unit(time: String, unit: &str) -> String {
    if time.ends_with(|c: char| c.is_ascii_digit()) { time + unit } else { time }
}

impl Joined {
    fn keep(&mut self, word: &str, value: String) {
        let place = match word {
            "-r" => &mut self.rate,
            "-rp" => &mut self.period,
            "-i" => &mut self.ip,
            "-t" => &mut self.transport,
            "-au" => &mut self.user,
            _ => &mut self.password,
        };
        *place = Some(value);
    }

    fn give(self, out: &mut Vec<String>) -> Result<(), String> {
        let mut push = |name: &str, value: String| out.extend([name.to_string(), value]);
        match (self.rate, self.period) {
            (rate, Some(period)) => {
                let rate = rate.unwrap_or_else(|| "10".into());
                let number: f64 = rate.parse().map_err(|_| format!("-r {rate} is no number"))?;
                let period = crate::units::duration(&with_unit(period, "ms")).map_err(|why| format!("-rp: {why}"))?;
                push("--rate", format!("{:.6}", number / period.as_secs_f64().max(1e-9)));
            }
            (Some(rate), None) => push("--rate", rate),
            (None, None) => {}
        }
        if let Some(ip) = self.ip {
            push("--bind", ip.trim_matches(['[', ']']).to_string());
        }
        match self.transport.as_deref() {
            None => {}
            Some("u1") => push("--transport", "udp".into()),
            Some("t1") => push("--transport", "tcp".into()),
            Some(other) => {
                return Err(format!("-t {other} is not supported: use u1 or t1, and --sources N for more sockets"));
            }
        }
        match (self.user, self.password) {
            (None, None) => {}
            (Some(user), Some(password)) => push("--auth", format!("{user}:{password}")),
            _ => return Err("-au and -ap go together: a user and its password".into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_string).collect()
    }

    #[test]
    fn a_line_for_sipp_is_understood() {
        let line = "x sipp -sf uac.xml 10.0.0.1:5060 -r 7 -rp 2000 -l 9 -m 5 -key a b -d 500 -i ::1 -p 9 -t t1 -au u -ap p -nostdin";
        let (out, notes) = translate(words(line)).unwrap();
        let expected = "x sipp --sf uac.xml 10.0.0.1:5060 --concurrent 9 --calls 5 --key a b --pause 500ms --port 9 \
            --rate 3.500000 --bind ::1 --transport tcp --auth u:p";
        assert_eq!(out, words(expected));
        assert_eq!(notes, ["-nostdin has no effect here"]);
    }

    #[test]
    fn what_cannot_be_had_is_said() {
        let error = |line: &str| translate(words(line)).unwrap_err();
        assert!(error("x sipp -sn uac").contains("sipp -sd NAME"));
        assert!(error("x sipp -bse_cseq 3").contains("did you mean -base_cseq?"));
        assert!(error("x sipp -m").contains("needs a value"));
        assert!(error("x sipp -t un").contains("--sources"));
        assert!(error("x sipp -au x").contains("go together"));
        assert!(error("x sipp -rp 1x").contains("-rp:"));
    }

    #[test]
    fn other_commands_are_left_alone() {
        assert_eq!(translate(words("x calls -q")).unwrap().0, words("x calls -q"));
    }
}
