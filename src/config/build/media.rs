//! `[media]`: addresses, ports and times of RTP, and DSCP.

use std::path::PathBuf;

use crate::config::model::{FastPath, Media, Qos};
use crate::config::reader::{Place, Reader};

pub(super) fn media<'s>(reader: &mut Reader<'s>, root: &Place<'_, 's>) -> Media {
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

pub(super) fn qos<'s>(reader: &mut Reader<'s>, parent: &Place<'_, 's>, key: &'static str, marks: Qos) -> Qos {
    let table = reader.table(parent, key);
    Qos {
        dscp_audio: reader.get(&table, "dscp_audio").integer_if_any().unwrap_or(marks.dscp_audio),
        dscp_video: reader.get(&table, "dscp_video").integer_if_any().unwrap_or(marks.dscp_video),
        dscp_signalling: reader.get(&table, "dscp_signalling").integer_if_any().unwrap_or(marks.dscp_signalling),
    }
}
