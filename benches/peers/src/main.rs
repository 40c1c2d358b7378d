//! Parsing and reading all T2 fields against rsipstack: `cargo run --release --manifest-path benches/peers/Cargo.toml` prints
//! `ratio NAME FIGURE MIN MAX`. Message and rounds are those of `benches/parse`.

#[path = "../../parse/message.rs"]
#[allow(dead_code)]
mod message;
#[path = "../../parse/ratio.rs"]
mod ratio;

use rsipstack::sip::prelude::*;
use rsipstack::sip::{Error, Header, Request};
use strowger::sip::wire::Index;

use message::take;

fn main() {
    let (sip, mut index) = (message::sip(), Index::new());
    assert_eq!(rsipstack(&sip), message::ours(&sip, &mut index), "the peer reads the same fields");
    ratio::ratio("parse_vs_rsipstack_speedup", || message::ours(&sip, &mut index), || rsipstack(&sip), true);
}

/// rsipstack, by its typed headers.
fn rsipstack(bytes: &[u8]) -> u64 {
    let Ok(request) = Request::try_from(bytes) else { return 0 };
    let typed = || -> Result<u64, Error> {
        let via = request.via_header()?.typed()?;
        let mut sum = take(0, request.uri.to_string().as_bytes());
        sum = take(sum, via.branch().map_or(b"", |branch| branch.value().as_bytes()));
        let received = via.received().transpose()?.map(|address| address.to_string());
        sum = take(sum, received.unwrap_or_default().as_bytes());
        let (from, to) = (request.from_header()?.typed()?, request.to_header()?.typed()?);
        sum = take(sum, from.tag().map_or(b"", |tag| tag.value().as_bytes()));
        sum = take(sum, to.tag().map_or(b"", |tag| tag.value().as_bytes()));
        sum = take(sum, request.call_id_header()?.value().as_bytes());
        sum ^= u64::from(request.cseq_header()?.seq()?);
        sum ^= request.max_forwards_header()?.value().trim().parse::<u64>().unwrap_or_default();
        let route = request.headers.iter().find_map(|header| match header {
            Header::Route(route) => Some(route.typed()),
            _ => None,
        });
        let route = route.transpose()?.map(|route| route.uri.to_string());
        sum = take(sum, route.unwrap_or_default().as_bytes());
        sum = take(sum, request.contact_header()?.typed()?.uri.to_string().as_bytes());
        Ok(sum ^ request.body.len() as u64)
    };
    typed().unwrap_or(0)
}
