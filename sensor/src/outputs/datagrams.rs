//! A line a datagram: to a Unix socket or over UDP.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use rustix::io::Errno;

use super::courier::{Destination, Remedy, Trouble};
use super::frame::Frame;
use super::queue::Line;
use super::stream::{WRITE, is_timeout};

/// Where lines go, each in a datagram.
pub(super) struct Datagrams {
    place: Place,
    frame: Frame,
    open: Option<Open>,
    text: Vec<u8>,
}

/// What is to be reached.
pub(super) enum Place {
    /// A Unix socket.
    Unix(PathBuf),
    /// A host and a port.
    Udp(String),
}

enum Open {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

impl Datagrams {
    pub(super) fn new(place: Place, frame: Frame) -> Self {
        Self {
            place,
            frame,
            open: None,
            text: Vec::new(),
        }
    }

    fn connect(&self) -> io::Result<Open> {
        match &self.place {
            Place::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_write_timeout(Some(WRITE))?;
                socket.connect(path)?;
                Ok(Open::Unix(socket))
            }
            Place::Udp(host) => {
                let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
                for address in host.to_socket_addrs()? {
                    let any: SocketAddr = match address {
                        SocketAddr::V4(_) => ([0; 4], 0).into(),
                        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
                    };
                    match UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| socket)) {
                        Ok(socket) => {
                            socket.set_write_timeout(Some(WRITE))?;
                            return Ok(Open::Udp(socket));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
}

impl Destination for Datagrams {
    fn open(&mut self) -> Result<(), Trouble> {
        if self.open.is_none() {
            self.open = Some(self.connect().map_err(|error| Trouble::lost(&error))?);
        }
        Ok(())
    }

    fn close(&mut self) {
        self.open = None;
    }

    fn deliver(&mut self, lines: &mut VecDeque<Line>) -> Result<(), Trouble> {
        self.open()?;
        let Some(open) = &self.open else { return Ok(()) };
        while let Some(line) = lines.front() {
            self.text.clear();
            self.frame.put(line, &mut self.text);
            let sent = match open {
                Open::Unix(socket) => socket.send(&self.text),
                Open::Udp(socket) => socket.send(&self.text),
            };
            match sent {
                Ok(_) => _ = lines.pop_front(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Err(Trouble::busy()),
                Err(error) if error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) => {
                    let cause = format!("a line of {} bytes fits no datagram", self.text.len());
                    return Err(Trouble::new(Remedy::GiveUp, cause));
                }
                Err(error) => return Err(Trouble::lost(&error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_line_too_long_for_a_datagram_is_refused_and_the_next_goes() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let host = socket.local_addr().unwrap().to_string();
        let mut datagrams = Datagrams::new(Place::Udp(host), Frame::new("", false));
        let long = vec![b'x'; 100_000];
        let mut lines: VecDeque<Line> = [Arc::from(long), Arc::from(*b"next\n")].into();
        let trouble = datagrams.deliver(&mut lines).unwrap_err();
        assert_eq!((trouble.remedy, lines.len()), (Remedy::GiveUp, 2));
        lines.pop_front();
        datagrams.deliver(&mut lines).unwrap();
        let mut heard = [0; 64];
        let length = socket.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"next");
    }
}
