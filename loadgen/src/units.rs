//! Numbers as people write them: durations and percentages carry their unit, a bare number for one is an error.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// `30s`, `500ms`, `20us`, `2m`, `1h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "" => return Err(format!("'{text}' has no unit: write {text}s, {text}ms or {text}m")),
        other => return Err(format!("'{other}' is no unit of time: use us, ms, s, m or h")),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| format!("'{text}' is too long"))
}

/// `1ms`, or `off` for none; not so long that messages are sent again meanwhile.
pub fn tick(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_millis(100);
    match text {
        "off" => Ok(Duration::ZERO),
        _ => duration(text).and_then(|tick| match tick {
            Duration::ZERO => Err("ticks of no length: write off".into()),
            _ if tick > LONGEST => {
                Err(format!("'{text}' is too long: at most 100ms, or messages are sent again meanwhile"))
            }
            _ => Ok(tick),
        }),
    }
}

/// `0.1%`.
pub fn percent(text: &str) -> Result<f64, String> {
    match split(text)? {
        (number, "%") if number <= 100.0 => Ok(number),
        (_, "") => Err(format!("'{text}' has no unit: write {text}%")),
        _ => Err(format!("'{text}' is not a percentage")),
    }
}

/// A positive number of arrivals per second.
pub fn rate(text: &str) -> Result<f64, String> {
    let text = text.strip_suffix("/s").unwrap_or(text);
    match split(text)? {
        (number, "") if number > 0.0 => Ok(number),
        _ => Err(format!("'{text}' is not a rate: write a number above 0, per second")),
    }
}

/// `10000-19999`.
pub fn ports(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("'{text}' is not a range of ports: write 10000-19999");
    let (low, high) = text.split_once('-').ok_or_else(wrong)?;
    let (low, high) = (low.trim().parse::<u16>(), high.trim().parse::<u16>());
    match (low, high) {
        (Ok(low), Ok(high)) if low > 0 && low <= high => Ok((low, high)),
        _ => Err(wrong()),
    }
}

/// `192.0.2.1`, `192.0.2.1:5060`, `::1`, `[::1]:5060`; port 0 where there is none.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let alone = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    alone
        .or_else(|_| text.parse())
        .map_err(|_| format!("'{text}' is not an address: write 192.0.2.1 or 192.0.2.1:5060"))
}

/// One address, or a range of them, and the first port; 0 where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The first address, and the first port.
    pub first: SocketAddr,
    /// How many there are.
    pub count: u16,
}

impl Addresses {
    /// Most addresses in a range.
    const MAX: u128 = 10_000;

    /// Reads `192.0.2.1`, `192.0.2.1:5060`, `192.0.2.1-192.0.2.20`, `192.0.2.1-192.0.2.20:5060`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((first, last)) = text.split_once('-') else {
            return address(text).map(|first| Self { first, count: 1 });
        };
        let wrong =
            || format!("'{text}' is not a range of addresses: write 127.0.0.2-127.0.0.50 or 127.0.0.2-127.0.0.50:5060");
        let first: IpAddr = first.parse().map_err(|_| wrong())?;
        let last = address(last).map_err(|_| wrong())?;
        let number = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => u128::from(u32::from(ip)),
            IpAddr::V6(ip) => u128::from(ip),
        };
        let count = number(last.ip()).checked_sub(number(first)).map(|more| more + 1);
        let count = count.filter(|&count| count <= Self::MAX && first.is_ipv4() == last.is_ipv4()).ok_or_else(wrong)?;
        Ok(Self { first: SocketAddr::new(first, last.port()), count: count as u16 })
    }

    /// The address number `index`, in turn.
    pub fn ip(&self, index: usize) -> IpAddr {
        let ahead = (index % usize::from(self.count)) as u32;
        match self.first.ip() {
            IpAddr::V4(ip) => IpAddr::V4((u32::from(ip) + ahead).into()),
            IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) + u128::from(ahead)).into()),
        }
    }

    /// The local end of source number `index`: address after address, and then the next port on each.
    pub fn source(&self, index: usize) -> Option<SocketAddr> {
        let (port, ip) = (index / usize::from(self.count), self.ip(index));
        let port = match self.first.port() {
            0 => 0,
            first => u16::try_from(usize::from(first) + port).ok()?,
        };
        Some(SocketAddr::new(ip, port))
    }
}

/// The number in front and what follows it.
pub fn split(text: &str) -> Result<(f64, &str), String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..end].parse::<f64>().map_err(|_| format!("'{text}' does not begin with a number"))?;
    Ok((number, text[end..].trim()))
}

/// A count with a comma between thousands.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A duration in the unit that suits it.
pub fn human(nanos: f64) -> String {
    match nanos {
        nanos if nanos < 1e3 => format!("{nanos:.0}ns"),
        nanos if nanos < 1e6 => format!("{:.0}us", nanos / 1e3),
        nanos if nanos < 1e9 => format!("{:.2}ms", nanos / 1e6),
        _ => format!("{:.2}s", nanos / 1e9),
    }
}

/// `1 thread`, `2 threads`.
pub fn threads(count: u8) -> String {
    format!("{count} thread{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_have_a_length_or_are_off() {
        assert_eq!((tick("off"), tick("1ms")), (Ok(Duration::ZERO), Ok(Duration::from_millis(1))));
        for (text, word) in [("0ms", "off"), ("2s", "100ms"), ("5", "unit")] {
            let error = tick(text).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn units_are_asked_for() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("20 ms"), Ok(Duration::from_millis(20)));
        assert!(duration("30").unwrap_err().contains("30s"));
        assert!(duration("x").is_err() && duration("1 year").is_err() && duration("1e30s").is_err());
        assert_eq!((percent("0.1%"), rate("2.5/s")), (Ok(0.1), Ok(2.5)));
        assert!(percent("1").is_err() && percent("101%").is_err() && rate("0").is_err() && rate("-1").is_err());
        assert_eq!(ports("2-65535"), Ok((2, 65535)));
        assert_eq!(address("::1").map(|address| address.to_string()), Ok("[::1]:0".into()));
        assert!(address("[::1]:5060").is_ok() && address("localhost").is_err());
        let range = |text| Addresses::parse(text).unwrap();
        let source = |text, index| range(text).source(index).map(|source| source.to_string());
        assert_eq!(source("127.0.0.250-127.0.1.5:5060", 6), Some("127.0.1.0:5060".into()));
        assert_eq!(source("127.0.0.1-127.0.0.2:5060", 5), Some("127.0.0.2:5062".into()));
        assert_eq!((source("::1-::3", 4), range("::1-::3").count), (Some("[::2]:0".into()), 3));
        assert_eq!((source("127.0.0.1:65535", 1), source("127.0.0.1", 9)), (None, Some("127.0.0.1:0".into())));
        assert!(
            ["127.0.0.2-127.0.0.1", "127.0.0.1-::1", "10.0.0.0-11.0.0.0", "1-2"]
                .map(Addresses::parse)
                .iter()
                .all(Result::is_err)
        );
        assert!(ports("9-2").is_err() && ports("1").is_err() && ports("1-70000").is_err());
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((human(999.0), human(1.5e6), human(2e9)), ("999ns".into(), "1.50ms".into(), "2.00s".into()));
    }
}
