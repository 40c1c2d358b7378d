//! The label values of every metric. A new reason is one line here; nothing else needs to change.

/// An enum whose variants are label values: dense indices for cells, names for the outside.
macro_rules! labels {
    ($(#[$outer:meta])* $name:ident { $($(#[doc = $help:literal])+ $variant:ident = $text:literal,)+ }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[doc = $help])+ $variant,)+ }

        impl $name {
            /// Every value, in index order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The value of the label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// One line for a person.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($help),+).trim().trim_end_matches('.'),)+ }
            }

            /// The place in an array of cells.
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

labels! {
    /// Methods counted by name (`method`).
    MethodLabel {
        /// RFC 3261.
        Invite = "INVITE",
        /// RFC 3261.
        Ack = "ACK",
        /// RFC 3261.
        Bye = "BYE",
        /// RFC 3261.
        Cancel = "CANCEL",
        /// RFC 3261.
        Options = "OPTIONS",
        /// RFC 3261.
        Register = "REGISTER",
        /// RFC 3262.
        Prack = "PRACK",
        /// RFC 3311.
        Update = "UPDATE",
        /// RFC 6086.
        Info = "INFO",
        /// RFC 6665.
        Subscribe = "SUBSCRIBE",
        /// RFC 6665.
        Notify = "NOTIFY",
        /// RFC 3515.
        Refer = "REFER",
        /// RFC 3428.
        Message = "MESSAGE",
        /// RFC 3903.
        Publish = "PUBLISH",
        /// Any other token: a peer must not be able to make label values.
        Other = "other",
    }
}

impl MethodLabel {
    /// The label of a method as it stands in a request line.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        Self::ALL.iter().copied().find(|label| label.as_str() == name).unwrap_or(Self::Other)
    }
}

labels! {
    /// Which way a request went (`direction`).
    Direction {
        /// To us.
        In = "in",
        /// From us.
        Out = "out",
    }
}

labels! {
    /// How a call ended (`result`).
    CallResult {
        /// Was answered; ended in whatever way later.
        Answered = "answered",
        /// 486, 600.
        Busy = "busy",
        /// Rang until the timeout, 480, 408.
        NoAnswer = "no_answer",
        /// The caller gave up.
        Cancelled = "cancelled",
        /// Any other refusal by the far end, 4xx and 6xx.
        Rejected = "rejected",
        /// 5xx, no route, no trunk reachable.
        Failed = "failed",
        /// Refused by a limit of ours.
        Limited = "limited",
    }
}

labels! {
    /// Why a limit refused a call (`reason`).
    LimitReason {
        /// The account's `max_calls`; every right that this site may have is in use.
        Account = "account",
        /// No other site answered within `limits.borrow_timeout`.
        BorrowTimeout = "borrow_timeout",
        /// Rights are elsewhere, and no other site can be reached.
        CutOff = "cut_off",
        /// A call that was up, ended since its borrowed right lapsed, with `limits.policy = "drop"`.
        Withdrawn = "withdrawn",
        /// The trunk's `max_calls`.
        TrunkCalls = "trunk_calls",
        /// The trunk's `max_cps`.
        TrunkRate = "trunk_rate",
        /// The shard's `calls_max`.
        CallsFull = "calls_full",
        /// No media port left.
        PortsFull = "ports_full",
        /// The node drains.
        Draining = "draining",
        /// The node is overloaded.
        Overload = "overload",
    }
}

labels! {
    /// What carried an RTP packet (`path`).
    MediaPath {
        /// The kernel's fast path.
        Xdp = "xdp",
        /// A shard on io_uring.
        IoUring = "io_uring",
        /// A shard on epoll.
        Epoll = "epoll",
    }
}

labels! {
    /// Why the fast path handed a packet for one of our media ports up to its socket (`reason`).
    FastPathPass {
        /// The port is open and nothing is relayed below.
        Open = "open",
        /// From elsewhere.
        Source = "source",
        /// RTCP, DTLS, rubbish.
        NotRtp = "not_rtp",
        /// A telephone event, comfort noise, another codec or source identifier.
        Unexpected = "unexpected",
        /// The shard has not looked for `media.fast_path_dead_man`.
        Expired = "expired",
        /// The next hop is not known now.
        NoHop = "no_hop",
        /// Larger than the way out carries.
        TooBig = "too_big",
        /// A fragment, IP options, IPv6 extensions.
        Odd = "odd",
        /// The rule was being written.
        Torn = "torn",
    }
}

labels! {
    /// What speaks for a scanner (`reason`).
    Suspicion {
        /// A request that was challenged and carried no credentials.
        Unauthenticated = "unauthenticated",
        /// Credentials that did not verify.
        WrongDigest = "wrong_digest",
        /// An OPTIONS from somebody whom nobody knows.
        Options = "options",
        /// A request that nobody here asked for or takes: a method, an extension or a dialog that we do not have.
        Unsolicited = "unsolicited",
        /// Octets that are not SIP.
        Unparsable = "unparsable",
        /// The name of a scanner in User-Agent.
        ScannerAgent = "scanner_agent",
    }
}

labels! {
    /// Why something was thrown away (`reason`).
    DropReason {
        /// Not SIP at all, or a response that does not parse.
        SipUnparsable = "sip_unparsable",
        /// A response without a transaction.
        SipStrayResponse = "sip_stray_response",
        /// An ACK without a dialog.
        SipStrayAck = "sip_stray_ack",
        /// A response with a Via that is not ours.
        SipForeignVia = "sip_foreign_via",
        /// A stream whose bytes cannot be framed; closed.
        SipFraming = "sip_framing",
        /// Longer than a message may be.
        SipTooLong = "sip_too_long",
        /// No free transaction.
        TransactionsFull = "transactions_full",
        /// No free timer.
        TimersFull = "timers_full",
        /// No free connection.
        ConnectionsFull = "connections_full",
        /// Another shard's queue is full.
        MailFull = "mail_full",
        /// A handed-over datagram or message whose call is gone.
        MailStale = "mail_stale",
        /// The driver's send queue is full.
        SendFull = "send_full",
        /// The kernel refused the send.
        SendError = "send_error",
        /// A stream's send queue is full.
        StreamFull = "stream_full",
        /// A datagram longer than the buffer.
        Truncated = "truncated",
        /// No receive buffer was free.
        BuffersEmpty = "buffers_empty",
        /// A datagram on a socket nobody owns any more.
        UnknownSocket = "unknown_socket",
        /// Media on a port without a stream.
        MediaNoStream = "media_no_stream",
        /// Anything from a blocked source, by the fast path or before it is parsed.
        SourceBlocked = "source_blocked",
        /// A request without an answer, from a muted source.
        SourceMuted = "source_muted",
        /// Evidence of scanning, beyond what a shard tells the others in a second.
        EvidenceFull = "evidence_full",
        /// Media from a source that is not the peer.
        MediaStray = "media_stray",
        /// Media before the far side is known.
        MediaNoDestination = "media_no_destination",
        /// Media against the negotiated direction.
        MediaDirection = "media_direction",
        /// Media while the keeper of the rights stands still, and calls end with their loans.
        MediaUntrusted = "media_untrusted",
        /// Not RTP.
        RtpMalformed = "rtp_malformed",
        /// Not RTCP.
        RtcpMalformed = "rtcp_malformed",
        /// The event queue to the log is full.
        EventsFull = "events_full",
        /// The record queue and the spool are full.
        RecordsFull = "records_full",
        /// The queue to the keeper of the rights is full; it is told of all calls anew.
        NotesFull = "notes_full",
        /// Anything a later room has no name for yet.
        Other = "other",
    }
}

labels! {
    /// Plain counters of a shard; each is a metric of its own: `strowger_<name>_total`.
    Counter {
        /// Requests absorbed as retransmissions.
        SipRetransmissionsIn = "sip_retransmissions_in",
        /// Messages sent again by timers.
        SipRetransmissionsOut = "sip_retransmissions_out",
        /// Requests answered 400 or the like by the parser.
        SipBadRequests = "sip_bad_requests",
        /// Transactions that timed out (timers B, F, H).
        SipTimeouts = "sip_timeouts",
        /// Challenges sent.
        AuthChallenges = "auth_challenges",
        /// Credentials that verified.
        AuthAccepted = "auth_accepted",
        /// Credentials that did not.
        AuthRefused = "auth_refused",
        /// Nonces used twice.
        AuthReplays = "auth_replays",
        /// REGISTER requests that were granted.
        RegistrationsAccepted = "registrations_accepted",
        /// Bindings that ran out.
        RegistrationsExpired = "registrations_expired",
        /// Trunks that did not answer, could not be reached or said 503; the next one was tried.
        TrunkFailures = "trunk_failures",
        /// Streams with one-way audio.
        MediaOneWay = "media_one_way",
        /// Calls ended by the silent timeout.
        MediaSilent = "media_silent",
        /// Telephone events that passed.
        MediaDtmf = "media_dtmf",
        /// Streams' directions taken over by the fast path.
        FastPathDown = "fast_path_down",
        /// Directions given back to the sockets: hold, a change, the end of a call.
        FastPathUp = "fast_path_up",
        /// Directions that the fast path could not take: no next hop yet, no room.
        FastPathRefused = "fast_path_refused",
        /// Sources blocked: they scan, and have shown that what comes from there is theirs.
        SourcesBlocked = "sources_blocked",
        /// Sources muted: somebody scans from there, or in their name.
        SourcesMuted = "sources_muted",
        /// Suspects forgotten before their time for want of room.
        SuspectsForgotten = "suspects_forgotten",
        /// RTP packets missing by sequence number.
        MediaLost = "media_lost",
        /// Datagrams and messages handed to another shard.
        MailSent = "mail_sent",
        /// Times the shard's loop woke.
        LoopWakes = "loop_wakes",
        /// Nanoseconds the loop was busy.
        LoopBusyNanos = "loop_busy_nanos",
    }
}

labels! {
    /// Levels of a shard; each is a metric of its own: `strowger_<name>`.
    Gauge {
        /// Calls now.
        CallsActive = "calls_active",
        /// Transactions now.
        TransactionsActive = "transactions_active",
        /// Bindings now.
        RegistrationsActive = "registrations_active",
        /// Media streams now.
        StreamsActive = "media_streams_active",
        /// Directions of streams in the fast path now.
        FastPathSides = "fast_path_directions_active",
        /// Free RTP/RTCP port pairs.
        PortPairsFree = "media_port_pairs_free",
        /// TCP connections now.
        ConnectionsActive = "connections_active",
        /// Sources blocked now.
        BlockedSources = "blocked_sources",
        /// Sources muted now.
        MutedSources = "muted_sources",
        /// Shards that take no new calls.
        Draining = "draining",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_dense_and_names_unique() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
        let mut names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::COUNT);
    }

    #[test]
    fn a_peer_cannot_make_a_method_label() {
        assert_eq!(MethodLabel::from_name("INVITE"), MethodLabel::Invite);
        assert_eq!(MethodLabel::from_name("X-ANYTHING"), MethodLabel::Other);
    }
}
