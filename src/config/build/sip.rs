//! `[sip]` and `[guard]`: where SIP is listened for, its times and bounds, and who is muted or blocked.

use crate::base::Transport;
use crate::config::model::{Guard, Listen, Sip};
use crate::config::reader::{Place, Reader};

pub(super) fn sip<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Sip {
    let table = reader.table(root, "sip");
    let mut listen: Vec<Listen> = Vec::new();
    for place in reader.list(&table, "sip.listen") {
        listen.push(Listen {
            address: reader.get(&place, "address").socket(),
            transport: transport(reader, &place),
            advertise: reader.get(&place, "advertise").host_port_if_any(),
        });
    }
    if listen.is_empty() {
        let address = ([127, 0, 0, 1], 5060).into();
        listen =
            [Transport::Udp, Transport::Tcp].map(|transport| Listen { address, transport, advertise: None }).into();
    }
    let mut domains: Vec<String> =
        reader.get(&table, "domains").texts().into_iter().map(|(domain, _)| domain).collect();
    if domains.is_empty() {
        domains = hosts(&listen);
    }
    let realm = reader.get(&table, "realm").text_if_any();
    Sip {
        realm: realm.unwrap_or_else(|| domains.first().cloned().unwrap_or_default()),
        domains,
        listen,
        t1: reader.get(&table, "t1").span(),
        t2: reader.get(&table, "t2").span(),
        t4: reader.get(&table, "t4").span(),
        ring_timeout: reader.get(&table, "ring_timeout").span(),
        fork_step_timeout: reader.get(&table, "fork_step_timeout").span(),
        max_forwards: reader.get(&table, "max_forwards").integer(),
        user_agent: reader.get(&table, "user_agent").text(),
        udp_message_bytes_max: u32::try_from(reader.get(&table, "udp_message_max").size()).unwrap_or(u32::MAX),
        connection_idle_timeout: reader.get(&table, "connection_idle_timeout").span(),
        expires_min: reader.get(&table, "expires_min").span(),
        expires_default: reader.get(&table, "expires_default").span(),
        expires_max: reader.get(&table, "expires_max").span(),
        contacts_per_account_max: reader.get(&table, "contacts_per_account_max").integer(),
        nonce_lifetime: reader.get(&table, "nonce_lifetime").span(),
        dscp: reader.get(&table, "dscp").integer(),
    }
}

/// The hosts peers know us by, each once.
fn hosts(listen: &[Listen]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for entry in listen {
        let advertised = entry.advertise.as_ref().map(|advertise| advertise.host.clone());
        let bound = (!entry.address.ip().is_unspecified()).then(|| entry.address.ip().to_string());
        for host in advertised.into_iter().chain(bound) {
            if !out.contains(&host) {
                out.push(host);
            }
        }
    }
    if out.is_empty() {
        out.push("localhost".to_owned());
    }
    out
}

pub(super) fn transport<'s>(reader: &mut Reader<'s>, place: &Place<'_, 's>) -> Transport {
    let token = reader.get(place, "transport").text();
    let transport = Transport::from_token(token.as_bytes()).unwrap_or(Transport::Udp);
    if !matches!(transport, Transport::Udp | Transport::Tcp) {
        let span = reader.span(place, "transport");
        let message = format!("transport \"{token}\" is not built yet");
        reader.error(span, message, "would carry nothing").help("\"udp\" and \"tcp\" work");
    }
    transport
}

pub(super) fn guard<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Guard {
    let table = reader.table(root, "guard");
    Guard {
        enabled: reader.get(&table, "enabled").bool(),
        threshold: reader.get(&table, "threshold").integer(),
        forget_after: reader.get(&table, "forget_after").span(),
        block_time: reader.get(&table, "block_time").span(),
        allow: reader.get(&table, "allow").nets(),
    }
}
