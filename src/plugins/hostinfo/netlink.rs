//! rtnetlink(7): the kernel's lists of interfaces, addresses and routes. By hand,
//! because it is little: the crates for it refuse a message whole for one
//! attribute that they do not understand, which a newer kernel may send.

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::os::fd::{AsRawFd as _, OwnedFd};

const HEADER: usize = 16;
/// The kernel sends no more than 32 KiB at once.
const BUFFER: usize = 64 * 1024;
/// While interfaces come and go, a list is asked for so often; the last one counts.
const TRIES: u32 = 3;
const SEQUENCE: u32 = 1;

/// What `take` makes of the messages of a list, one after the other: there may be a
/// million of them. `kind` asks for the list, `header` is what follows a message's
/// own header in such a question.
pub fn dump<T: Default>(kind: u16, header: &[u8], mut take: impl FnMut(&mut T, &[u8])) -> Result<T, Errno> {
    let netlink =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let mut tries = 1;
    loop {
        ask(&netlink, kind, header)?;
        // What was taken of a list that changed is thrown away.
        let mut taken = T::default();
        let torn = answer(&netlink, |message| take(&mut taken, message))?;
        if !torn || tries == TRIES {
            return Ok(taken);
        }
        tries += 1;
    }
}

fn ask(netlink: &OwnedFd, kind: u16, header: &[u8]) -> Result<(), Errno> {
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).expect("the field is 16 bits");
    let length = u32::try_from(HEADER + header.len()).expect("headers are short");
    let mut question = Vec::with_capacity(HEADER + header.len());
    question.extend(length.to_ne_bytes());
    question.extend(kind.to_ne_bytes());
    question.extend(flags.to_ne_bytes());
    question.extend(SEQUENCE.to_ne_bytes());
    question.extend(0u32.to_ne_bytes());
    question.extend(header);
    send(netlink.as_raw_fd(), &question, MsgFlags::empty()).map(drop)
}

/// Whether the list changed while it was told.
fn answer(netlink: &OwnedFd, mut take: impl FnMut(&[u8])) -> Result<bool, Errno> {
    let mut torn = false;
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC)?;
        let mut rest = buffer.get(..length).ok_or(Errno::EMSGSIZE)?;
        while !rest.is_empty() {
            let length = u32_at(rest, 0).ok_or(Errno::EBADMSG)? as usize;
            let message = rest.get(..length).filter(|_| length >= HEADER).ok_or(Errno::EBADMSG)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            let (kind, flags) = (u16_at(message, 4), u16_at(message, 6));
            if u32_at(message, 8) != Some(SEQUENCE) {
                continue;
            }
            torn |= flags.is_some_and(|flags| i32::from(flags) & libc::NLM_F_DUMP_INTR != 0);
            match i32::from(kind.ok_or(Errno::EBADMSG)?) {
                libc::NLMSG_DONE => return Ok(torn),
                libc::NLMSG_ERROR => return Err(error(message)),
                libc::NLMSG_NOOP => {}
                _ => take(&message[HEADER..]),
            }
        }
    }
}

fn error(message: &[u8]) -> Errno {
    let number = u32_at(message, HEADER).map_or(0, u32::cast_signed);
    Errno::from_raw(number.wrapping_neg())
}

/// The attributes that follow a header in a message: kind and value.
pub fn attributes(message: &[u8], header: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = message.get(header..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        // The two highest bits say how the value is written.
        let kind = u16_at(rest, 2)? & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A number in a message, in the machine's order.
pub fn u16_at(bytes: &[u8], place: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(place..)?.first_chunk()?))
}

/// See [`u16_at`].
pub fn u32_at(bytes: &[u8], place: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(place..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_where_the_message_does() {
        let attribute = |length: u16, kind: u16, value: &[u8]| {
            [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
        };
        let message = [
            b"head".to_vec(),
            attribute(5, 3, b"a\0\0\0"),
            attribute(4, 0x8004, b""),
            attribute(99, 5, b"cut"),
        ];
        let seen: Vec<_> =
            attributes(&message.concat(), 4).map(|(kind, value)| (kind, value.len())).collect();
        assert_eq!(seen, [(3, 1), (4, 0)]);
        assert_eq!(attributes(&attribute(3, 1, b""), 0).count(), 0);
        assert_eq!(attributes(b"", 4).count(), 0);
    }

    #[test]
    fn a_question_that_the_kernel_does_not_know_is_an_error() {
        let refused = dump(libc::RTM_GETLINK + 1000, &[0; 16], |(): &mut (), _| {});
        assert_eq!(refused, Err(Errno::EOPNOTSUPP));
    }
}
