//! What two phones must remember of each other to go on talking (RFC 3261 §12), the plain way.

use super::text::{Text, uri_of};
use std::net::{IpAddr, SocketAddr};

/// Port of SIP where a URI names none (RFC 3261 §19.1.2).
const DEFAULT_PORT: u16 = 5060;

/// One side's view.
#[derive(Clone, Debug, Default)]
pub(super) struct Dialog {
    pub call_id: String,
    /// Our From value when we ask, tag included.
    pub local: String,
    /// Our To value when we ask.
    pub remote: String,
    /// The peer's Contact URI.
    pub target: String,
    pub routes: Vec<String>,
    /// The last number we used.
    pub cseq: u32,
    /// The last number the peer used.
    pub remote_cseq: Option<u32>,
}

impl Dialog {
    /// Of the side that sent `request` and got `response` (RFC 3261 §12.1.2).
    pub fn of_caller(request: &Text, response: &Text) -> Self {
        let mut routes: Vec<String> = response.all("Record-Route").map(str::to_owned).collect();
        routes.reverse();
        Self {
            call_id: request.call_id().to_owned(),
            local: request.get("From").unwrap_or("").to_owned(),
            remote: response.get("To").unwrap_or("").to_owned(),
            target: response.all("Contact").next().map_or(request.uri().unwrap_or(""), uri_of).to_owned(),
            routes,
            cseq: request.cseq().map_or(1, |(number, _)| number),
            remote_cseq: None,
        }
    }

    /// Of the side that got `request` and gave it `tag` (RFC 3261 §12.1.1).
    pub fn of_callee(request: &Text, tag: &str) -> Self {
        Self {
            call_id: request.call_id().to_owned(),
            local: format!("{};tag={tag}", request.get("To").unwrap_or("")),
            remote: request.get("From").unwrap_or("").to_owned(),
            target: request.all("Contact").next().map_or("", uri_of).to_owned(),
            routes: request.all("Record-Route").map(str::to_owned).collect(),
            cseq: 0,
            remote_cseq: request.cseq().map(|(number, _)| number),
        }
    }

    /// The peer may move with each INVITE and its answer (RFC 3261 §12.2.1.2).
    pub fn refresh(&mut self, message: &Text) {
        if let Some(contact) = message.all("Contact").next() {
            self.target = uri_of(contact).to_owned();
        }
    }

    /// A request within it, still without Via (RFC 3261 §12.2.1.1).
    pub fn request(&mut self, method: &str) -> Text {
        self.cseq += 1;
        self.request_with(method, self.cseq)
    }

    /// The same with a number of its own: ACK.
    pub fn request_with(&self, method: &str, cseq: u32) -> Text {
        let mut text = Text { start: format!("{method} {} SIP/2.0", self.target), ..Text::default() };
        text.push("Max-Forwards", "70");
        for route in &self.routes {
            text.push("Route", route.clone());
        }
        text.push("From", self.local.clone())
            .push("To", self.remote.clone())
            .push("Call-ID", self.call_id.clone())
            .push("CSeq", format!("{cseq} {method}"));
        text
    }

    /// Where the next request goes, when that is written as an address.
    pub fn next_hop(&self) -> Option<SocketAddr> {
        address_of(self.routes.first().map_or(self.target.as_str(), |route| uri_of(route)))
    }
}

/// The address in a SIP URI; `None` for a name.
pub(super) fn address_of(uri: &str) -> Option<SocketAddr> {
    let rest = uri.strip_prefix("sip:").or_else(|| uri.strip_prefix("sips:"))?;
    let rest = rest.split([';', '?']).next()?;
    let host = rest.rsplit('@').next()?;
    host.parse().ok().or_else(|| {
        let ip: IpAddr = host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        Some(SocketAddr::new(ip, DEFAULT_PORT))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_uris() {
        for (uri, address) in [
            ("sip:a@127.0.0.1:5070;transport=tcp", Some("127.0.0.1:5070")),
            ("sip:127.0.0.1", Some("127.0.0.1:5060")),
            ("sip:a:b@[::1]:7?x=y", Some("[::1]:7")),
            ("sip:a@[::1]", Some("[::1]:5060")),
            ("sip:a@example.com", None),
            ("tel:+1555", None),
        ] {
            assert_eq!(address_of(uri), address.map(|address| address.parse().unwrap()), "{uri}");
        }
    }
}
