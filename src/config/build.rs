//! From tables to the configuration: one function a table, one line a setting.

use std::path::{Path, PathBuf};

use super::check::Checked;
use super::model::*;
use super::reader::{Place, Reader};
use crate::base::Transport;

/// Reads every table.
pub(super) fn build<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Config {
    let node = node(reader, root);
    let sip = sip(reader, root);
    let media = media(reader, root);
    let limits = limits(reader, root);
    let marks = Qos { dscp_audio: media.dscp_audio, dscp_video: media.dscp_video, dscp_signalling: sip.dscp };
    Config {
        shards: shards(reader, root),
        trunks: trunks(reader, root, marks),
        accounts: accounts(reader, root, marks, &limits),
        guard: guard(reader, root),
        store: store(reader, root),
        control: control(reader, root, &node.data_dir),
        log: log(reader, root),
        records: records(reader, root, &node.data_dir),
        link: link(reader, root),
        values: super::diff::Values::default(),
        node,
        sip,
        media,
        limits,
    }
}

fn node<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Node {
    let table = reader.table(root, "node");
    Node {
        name: reader.get(&table, "name").text(),
        data_dir: reader.get(&table, "data_dir").text().into(),
        drain_timeout: reader.get(&table, "drain_timeout").span(),
    }
}

fn shards<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Shards {
    let table = reader.table(root, "shards");
    let count = match reader.get(&table, "count") {
        Checked::Integer(count) => Count::Exactly(u8::try_from(count).unwrap_or(u8::MAX)),
        _ => Count::Auto,
    };
    let backend = match reader.get(&table, "backend").text().as_str() {
        "io_uring" => Backend::IoUring,
        "epoll" => Backend::Epoll,
        _ => Backend::Auto,
    };
    Shards {
        count,
        backend,
        pin: reader.get(&table, "pin").bool(),
        calls_max: reader.get(&table, "calls_max").integer(),
        transactions_max: reader.get(&table, "transactions_max").integer(),
        contacts_max: reader.get(&table, "contacts_max").integer(),
        connections_max: reader.get(&table, "connections_max").integer(),
        gather: reader.get(&table, "gather").span(),
    }
}

fn sip<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Sip {
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

fn transport<'s>(reader: &mut Reader<'s>, place: &Place<'_, 's>) -> Transport {
    let token = reader.get(place, "transport").text();
    let transport = Transport::from_token(token.as_bytes()).unwrap_or(Transport::Udp);
    if !matches!(transport, Transport::Udp | Transport::Tcp) {
        let span = reader.span(place, "transport");
        let message = format!("transport \"{token}\" is not built yet");
        reader.error(span, message, "would carry nothing").help("\"udp\" and \"tcp\" work");
    }
    transport
}

fn media<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Media {
    let table = reader.table(root, "media");
    let fast_path = match reader.get(&table, "fast_path").text().as_str() {
        "xdp" => FastPath::Xdp,
        "off" => FastPath::Off,
        _ => FastPath::Auto,
    };
    Media {
        address: reader.get(&table, "address").ip_if_any().unwrap_or_else(|| [127, 0, 0, 1].into()),
        address_v6: reader.get(&table, "address_v6").ip_if_any(),
        advertise: reader.get(&table, "advertise").ip_if_any(),
        advertise_v6: reader.get(&table, "advertise_v6").ip_if_any(),
        port_min: reader.get(&table, "port_min").integer(),
        port_max: reader.get(&table, "port_max").integer(),
        fast_path,
        fast_path_dead_man: reader.get(&table, "fast_path_dead_man").span(),
        fast_path_devices: reader.get(&table, "fast_path_devices").texts().into_iter().map(|(name, _)| name).collect(),
        fast_path_pin: reader.get(&table, "fast_path_pin").text_if_any().map(PathBuf::from),
        silent_timeout: reader.get(&table, "silent_timeout").span(),
        one_way_after: reader.get(&table, "one_way_after").span(),
        port_rest: reader.get(&table, "port_rest").span(),
        dscp_audio: reader.get(&table, "dscp_audio").integer(),
        dscp_video: reader.get(&table, "dscp_video").integer(),
        receive_buffer_bytes: usize::try_from(reader.get(&table, "receive_buffer").size()).unwrap_or(usize::MAX),
        gather: reader.get(&table, "gather").span(),
    }
}

fn qos<'s>(reader: &mut Reader<'s>, parent: &Place<'_, 's>, key: &'static str, marks: Qos) -> Qos {
    let table = reader.table(parent, key);
    Qos {
        dscp_audio: reader.get(&table, "dscp_audio").integer_if_any().unwrap_or(marks.dscp_audio),
        dscp_video: reader.get(&table, "dscp_video").integer_if_any().unwrap_or(marks.dscp_video),
        dscp_signalling: reader.get(&table, "dscp_signalling").integer_if_any().unwrap_or(marks.dscp_signalling),
    }
}

