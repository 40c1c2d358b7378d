//! Text as the engine writes it: parts that are always the same, and keys whose values are known when it is written.

use super::variable::VarId;

/// A part of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Always the same.
    Bytes(Vec<u8>),
    /// Known when it is written.
    Key(Key),
    /// The end of a line that goes away if nothing is on it.
    Break,
}

/// A text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    /// Its parts in order.
    pub parts: Vec<Part>,
}

/// What stands for something that is known only when a message is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    /// `[service]`
    Service,
    /// `[remote_ip]`, in brackets if it is IPv6.
    RemoteIp,
    /// `[remote_host]`
    RemoteHost,
    /// `[remote_port+N]`
    RemotePort(i64),
    /// `[local_ip]`, `[server_ip]`, in brackets if it is IPv6.
    LocalIp,
    /// `[local_ip_type]`
    LocalIpType,
    /// `[local_port+N]`
    LocalPort(i64),
    /// `[media_ip]`
    MediaIp,
    /// `[media_ip_type]`
    MediaIpType,
    /// `[media_port+N]`, `[rtpstream_audio_port+N]`
    MediaPort(i64),
    /// `[auto_media_port+N]`
    AutoMediaPort(i64),
    /// `[transport]`
    Transport,
    /// `[call_id]`
    CallId,
    /// `[call_number+N]`
    CallNumber(i64),
    /// `[cseq+N]`
    Cseq(i64),
    /// `[pid]`
    Pid,
    /// `[len+N]`
    Len(i64),
    /// `[branch-N]`
    Branch(i64),
    /// `[msg_index]`
    MsgIndex,
    /// `[last_NAME:]`; true: the value alone.
    Last(String, bool),
    /// `[last_message]`
    LastMessage,
    /// `[last_cseq_number+N]`
    LastCseqNumber(i64),
    /// `[last_Request_URI]`
    LastRequestUri,
    /// `[peer_tag_param]`
    PeerTagParam,
    /// `[routes]`
    Routes,
    /// `[next_url]`
    NextUrl,
    /// `[$name]`
    Variable(VarId),
    /// `[fieldN file= line=]`
    Field {
        /// Which field.
        field: usize,
        /// Which injection file.
        file: usize,
        /// Which line; otherwise the call's own.
        line: Option<Text>,
    },
    /// `[authentication username= password=]`
    Authentication(Option<Text>, Option<Text>),
    /// `[timestamp]`
    Timestamp,
    /// `[date]`
    Date,
    /// `[clock_tick]`
    ClockTick,
    /// `[dynamic_id]`
    DynamicId,
    /// `[fill variable= text=]`
    Fill(VarId, String),
    /// `[users]`
    Users,
    /// `[userid]`
    UserId,
}

impl Key {
    /// Whether it may stand for nothing, and its line goes with it.
    pub fn may_vanish(&self) -> bool {
        matches!(
            self,
            Self::Last(..) | Self::Routes | Self::Authentication(..) | Self::Variable(_) | Self::Field { .. }
        )
    }
}

impl Text {
    /// More that is always the same.
    pub fn push(&mut self, bytes: &[u8]) {
        match self.parts.last_mut() {
            Some(Part::Bytes(last)) => last.extend_from_slice(bytes),
            _ => self.parts.push(Part::Bytes(bytes.to_vec())),
        }
    }

    /// Its first bytes, up to the first keyword.
    pub fn head(&self) -> &[u8] {
        match self.parts.first() {
            Some(Part::Bytes(bytes)) => bytes,
            _ => b"",
        }
    }
}
