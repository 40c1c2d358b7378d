//! Every setting, in the order of the example file.

use super::row::{Kind, Row};
use crate::base::time::Duration;

const fn integer(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

const fn millis(min: u64, max: u64) -> Kind {
    Kind::Span { min: Duration::from_millis(min), max: Duration::from_millis(max) }
}

const fn seconds(min: u64, max: u64) -> Kind {
    millis(min * 1_000, max * 1_000)
}

const DAY: u64 = 86_400;
const DSCP: Kind = integer(0, 63);
const TRANSPORTS: Kind = Kind::Choice(&["udp", "tcp", "tls", "ws", "wss"]);

/// A table of the file.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its key.
    pub key: &'static str,
    /// Written `[[key]]`, any number of times.
    pub list: bool,
    /// Absent unless written: the example file shows it commented out.
    pub optional: bool,
    /// For a person.
    pub docs: &'static str,
}

const fn table(key: &'static str, docs: &'static str) -> Table {
    Table { key, list: false, optional: false, docs }
}

const fn list(key: &'static str, docs: &'static str) -> Table {
    Table { key, list: true, optional: true, docs }
}

/// Every table, in the order of the example file; a parent stands before its children.
pub static TABLES: &[Table] = &[
    table("node", "Who this node is and where it keeps things."),
    table("shards", "Threads that carry calls, and the bounds of each one's tables."),
    table("sip", "Signalling."),
    list("sip.listen", "One address to listen on. Without any: 127.0.0.1:5060 over UDP and TCP."),
    table("media", "RTP relay."),
    list("trunk", "A carrier. Trunks with the same prefix are tried in the order of the file."),
    Table { key: "trunk.qos", list: false, optional: true, docs: "Marks of what is sent to this trunk." },
    list("account", "A user whose phones register here."),
    list("account.device", "One phone's credentials. Give `password`, or `password_file`, or both HA1 values."),
    Table { key: "account.qos", list: false, optional: true, docs: "Marks of what is sent to this account." },
    table(
        "guard",
        "Against scanners: who guesses passwords or sweeps for accounts is blocked. docs/operations.md says how.",
    ),
    table("limits", "Simultaneous calls. docs/limits.md explains what they promise over several sites."),
    table("store", "Where accounts and records of the API are kept."),
    table("control", "HTTP for metrics and health, and the Unix socket of `strowger show`."),
    table("log", "Log lines, on standard error."),
    table("records", "Call records, one line of JSON for each finished call."),
    Table { key: "link", list: false, optional: true, docs: "To the other sites: QUIC with mutual TLS." },
    list("link.peer", "Another site."),
];