fn codecs<'s>(reader: &mut Reader<'s>, place: &Place<'_, 's>) -> Vec<String> {
    const KNOWN: [&str; 20] = [
        "PCMU", "PCMA", "G722", "G723", "G726-32", "G728", "G729", "GSM", "iLBC", "speex", "opus", "AMR", "AMR-WB",
        "EVS", "L16", "VP8", "VP9", "H264", "H265", "AV1",
    ];
    let mut out = Vec::new();
    for (codec, span) in reader.get(place, "codecs").texts() {
        let known = KNOWN.iter().any(|known| known.eq_ignore_ascii_case(&codec));
        if !known && let Some(near) = super::check::nearest(&codec, KNOWN.into_iter()) {
            let message = format!("codec \"{codec}\" is not one we know");
            reader
                .note(span, message, "compared with `a=rtpmap` as it stands")
                .help(format!("did you mean \"{near}\"?"));
        }
        out.push(codec);
    }
    out
}

fn trunks<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>, marks: Qos) -> Vec<Trunk> {
    let places = reader.list(root, "trunk");
    let some = |value: u32| (value > 0).then_some(value);
    let mut out = Vec::with_capacity(places.len());
    for place in places {
        out.push(Trunk {
            name: reader.get(&place, "name").text(),
            address: reader.get(&place, "address").socket(),
            transport: transport(reader, &place),
            prefixes: reader.get(&place, "prefixes").texts().into_iter().map(|(prefix, _)| prefix).collect(),
            allow_from: reader.get(&place, "allow_from").nets(),
            max_calls: some(reader.get(&place, "max_calls").integer()),
            max_cps: some(reader.get(&place, "max_cps").integer()),
            timeout: reader.get(&place, "timeout").span(),
            retry_after: reader.get(&place, "retry_after").span(),
            rtp_symmetric: reader.get(&place, "rtp_symmetric").bool(),
            login: login(reader, &place),
            codecs: codecs(reader, &place),
            qos: qos(reader, &place, "trunk.qos", marks),
        });
    }
    super::cross::trunks(reader, root, &out);
    out
}

fn login<'s>(reader: &mut Reader<'s>, place: &Place<'_, 's>) -> Option<TrunkLogin> {
    let username = reader.get(place, "username").text_if_any();
    let password = reader.get(place, "password").text_if_any();
    let file = reader.get(place, "password_file").text_if_any();
    match (username, password, file) {
        (None, None, None) => None,
        (Some(username), Some(password), None) => Some(TrunkLogin { username, secret: Secret::Password(password) }),
        (Some(username), None, Some(file)) => Some(TrunkLogin { username, secret: Secret::File(file.into()) }),
        (Some(_), None, None) => {
            let span = reader.span(place, "username");
            reader
                .error(span, "`username` without a password", "cannot answer a challenge")
                .help("add `password_file` or `password`");
            None
        }
        (Some(_), Some(_), Some(_)) => {
            let span = reader.span(place, "password_file");
            reader.error(span, "two passwords", "beside `password`").help("keep one of them");
            None
        }
        (None, ..) => {
            let span = place.span.clone();
            reader.error(span, "a password without `username`", "in this table").help("add `username`");
            None
        }
    }
}

fn accounts<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>, marks: Qos, limits: &Limits) -> Vec<Account> {
    let places = reader.list(root, "account");
    let mut out = Vec::with_capacity(places.len());
    let mut unique = super::cross::Accounts::default();
    for place in places {
        let name = reader.get(&place, "name").text();
        let name_span = reader.span(&place, "name");
        unique.name(reader, &name, name_span);
        let numbers = reader.get(&place, "numbers").texts();
        numbers.iter().for_each(|(number, span)| unique.number(reader, number, span.clone()));
        let serial = reader.get(&place, "forking").text() == "serial";
        let mut devices = Vec::new();
        for device in reader.list(&place, "account.device") {
            let username = reader.get(&device, "username").text();
            let span = reader.span(&device, "username");
            unique.device(reader, &username, span);
            devices.push(Device { secret: secret(reader, &device, &username), username });
        }
        out.push(Account {
            name,
            numbers: numbers.into_iter().map(|(number, _)| number).collect(),
            max_calls: reader.get(&place, "max_calls").integer_if_any().unwrap_or(limits.default_max_calls),
            home: reader.get(&place, "home").text_if_any(),
            codecs: codecs(reader, &place),
            forking: if serial { Forking::Serial } else { Forking::Parallel },
            qos: qos(reader, &place, "account.qos", marks),
            devices,
        });
    }
    unique.finish(reader);
    out
}

