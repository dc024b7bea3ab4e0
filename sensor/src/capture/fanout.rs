//! What packet sockets are asked and told: packet(7).
//!
//! Several rings for one interface, among which the kernel deals the frames (`PACKET_FANOUT`).
//! Both directions of a pair of addresses, with all ports and fragments, come to one ring: the kernel runs a little program
//! on each frame that mixes the two addresses. It sees the outermost ones. What a tunnel carries is dealt out once more
//! behind the rings, by the innermost addresses ([`crate::workers`]).

#![allow(
    unsafe_code,
    reason = "no crate offers these calls; the descriptor is open for as long as it is borrowed, and the \
              kernel copies what the pointers show before the call returns"
)]

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `PACKET_FANOUT_CBPF`: a classic BPF program says to which ring a frame goes.
const BY_PROGRAM: c_int = 6;

/// How a program addresses what is not in the frame: `SKF_AD_OFF` with `SKF_AD_PROTOCOL`, and `SKF_NET_OFF`.
const PROTOCOL: u32 = 0xffff_f000;
const NETWORK: u32 = 0xfff0_0000;

/// Where the addresses of an IPv6 header begin, and how many words they are; of an IPv4 header there are two words.
const IPV6_ADDRESSES: u32 = 8;
const IPV6_WORDS: u32 = 8;
const IPV4_ADDRESSES: u32 = 12;

/// `PACKET_FANOUT_FLAG_UNIQUEID`: the kernel chooses a number that no group of the network has. Whatever a process has of its
/// own, another may have as well, in another namespace of processes.
const NEW: c_int = 0x2000;

/// Sockets among which frames are dealt out, by the number that the kernel gave them.
#[derive(Clone, Copy)]
pub(super) struct Group(c_int);

/// Joins a socket that listens on an interface to those of a group on it, or to a new one. All of them have the same program.
pub(super) fn join(socket: BorrowedFd<'_>, group: Option<Group>) -> io::Result<Group> {
    let kind = group.map_or(NEW << 16, |Group(number)| number) | BY_PROGRAM << 16;
    set(socket, libc::PACKET_FANOUT, &kind)?;
    let mut program = program();
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap_or_default(),
        filter: program.as_mut_ptr(),
    };
    set(socket, libc::PACKET_FANOUT_DATA, &program)?;
    group_of(socket)
}

