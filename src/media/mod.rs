//! Media as rules over packets: RTP and RTCP relayed between two parties, measured, and watched for silence.
//!
//! Owned by the shard, which feeds [`Relay::handle_packet`] and opens the sockets that [`Relay::poll_socket`] asks for.
//! Pure: addresses are values, time is an argument, nothing is allocated per packet.
#![forbid(unsafe_code)]

pub mod dtmf;
mod half;
pub mod learning;
pub mod model;
pub mod options;
pub mod path;
pub mod ports;
pub mod quality;
pub mod relay;
pub mod report;
pub mod rtcp;
pub mod rtp;
mod stream;
mod table;

pub use options::{LocalAddress, Refused, RelayConfig, RemoteOptions, SideOptions, StreamKind, StreamOptions};
pub use path::{FastCounts, FastPath, FastRule, Mark, PassReason, PathRequest, PathTotals, Swept, Waiting};
pub use ports::PortPool;
pub use relay::{DropReason, Verdict};
pub use report::{MediaEvent, RelayCounts, SideReport, SocketRequest, StreamReport, StreamSlot, Way};
pub use table::{Frozen, Relay};