fn secret<'s>(reader: &mut Reader<'s>, place: &Place<'_, 's>, username: &str) -> Secret {
    let password = reader.get(place, "password").text_if_any();
    let file = reader.get(place, "password_file").text_if_any();
    let md5 = reader.get(place, "ha1_md5").text_if_any();
    let sha256 = reader.get(place, "ha1_sha256").text_if_any();
    let span = place.span.clone();
    let ways = [password.is_some(), file.is_some(), md5.is_some() || sha256.is_some()];
    if ways.iter().filter(|&&given| given).count() > 1 {
        reader
            .error(span.clone(), format!("device `{username}` has two passwords"), "in this table")
            .help("keep one of `password`, `password_file`, or the HA1 values");
    }
    match (password, file, md5, sha256) {
        (Some(password), ..) => Secret::Password(password),
        (_, Some(file), ..) => Secret::File(file.into()),
        (_, _, Some(md5), Some(sha256)) => Secret::Ha1 { md5: hex(&md5), sha256: hex(&sha256) },
        (_, _, None, None) => {
            reader
                .error(span, format!("device `{username}` has no password"), "could never register")
                .help("add `password_file`, `password`, or `ha1_md5` and `ha1_sha256`");
            Secret::Password(String::new())
        }
        (_, _, md5, _) => {
            let missing = if md5.is_some() { "ha1_sha256" } else { "ha1_md5" };
            reader
                .error(span, format!("device `{username}` lacks `{missing}`"), "a phone may choose either algorithm")
                .help("give both HA1 values, or a password");
            Secret::Password(String::new())
        }
    }
}

fn hex<const N: usize>(text: &str) -> [u8; N] {
    let digit = |at: usize| text.as_bytes().get(at).and_then(|&byte| char::from(byte).to_digit(16)).unwrap_or(0) as u8;
    std::array::from_fn(|at| digit(2 * at) << 4 | digit(2 * at + 1))
}

fn limits<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Limits {
    let table = reader.table(root, "limits");
    let allowance = reader.get(&table, "mode").text() == "allowance";
    let drops = reader.get(&table, "policy").text() == "drop";
    let numbers = reader.get(&table, "emergency_numbers").texts();
    Limits {
        mode: if allowance { LimitMode::Allowance } else { LimitMode::Strict },
        allowance: reader.get(&table, "allowance").integer(),
        default_max_calls: reader.get(&table, "default_max_calls").integer(),
        home: reader.get(&table, "home").text_if_any(),
        policy: if drops { LimitPolicy::Drop } else { LimitPolicy::Keep },
        lease: reader.get(&table, "lease").span(),
        max_call_duration: reader.get(&table, "max_call_duration").span(),
        clock_drift_ppm: reader.get(&table, "clock_drift").integer(),
        borrow_timeout: reader.get(&table, "borrow_timeout").span(),
        count_called: reader.get(&table, "count_called").bool(),
        emergency_numbers: numbers.into_iter().map(|(number, _)| number).collect(),
    }
}

fn guard<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Guard {
    let table = reader.table(root, "guard");
    Guard {
        enabled: reader.get(&table, "enabled").bool(),
        threshold: reader.get(&table, "threshold").integer(),
        forget_after: reader.get(&table, "forget_after").span(),
        block_time: reader.get(&table, "block_time").span(),
        allow: reader.get(&table, "allow").nets(),
    }
}

fn store<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Store {
    let table = reader.table(root, "store");
    let url = reader.get(&table, "url").text();
    if url == "sqlite" {
        return Store::Sqlite;
    }
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        let span = reader.span(&table, "url");
        reader.error(span, "`url` is not usable", "expected \"sqlite\" or \"postgres://…\"");
    }
    Store::Postgres(url)
}

fn control<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>, data_dir: &Path) -> Control {
    let table = reader.table(root, "control");
    Control {
        listen: reader.get(&table, "listen").socket(),
        admin_token_file: path(reader, &table, "admin_token_file", data_dir, "admin.token"),
        socket: path(reader, &table, "socket", data_dir, "strowger.sock"),
    }
}

fn path<'s>(reader: &mut Reader<'s>, table: &Place<'_, 's>, name: &str, dir: &Path, default: &str) -> PathBuf {
    reader.get(table, name).text_if_any().map_or_else(|| dir.join(default), PathBuf::from)
}

fn log<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Log {
    let table = reader.table(root, "log");
    let json = reader.get(&table, "format").text() == "json";
    let level = match reader.get(&table, "level").text().as_str() {
        "error" => LogLevel::Error,
        "warn" => LogLevel::Warn,
        "debug" => LogLevel::Debug,
        "trace" => LogLevel::Trace,
        _ => LogLevel::Info,
    };
    Log {
        format: if json { LogFormat::Json } else { LogFormat::Logfmt },
        level,
        show_digits: reader.get(&table, "show_digits").bool(),
    }
}

fn records<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>, data_dir: &Path) -> Records {
    let table = reader.table(root, "records");
    Records {
        dir: path(reader, &table, "dir", data_dir, "call-records"),
        spool_max: reader.get(&table, "spool_max").integer(),
        flush_interval: reader.get(&table, "flush_interval").span(),
    }
}

fn link<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Option<Link> {
    let table = reader.table(root, "link");
    let mut peers = Vec::new();
    for place in reader.list(&table, "link.peer") {
        peers.push(Peer { name: reader.get(&place, "name").text(), address: reader.get(&place, "address").socket() });
    }
    let link = Link {
        listen: reader.get(&table, "listen").socket(),
        certificate_file: reader.get(&table, "certificate_file").text().into(),
        key_file: reader.get(&table, "key_file").text().into(),
        ca_file: reader.get(&table, "ca_file").text().into(),
        peers,
    };
    table.is_written().then_some(link)
}
