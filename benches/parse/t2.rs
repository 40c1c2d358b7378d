//! The same fields of the same message, read by other parsers into the same checksum.

use bytes::Bytes;
use rsip::headers::{ToTypedHeader as _, UntypedHeader as _};
use rsip::message::HeadersExt as _;
use sipx_sip::message::Message as SipxMessage;
use sipx_sip::parser::{Limits, parse_datagram};

use crate::message::take;

/// httparse on the HTTP twin: headers only, no field of it is read.
pub fn httparse(bytes: &[u8]) -> u64 {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length as u64 + request.headers.len() as u64,
        _ => 0,
    }
}

/// rsip, by its typed headers.
pub fn rsip(bytes: &[u8]) -> u64 {
    let Ok(request) = rsip::Request::try_from(bytes) else { return 0 };
    let typed = || -> Result<u64, rsip::Error> {
        let via = request.via_header()?.typed()?;
        let mut sum = take(0, request.uri.to_string().as_bytes());
        sum = take(sum, via.branch().map_or(b"", |branch| branch.value().as_bytes()));
        sum =
            take(sum, via.received().ok().flatten().map(|address| address.to_string()).unwrap_or_default().as_bytes());
        let (from, to) = (request.from_header()?.typed()?, request.to_header()?.typed()?);
        sum = take(sum, from.tag().map_or(b"", |tag| tag.value().as_bytes()));
        sum = take(sum, to.tag().map_or(b"", |tag| tag.value().as_bytes()));
        sum = take(sum, request.call_id_header()?.value().as_bytes());
        sum ^= u64::from(request.cseq_header()?.seq()?);
        sum ^= u64::from(request.max_forwards_header()?.num()?);
        let route = request.route_header().map(|route| route.typed()).transpose()?;
        let route = route.and_then(|route| route.uris().first().map(|route| route.uri.to_string()));
        sum = take(sum, route.unwrap_or_default().as_bytes());
        sum = take(sum, request.contact_header()?.typed()?.uri.to_string().as_bytes());
        Ok(sum ^ request.body.len() as u64)
    };
    typed().unwrap_or(0)
}

/// sipx-sip, by its typed headers.
pub fn sipx(bytes: &Bytes) -> u64 {
    use sipx_sip::headers::{CSeq, CallId, Contact, From, MaxForwards, Route, To, Via};

    let Ok(SipxMessage::Request(request)) = parse_datagram(bytes.clone(), &Limits::datagram()) else { return 0 };
    let headers = &request.headers;
    let Some(Ok(via)) = headers.typed::<Via>() else { return 0 };
    let mut sum = take(0, &request.uri.to_bytes());
    sum = take(sum, via.branch().unwrap_or_default());
    sum = take(sum, via.received().unwrap_or_default());
    let (Some(Ok(from)), Some(Ok(to))) = (headers.typed::<From>(), headers.typed::<To>()) else { return 0 };
    sum = take(sum, from.tag().unwrap_or_default());
    sum = take(sum, to.tag().unwrap_or_default());
    let Some(Ok(call_id)) = headers.typed::<CallId>() else { return 0 };
    sum = take(sum, &call_id.0);
    let Some(Ok(cseq)) = headers.typed::<CSeq>() else { return 0 };
    sum ^= u64::from(cseq.sequence);
    let Some(Ok(forwards)) = headers.typed::<MaxForwards>() else { return 0 };
    sum ^= u64::from(forwards.0);
    let Some(Ok(route)) = headers.typed::<Route>() else { return 0 };
    sum = take(sum, &route.uri.to_bytes());
    let Some(Ok(contact)) = headers.typed::<Contact>() else { return 0 };
    sum = take(sum, &contact.uri.to_bytes());
    sum ^ request.body().len() as u64
}
