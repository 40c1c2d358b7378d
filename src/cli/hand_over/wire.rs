//! What goes over the Unix socket: lines, octets, descriptors (`SCM_RIGHTS`, see unix(7)).

use std::io::{Error, ErrorKind, IoSlice, IoSliceMut, Read, Result, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde_json::Value;

/// `SCM_MAX_FD`: the most descriptors in one message.
const DESCRIPTORS_MAX: usize = 253;
const LINE_BYTES_MAX: usize = 64 * 1024;

pub(super) fn write_line(mut stream: &UnixStream, value: &Value) -> Result<()> {
    stream.write_all(format!("{value}\n").as_bytes())
}

/// Reads no octet beyond the line: what follows may be descriptors.
pub(super) fn read_line(mut stream: &UnixStream) -> Result<Value> {
    let (mut line, mut octet) = (Vec::new(), [0]);
    loop {
        stream.read_exact(&mut octet)?;
        match octet[0] {
            b'\n' => return serde_json::from_slice(&line).map_err(Error::from),
            _ if line.len() >= LINE_BYTES_MAX => return Err(ErrorKind::InvalidData.into()),
            octet => line.push(octet),
        }
    }
}

/// Nobody holds the other end any more.
pub(super) fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// One octet for so many descriptors.
pub(super) fn send_descriptors(stream: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    for some in descriptors.chunks(DESCRIPTORS_MAX) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(some));
        sendmsg(stream, &[IoSlice::new(b"d")], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

pub(super) fn receive_descriptors(stream: &UnixStream, count: usize) -> Result<Vec<OwnedFd>> {
    let mut descriptors = Vec::with_capacity(count);
    while descriptors.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut octet = [0];
        let message = recvmsg(stream, &mut [IoSliceMut::new(&mut octet)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if message.bytes == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let before = descriptors.len();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = part {
                descriptors.extend(some);
            }
        }
        if descriptors.len() == before {
            return Err(Error::new(ErrorKind::InvalidData, "descriptors are missing; raise LimitNOFILE="));
        }
    }
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn more_descriptors_than_one_message_takes_arrive_in_order() {
        let (one, other) = UnixStream::pair().unwrap();
        let files: Vec<_> = (0..600u64)
            .map(|number| {
                let file = tempfile::tempfile().unwrap();
                file.set_len(number).unwrap();
                file
            })
            .collect();
        let sender = std::thread::spawn(move || {
            write_line(&one, &serde_json::json!({ "a": 1 })).unwrap();
            send_descriptors(&one, &files.iter().map(AsFd::as_fd).collect::<Vec<_>>()).unwrap();
        });
        assert_eq!(read_line(&other).unwrap()["a"], 1);
        let received = receive_descriptors(&other, 600).unwrap();
        sender.join().unwrap();
        for (number, descriptor) in (0..).zip(received) {
            assert_eq!(std::fs::File::from(descriptor).metadata().unwrap().len(), number);
        }
        assert_eq!(receive_descriptors(&other, 1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
