//! A call record as one line of JSON, with wall-clock times and the node's name.

use std::fmt::Display;
use std::net::SocketAddr;

use serde::{Serialize, Serializer};

use super::clock::{Reading, Rfc3339};
use crate::observe::{CallId, CallRecord, Leg, LegReport, LimitReason, MediaReport};

#[derive(Serialize)]
struct Line<'r> {
    #[serde(serialize_with = "as_text")]
    call: CallId,
    node: &'r str,
    account: Option<&'r str>,
    trunk_in: Option<&'r str>,
    trunk_out: Option<&'r str>,
    from: &'r str,
    to: &'r str,
    started: Rfc3339,
    ringing: Option<Rfc3339>,
    answered: Option<Rfc3339>,
    ended: Rfc3339,
    /// From the INVITE to the first ringing or answer.
    setup_ms: Option<u64>,
    /// From the answer to the end; 0 for a call that was not answered.
    duration_ms: u64,
    result: &'static str,
    cause: &'static str,
    ended_by: &'static str,
    status: u16,
    /// The limit that refused or ended it.
    limit: Option<&'static str>,
    /// Waited for a right from another site.
    limit_wait_ms: Option<u64>,
    one_way: Option<&'static str>,
    caller: LegLine<'r>,
    callee: Option<LegLine<'r>>,
}

#[derive(Serialize)]
struct LegLine<'r> {
    #[serde(serialize_with = "if_any_as_text")]
    remote: Option<SocketAddr>,
    sip_call_id: &'r str,
    #[serde(serialize_with = "lines_of")]
    media: &'r [MediaReport],
}

#[derive(Serialize)]
struct MediaLine<'r> {
    kind: &'static str,
    codec: &'r str,
    packets: u64,
    bytes: u64,
    lost: u64,
    duplicates: u64,
    jitter_ms: f64,
    mos: Option<f64>,
    one_way: bool,
    dtmf_digits: u32,
    strays: u64,
    dscp: u8,
    #[serde(serialize_with = "if_any_as_text")]
    remote: Option<SocketAddr>,
    path: &'static str,
    packets_xdp: u64,
}

fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn if_any_as_text<S: Serializer>(value: &Option<impl Display>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn lines_of<S: Serializer>(reports: &[MediaReport], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(reports.iter().map(media))
}

/// Room for the record of a call with one stream.
const LINE_BYTES: usize = 1280;

/// The line, with its line break.
#[must_use]
pub fn record_line(record: &CallRecord, node: &str, clock: &Reading) -> String {
    let first = record.ringing.into_iter().chain(record.answered).min();
    let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let line = Line {
        call: record.call,
        node,
        account: record.account.as_deref(),
        trunk_in: record.trunk_in.as_deref(),
        trunk_out: record.trunk_out.as_deref(),
        from: &record.from,
        to: &record.to,
        started: clock.text(record.started),
        ringing: record.ringing.map(|at| clock.text(at)),
        answered: record.answered.map(|at| clock.text(at)),
        ended: clock.text(record.ended),
        setup_ms: first.map(|first| millis(first.since(record.started))),
        duration_ms: record.answered.map_or(0, |answered| millis(record.ended.since(answered))),
        result: record.result.as_str(),
        cause: record.cause.as_str(),
        ended_by: record.ended_by.map_or("us", Leg::as_str),
        status: record.status,
        limit: record.limit.map(LimitReason::as_str),
        limit_wait_ms: record.limit_wait.map(millis),
        one_way: record.one_way().map(Leg::as_str),
        caller: leg(&record.caller),
        callee: record.callee.as_ref().map(leg),
    };
    let mut text = Vec::with_capacity(LINE_BYTES);
    if serde_json::to_writer(&mut text, &line).is_err() {
        text = format!("{{\"call\":\"{}\"}}", record.call).into_bytes();
    }
    text.push(b'\n');
    String::from_utf8(text).expect("JSON is text")
}

fn leg(report: &LegReport) -> LegLine<'_> {
    LegLine { remote: report.remote, sip_call_id: &report.sip_call_id, media: &report.media }
}

fn media(report: &MediaReport) -> MediaLine<'_> {
    let hundredths = |value: f32| (f64::from(value) * 100.0).round() / 100.0;
    MediaLine {
        kind: report.kind.as_str(),
        codec: &report.codec,
        packets: report.packets,
        bytes: report.bytes,
        lost: report.lost,
        duplicates: report.duplicates,
        jitter_ms: hundredths(report.jitter_ms),
        mos: report.mos.map(hundredths),
        one_way: report.one_way,
        dtmf_digits: report.dtmf_digits,
        strays: report.strays,
        dscp: report.dscp,
        remote: report.remote,
        path: report.path.as_str(),
        packets_xdp: report.packets_xdp,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::clock::Clock;
    use super::*;
    use crate::base::id::Token;
    use crate::base::{Instant, ShardId, Slot};
    use crate::observe::{CallId, CallResult, EndCause, MediaKind, MediaPath};

    pub fn record(index: u32) -> CallRecord {
        let token = Token { shard: ShardId(0), slot: Slot { index, generation: 0 }, salt: 1 };
        let media = MediaReport {
            kind: MediaKind::Audio,
            codec: "PCMU".into(),
            packets: 500,
            bytes: 86_000,
            lost: 1,
            duplicates: 0,
            jitter_ms: 0.123,
            mos: Some(4.409),
            one_way: false,
            dtmf_digits: 0,
            strays: 0,
            dscp: 46,
            remote: Some(([192, 0, 2, 1], 4000).into()),
            path: MediaPath::IoUring,
            packets_xdp: 0,
        };
        let leg = LegReport { remote: None, sip_call_id: "a@b".into(), media: vec![media] };
        CallRecord {
            call: CallId(token),
            account: Some("alice".into()),
            trunk_in: None,
            trunk_out: Some("carrier-a".into()),
            from: "alice".into(),
            to: "+15550100".into(),
            started: Instant::from_millis(1_000),
            ringing: Some(Instant::from_millis(1_012)),
            answered: Some(Instant::from_millis(2_000)),
            ended: Instant::from_millis(12_500),
            result: CallResult::Answered,
            cause: EndCause::Hangup,
            ended_by: Some(Leg::Caller),
            status: 200,
            limit: None,
            limit_wait: None,
            callee: Some(LegReport {
                media: vec![MediaReport { one_way: true, ..leg.media[0].clone() }],
                ..leg.clone()
            }),
            caller: leg,
        }
    }

    #[test]
    fn a_record_is_one_line_of_json() {
        let clock = Clock::new(std::time::Instant::now());
        let line = record_line(&record(7), "phx-1", &clock.reading());
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((value["setup_ms"].as_u64(), value["duration_ms"].as_u64()), (Some(12), Some(10_500)));
        assert_eq!((value["ended_by"].as_str(), value["one_way"].as_str()), (Some("caller"), Some("callee")));
        assert_eq!(value["caller"]["media"][0]["mos"], 4.41);
        assert_eq!(value["node"], "phx-1");
    }
}