/// The group that a socket is in.
fn group_of(socket: BorrowedFd<'_>) -> io::Result<Group> {
    let mut value: c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of::<c_int>()).unwrap_or_default();
    // SAFETY: `value` has room for `length` bytes, and both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_FANOUT,
            (&raw mut value).cast::<c_void>(),
            &raw mut length,
        )
    };
    if result == 0 {
        // Above the number stand kind and flags.
        Ok(Group(value & 0xffff))
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Is there still the interface that a socket listens on? The kernel lets go of one that is taken away or moved to another
/// network, and does not come back to it, whatever has its name later.
pub(super) fn has_interface(socket: BorrowedFd<'_>) -> bool {
    let mut address = libc::sockaddr_ll {
        sll_family: 0,
        sll_protocol: 0,
        sll_ifindex: 0,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let mut length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
    // SAFETY: `address` has room for `length` bytes, and both outlive the call.
    let result = unsafe {
        libc::getsockname(
            socket.as_raw_fd(),
            (&raw mut address).cast::<libc::sockaddr>(),
            &raw mut length,
        )
    };
    result != 0 || address.sll_ifindex >= 0
}

fn set<T>(socket: BorrowedFd<'_>, option: c_int, value: &T) -> io::Result<()> {
    let value: *const T = value;
    let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default();
    // SAFETY: `value` points to `length` bytes that outlive the call, and what they point to in turn does, too.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            value.cast::<c_void>(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Mixes the addresses of IPv4 and IPv6, the same for both directions; anything else goes to the first ring. The kernel takes
/// the result modulo the number of rings.
fn program() -> Vec<libc::sock_filter> {
    let step = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt,
        jf,
        k,
    };
    let load = |at: u32| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, NETWORK + at, 0, 0);
    let keep = step(libc::BPF_MISC | libc::BPF_TAX, 0, 0, 0);
    let mix = step(libc::BPF_ALU | libc::BPF_XOR | libc::BPF_X, 0, 0, 0);
    let is = |protocol, no| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, protocol, 0, no);
    // A product's upper bits depend on all bits of what is multiplied.
    let end = [
        step(libc::BPF_ALU | libc::BPF_MUL | libc::BPF_K, 0x9e37_79b1, 0, 0),
        step(libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K, 16, 0, 0),
        step(libc::BPF_RET | libc::BPF_A, 0, 0, 0),
    ];
    // The sum of words at `from`, in the order in which they stand: exclusive or knows none.
    let words = |from: u32, count: u32| {
        let mut steps = vec![load(from)];
        for word in 1..count {
            steps.extend([keep, load(from + 4 * word), mix]);
        }
        steps.extend(end);
        steps
    };
    let ipv4 = words(IPV4_ADDRESSES, 2);
    let ipv6 = words(IPV6_ADDRESSES, IPV6_WORDS);
    let over = |steps: &[libc::sock_filter]| u8::try_from(steps.len()).unwrap_or_default();
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, PROTOCOL, 0, 0)];
    program.push(is(0x0800, over(&ipv4)));
    program.extend(ipv4);
    program.push(is(0x86dd, over(&ipv6)));
    program.extend(ipv6);
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, 0));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program on a packet as the kernel does.
    fn ring(protocol: u32, packet: &[u8]) -> u32 {
        let (mut a, mut x) = (0_u32, 0_u32);
        let program = program();
        let mut next = 0;
        loop {
            let step = program[next];
            next += 1;
            let code = u32::from(step.code);
            if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS {
                a = if step.k == PROTOCOL {
                    protocol
                } else {
                    let at = usize::try_from(step.k - NETWORK).unwrap();
                    // Beyond the end the kernel ends the program with 0.
                    let Some(word) = packet.get(at..at + 4) else { return 0 };
                    u32::from_be_bytes(word.try_into().unwrap())
                };
            } else if code == libc::BPF_MISC | libc::BPF_TAX {
                x = a;
            } else if code == libc::BPF_ALU | libc::BPF_XOR | libc::BPF_X {
                a ^= x;
            } else if code == libc::BPF_ALU | libc::BPF_MUL | libc::BPF_K {
                a = a.wrapping_mul(step.k);
            } else if code == libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K {
                a >>= step.k;
            } else if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K {
                next += usize::from(if a == step.k { step.jt } else { step.jf });
            } else if code == libc::BPF_RET | libc::BPF_A {
                return a;
            } else {
                assert_eq!(code, libc::BPF_RET | libc::BPF_K);
                return step.k;
            }
        }
    }

    fn ipv4(source: [u8; 4], destination: [u8; 4], rest: u8) -> Vec<u8> {
        [&[0x45; 12][..], &source, &destination, &[rest; 20]].concat()
    }

    fn ipv6(source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
        [&[0x60; 8][..], &source, &destination].concat()
    }

    #[test]
    fn both_directions_and_all_ports_come_to_one_ring() {
        let (a, b) = ([10, 0, 0, 1], [192, 0, 2, 7]);
        assert_eq!(ring(0x0800, &ipv4(a, b, 1)), ring(0x0800, &ipv4(b, a, 2)));
        let (a, b) = ([0x20; 16], *b"0123456789abcdef");
        assert_eq!(ring(0x86dd, &ipv6(a, b)), ring(0x86dd, &ipv6(b, a)));
    }

    #[test]
    fn pairs_are_spread_and_what_has_none_goes_to_the_first() {
        for rings in [2, 3, 4, 8] {
            let mut count = vec![0; rings];
            for host in 0..=255 {
                let packet = ipv4([10, 1, 2, host], [10, 1, 3, host / 2], 0);
                let mut v6 = [0x20; 16];
                v6[15] = host;
                for ring in [ring(0x0800, &packet), ring(0x86dd, &ipv6(v6, [1; 16]))] {
                    count[ring as usize % rings] += 1;
                }
            }
            let fair = 512 / rings;
            assert!(
                count.iter().all(|&count| count > fair / 2 && count < fair * 2),
                "{count:?}"
            );
        }
        for (protocol, packet) in [(0x0806, &[0; 28][..]), (0x8847, &[0x45; 40]), (0x0800, &[0x45; 14])] {
            assert_eq!(ring(protocol, packet), 0);
        }
    }
}
