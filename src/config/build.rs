//! From tables to the configuration: one function a table, one line a setting.

mod media;
mod parties;
mod sip;
mod sites;

use std::path::{Path, PathBuf};

use super::check::Checked;
use super::diff::Values;
use super::model::{Backend, Config, Control, Count, Log, LogFormat, LogLevel, Node, Qos, Records, Shards, Store};
use super::reader::{Place, Reader};

/// Reads every table.
pub(super) fn build<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Config {
    let node = node(reader, root);
    let sip = sip::sip(reader, root);
    let media = media::media(reader, root);
    let limits = sites::limits(reader, root);
    let marks = Qos { dscp_audio: media.dscp_audio, dscp_video: media.dscp_video, dscp_signalling: sip.dscp };
    Config {
        shards: shards(reader, root),
        trunks: parties::trunks(reader, root, marks),
        accounts: parties::accounts(reader, root, marks, &limits),
        guard: sip::guard(reader, root),
        store: store(reader, root),
        control: control(reader, root, &node.data_dir),
        log: log(reader, root),
        records: records(reader, root, &node.data_dir),
        link: sites::link(reader, root),
        values: Values::default(),
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