/// Every setting.
pub static ROWS: &[Row] = &[
    // node
    Row::new("node.name", Kind::Name, "\"strowger\"", "Unique among all nodes; stands in call records.")
        .example("\"phx-1\""),
    Row::new("node.data_dir", Kind::Path, "\"./strowger-data\"", "Call records, admin token, Unix socket. Created if missing.")
        .example("\"/var/lib/strowger\""),
    Row::new("node.drain_timeout", seconds(0, DAY), "\"30s\"",
        "After SIGTERM or `strowger drain --stop`, calls may go on for this long; then they are ended.").reloads(),
    // shards
    Row::new("shards.count", Kind::AutoOr { min: 1, max: 64 }, "\"auto\"",
        "Threads that carry calls. \"auto\": one for each core this process may use."),
    Row::new("shards.pin", Kind::Bool, "true", "Keep each shard on a core of its own."),
    Row::new("shards.backend", Kind::Choice(&["auto", "io_uring", "epoll"]), "\"auto\"",
        "What moves packets. \"auto\": io_uring where the kernel allows it, else epoll; the choice is announced at start."),
    Row::new("shards.calls_max", integer(1, 1_000_000), "20000", "Calls in one shard; further ones are answered 503."),
    Row::new("shards.transactions_max", integer(16, 4_000_000), "100000", "SIP transactions in one shard."),
    Row::new("shards.contacts_max", integer(1, 4_000_000), "200000", "Registered contacts in one shard."),
    Row::new("shards.connections_max", integer(1, 1_000_000), "10000", "TCP connections in one shard."),
    Row::new("shards.gather", millis(0, 20), "\"2ms\"",
        "How long a shard busy with signalling may at most collect messages before it reads them: less work for each. The busier it is, the shorter: some thirty messages are enough. While media comes by its sockets, `media.gather` holds."),
    // sip
    Row::new("sip.domains", Kind::Hosts, "[]",
        "Domains whose addresses of record are served here. Empty: the hosts of the listening addresses.")
        .example("[\"example.com\"]").reloads(),
    Row::new("sip.realm", Kind::Text, "\"\"",
        "Digest realm. Empty: the first domain. HA1 values in this file are made for one realm."),
    Row::new("sip.t1", millis(10, 5_000), "\"500ms\"", "Round-trip estimate T1 (RFC 3261 §17.1.1.1)."),
    Row::new("sip.t2", millis(100, 60_000), "\"4s\"", "Longest retransmission interval T2."),
    Row::new("sip.t4", millis(100, 60_000), "\"5s\"", "Longest life of a message in the network T4."),
    Row::new("sip.ring_timeout", seconds(1, 3_600), "\"180s\"", "A call that rings longer is given up with 408."),
    Row::new("sip.fork_step_timeout", seconds(1, 600), "\"20s\"",
        "With `forking = \"serial\"`: how long the devices of one q value ring before the next."),
    Row::new("sip.max_forwards", integer(1, 255), "70", "Max-Forwards of requests that start here."),
    Row::new("sip.user_agent", Kind::Text, "\"Strowger\"", "Server and User-Agent header. Empty: none."),
    Row::new("sip.udp_message_max", Kind::Size { min: 500, max: 65_000 }, "\"1300B\"",
        "A longer request goes by TCP where the peer takes it (RFC 3261 §18.1.1)."),
    Row::new("sip.connection_idle_timeout", seconds(10, DAY), "\"15m\"", "A TCP connection without traffic is closed."),
    Row::new("sip.expires_min", seconds(1, DAY), "\"60s\"", "A shorter registration is answered 423."),
    Row::new("sip.expires_default", seconds(1, DAY), "\"1h\"", "A registration that names no time."),
    Row::new("sip.expires_max", seconds(1, 30 * DAY), "\"2h\"", "A longer registration is cut to this."),
    Row::new("sip.contacts_per_account_max", integer(1, 100), "10", "Devices of one account registered at once."),
    Row::new("sip.nonce_lifetime", seconds(10, DAY), "\"5m\"", "A digest nonce is stale after this."),
    Row::new("sip.dscp", DSCP, "24", "DSCP of signalling; 24 is CS3 (RFC 4594)."),
    // sip.listen
    Row::required("sip.listen.address", Kind::Socket, "\"203.0.113.10:5060\"", "Where to listen."),
    Row::new("sip.listen.transport", TRANSPORTS, "\"udp\"", "Over what. tls, ws and wss are refused: they are not built yet."),
    Row::new("sip.listen.advertise", Kind::HostPort, "\"\"",
        "What Via and Contact say, where peers see another address than the bound one."),
    // media
    Row::new("media.address", Kind::Ip, "\"127.0.0.1\"", "Where RTP is received and sent.").example("\"203.0.113.10\""),
    Row::new("media.address_v6", Kind::Ip, "\"\"", "A second address, for legs that offer IPv6.").example("\"2001:db8::10\""),
    Row::new("media.advertise", Kind::Ip, "\"\"", "What SDP says instead of `address`."),
    Row::new("media.advertise_v6", Kind::Ip, "\"\"", "What SDP says instead of `address_v6`."),
    Row::new("media.port_min", integer(1_024, 65_534), "30000", "First media port; even. Each audio call takes four ports."),
    Row::new("media.port_max", integer(1_025, 65_535), "39999", "Last media port; odd. The range is divided among the shards."),
    Row::new("media.fast_path", Kind::Choice(&["auto", "xdp", "off"]), "\"auto\"",
        "Whether settled streams are relayed inside the kernel. \"auto\": where it can be; \"xdp\": where it cannot, the start fails; \"off\": never."),
    Row::new("media.fast_path_dead_man", seconds(2, 600), "\"10s\"",
        "The kernel relays on its own for at most this long: a process that stands still or has died carries no media after it."),
    Row::new("media.fast_path_devices", Kind::Devices, "[]",
        "Network devices on which the kernel relays. Empty: those that have the media addresses.").example("[\"eth0\"]"),
    Row::new("media.fast_path_pin", Kind::Path, "\"\"",
        "A folder of a BPF file system where the program stays attached while the process restarts. Empty: it goes with the process.")
        .example("\"/sys/fs/bpf/strowger\""),
    Row::new("media.silent_timeout", seconds(1, DAY), "\"60s\"", "A call without any packet for this long is ended."),
    Row::new("media.one_way_after", millis(100, 60_000), "\"2s\"",
        "One side silent for this long while the other sends is reported as one-way audio."),
    Row::new("media.port_rest", seconds(0, 600), "\"2s\"", "A released port is not given to another call for this long."),
    Row::new("media.dscp_audio", DSCP, "46", "DSCP of audio; 46 is EF (RFC 4594).").reloads(),
    Row::new("media.dscp_video", DSCP, "34", "DSCP of video; 34 is AF41.").reloads(),
    Row::new("media.receive_buffer", Kind::Size { min: 4 << 10, max: 256 << 20 }, "\"1MiB\"",
        "Receive buffer of each UDP socket; the kernel caps it at net.core.rmem_max."),
    Row::new("media.gather", millis(0, 5), "\"500us\"",
        "How long a shard busy with media by its sockets may at most collect packets before it relays them: fewer wakes, and so much jitter. The busier it is, the shorter: some thirty packets are enough. With few calls nothing waits."),
    // trunk
    Row::required("trunk.name", Kind::Name, "\"carrier-a\"", "Unique.").reloads(),
    Row::required("trunk.address", Kind::Socket, "\"198.51.100.5:5060\"", "Where its requests go.").reloads(),
    Row::new("trunk.transport", TRANSPORTS, "\"udp\"", "Over what. tls, ws and wss are refused: they are not built yet.").reloads(),
    Row::new("trunk.prefixes", Kind::Prefixes, "[]", "Numbers it takes: the longest prefix wins; \"\" catches the rest; none: only calls from it.")
        .example("[\"+1\", \"+44\"]").reloads(),
    Row::new("trunk.allow_from", Kind::Nets, "[]",
        "A request from here belongs to this trunk, and so does one from `address`; with several trunks at one address, the port decides.")
        .example("[\"198.51.100.0/24\"]").reloads(),
    Row::new("trunk.max_calls", integer(0, 10_000_000), "0", "Calls at once; 0 = no limit.").example("1000").reloads(),
    Row::new("trunk.max_cps", integer(0, 1_000_000), "0", "New calls in a second; 0 = no limit.").example("100").reloads(),
    Row::new("trunk.timeout", millis(100, 60_000), "\"4s\"", "Without any response for this long, the next trunk is tried.").reloads(),
    Row::new("trunk.retry_after", seconds(0, DAY), "\"30s\"", "After that, it is asked last for this long.").reloads(),
    Row::new("trunk.rtp_symmetric", Kind::Bool, "false",
        "Its media may come from another address than its SDP names: it is learnt from the first packets and gets its media there.").reloads(),
    Row::new("trunk.username", Kind::Text, "\"\"", "Digest user, where it challenges.").reloads(),
    Row::new("trunk.password", Kind::Secret, "\"\"", "Digest password.").reloads(),
    Row::new("trunk.password_file", Kind::Path, "\"\"", "A file with the digest password in its first line.").reloads(),
    Row::new("trunk.codecs", Kind::Codecs, "[]", "Codecs offered to it, in this order; empty = as offered.").reloads(),
    Row::new("trunk.qos.dscp_audio", DSCP, "", "Instead of `media.dscp_audio`.").example("46").reloads(),
    Row::new("trunk.qos.dscp_video", DSCP, "", "Instead of `media.dscp_video`.").example("34").reloads(),
    Row::new("trunk.qos.dscp_signalling", DSCP, "", "Instead of `sip.dscp`.").example("24").reloads()
        .no_effect("signalling shares one socket; `sip.dscp` marks it"),
    // account
    Row::required("account.name", Kind::Name, "\"alice\"", "User part of its address of record in each served domain; unique.").reloads(),
    Row::new("account.numbers", Kind::Numbers, "[]", "Numbers that reach it.").example("[\"+15550100\"]").reloads(),
    Row::new("account.max_calls", integer(0, 1_000_000), "", "Calls at once. Default: `limits.default_max_calls`.")
        .example("2").reloads(),
    Row::new("account.home", Kind::Name, "\"\"",
        "The site where its rights are made. Empty: `limits.home`. To move it, lower `max_calls` to 0 first and wait until `strowger show limits` shows no right anywhere.")
        .example("\"lon-1\"").reloads(),
    Row::new("account.codecs", Kind::Codecs, "[]", "Codecs, in this order; empty = as offered.")
        .example("[\"PCMU\", \"PCMA\"]").reloads(),
    Row::new("account.forking", Kind::Choice(&["parallel", "serial"]), "\"parallel\"",
        "How a call reaches several devices: all at once, or by q value.").reloads(),
    Row::required("account.device.username", Kind::Name, "\"alice\"", "Digest user; unique over all accounts.").reloads(),
    Row::new("account.device.password", Kind::Secret, "\"\"", "Digest password.").example("\"change-me\"").reloads(),
    Row::new("account.device.password_file", Kind::Path, "\"\"", "A file with the password in its first line.").reloads(),
    Row::new("account.device.ha1_md5", Kind::Hex(32), "\"\"", "MD5 of `username:realm:password` (RFC 7616).").reloads(),
    Row::new("account.device.ha1_sha256", Kind::Hex(64), "\"\"", "SHA-256 of `username:realm:password`.").reloads(),
    Row::new("account.qos.dscp_audio", DSCP, "", "Instead of `media.dscp_audio`.").example("46").reloads(),
    Row::new("account.qos.dscp_video", DSCP, "", "Instead of `media.dscp_video`.").example("34").reloads(),
    Row::new("account.qos.dscp_signalling", DSCP, "", "Instead of `sip.dscp`.").example("24").reloads()
        .no_effect("signalling shares one socket; `sip.dscp` marks it"),
    // guard
    Row::new("guard.enabled", Kind::Bool, "true", "Whether sources that scan are blocked.").reloads(),
    Row::new("guard.threshold", integer(10, 100_000), "100",
        "Points at which a source is blocked. A wrong password counts 10, a request without credentials 2, an OPTIONS 1.").reloads(),
    Row::new("guard.forget_after", seconds(10, DAY), "\"10m\"",
        "Points wear off evenly: from the threshold to none takes this long.").reloads(),
    Row::new("guard.block_time", seconds(1, 7 * DAY), "\"10m\"", "How long a source stays blocked or muted.").reloads(),
    Row::new("guard.allow", Kind::Nets, "[\"127.0.0.0/8\", \"::1/128\"]",
        "Never blocked, nor muted: monitoring, proxies in front, load tests. Trunks, other sites and phones that have shown a password or are registered need not stand here.")
        .example("[\"127.0.0.0/8\", \"::1/128\", \"198.51.100.0/24\"]").reloads(),
    // limits
    Row::new("limits.mode", Kind::Choice(&["strict", "allowance"]), "\"strict\"",
        "\"strict\": never more calls than the limit, whatever happens to the links; \"allowance\": a site that is cut off from the others may carry `allowance` more."),
    Row::new("limits.allowance", integer(0, 1_000), "0",
        "Calls above an account's limit at each site that is cut off, with mode \"allowance\"."),
    Row::new("limits.default_max_calls", integer(0, 1_000_000), "2", "`max_calls` of an account that names none.").reloads(),
    Row::new("limits.home", Kind::Name, "\"\"",
        "The site where accounts' rights are made: this node's name or a peer's, the same at every site. Must be given with `[[link.peer]]`.")
        .example("\"phx-1\""),
    Row::new("limits.policy", Kind::Choice(&["keep", "drop"]), "\"keep\"",
        "What happens to calls on a borrowed right that cannot be renewed, since its lender is cut off. \"keep\": they go on, and a lost right comes home only after `max_call_duration`; \"drop\": they are ended when `lease` is over. The same at every site."),
    Row::new("limits.lease", seconds(2, 3_600), "\"30s\"",
        "How long a borrowed right is good for without a renewal. The same at every site."),
    Row::new("limits.max_call_duration", seconds(60, 7 * DAY), "\"4h\"",
        "A call is ended after this long. The same at every site: with `policy = \"keep\"` a lost site's rights come home no sooner."),
    Row::new("limits.clock_drift", integer(0, 100_000), "1000",
        "Most that a site's clock may run fast or slow, in parts per million; the kernel steers a clock by up to 500. The same at every site."),
    Row::new("limits.borrow_timeout", millis(0, 5_000), "\"400ms\"",
        "How long a call waits for a right from another site before it is refused; 0s: not at all."),
    Row::new("limits.count_called", Kind::Bool, "true", "A call counts for the account that it reaches, too.").reloads(),
    Row::new("limits.emergency_numbers", Kind::Numbers, "[\"112\", \"911\", \"999\", \"000\"]",
        "Calls to these numbers, as dialled, are never refused by a limit and take no right. The first one is called for `urn:service:sos`.").reloads(),
    // store
    Row::new("store.url", Kind::Secret, "\"sqlite\"", "\"sqlite\" (a file in `data_dir`) or \"postgres://…\".")
        .no_effect("the store is not built yet; accounts come from this file and records go to NDJSON files"),
    // control
    Row::new("control.listen", Kind::Socket, "\"127.0.0.1:8080\"", "HTTP: /metrics, /healthz, /readyz."),
    Row::new("control.admin_token_file", Kind::Path, "\"\"",
        "Bearer token of the API; made at first start, mode 0600, if it is missing; the API itself is not built yet. Empty: `admin.token` in `data_dir`.")
        .example("\"/etc/strowger/admin.token\""),
    Row::new("control.socket", Kind::Path, "\"\"", "Unix socket, mode 0600. Empty: `strowger.sock` in `data_dir`."),
    // log
    Row::new("log.format", Kind::Choice(&["logfmt", "json"]), "\"logfmt\"", "How a line looks."),
    Row::new("log.level", Kind::Choice(&["error", "warn", "info", "debug", "trace"]), "\"info\"", "Least severe level that is written.").reloads(),
    Row::new("log.show_digits", Kind::Bool, "false", "Write telephone numbers and DTMF digits in the clear.").reloads(),
    // records
    Row::new("records.dir", Kind::Path, "\"\"", "One file a day: `YYYY-MM-DD.ndjson`. Empty: `call-records` in `data_dir`."),
    Row::new("records.spool_max", integer(100, 10_000_000), "100000", "Records kept in memory while the disk refuses them."),
    Row::new("records.flush_interval", millis(10, 60_000), "\"1s\"", "Longest a finished call waits to be on disk."),
    // link
    Row::required("link.listen", Kind::Socket, "\"203.0.113.10:7420\"", "UDP address for QUIC."),
    Row::required("link.certificate_file", Kind::Path, "\"/etc/strowger/link.pem\"", "PEM certificate shown to peers; it must carry `node.name`. `strowger link keygen` makes it."),
    Row::required("link.key_file", Kind::Path, "\"/etc/strowger/link.key\"", "PEM key of it, mode 0600."),
    Row::required("link.ca_file", Kind::Path, "\"/etc/strowger/link-ca.pem\"", "PEM certificate of the authority that signed this site's certificate and the peers'."),
    Row::required("link.peer.name", Kind::Name, "\"lon-1\"", "Its `node.name`, which its certificate must carry."),
    Row::required("link.peer.address", Kind::Socket, "\"192.0.2.20:7420\"", "Its `link.listen`."),
];

/// The row of a full key.
#[must_use]
pub fn find(key: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.key == key)
}
