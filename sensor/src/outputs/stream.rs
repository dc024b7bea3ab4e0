//! Lines one after another: to a Unix socket, over TCP, or into a file.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, socket};

use super::courier::{Destination, Remedy, Trouble};
use super::frame::Frame;
use super::queue::Line;

/// How long an attempt to connect may take.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// How long it may take until the other side takes something.
pub(super) const WRITE: Duration = Duration::from_secs(1);

/// Where lines go, one after another.
pub(super) struct Stream {
    place: Place,
    frame: Frame,
    open: Option<Open>,
    /// The line that is being written, and how much of it is.
    text: Vec<u8>,
    done: usize,
}

/// What is to be opened.
pub(super) enum Place {
    /// A Unix socket.
    Unix(PathBuf),
    /// A host and a port.
    Tcp(String),
    /// A file.
    File(PathBuf),
}

enum Open {
    Unix(UnixStream),
    Tcp(TcpStream),
    File(File),
}

impl Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }
}

impl Stream {
    pub(super) fn new(place: Place, frame: Frame) -> Self {
        Self {
            place,
            frame,
            open: None,
            text: Vec::new(),
            done: 0,
        }
    }
}

impl Destination for Stream {
    fn open(&mut self) -> Result<(), Trouble> {
        // What is written to a peer that has gone would be lost in silence.
        if let Some(Open::Tcp(stream)) = &self.open
            && has_gone(stream)
        {
            self.close();
        }
        if self.open.is_none() {
            let opened = match &self.place {
                Place::Unix(path) => connect_unix(path).map(Open::Unix),
                Place::Tcp(host) => connect_tcp(host).map(Open::Tcp),
                Place::File(path) => OpenOptions::new().append(true).create(true).open(path).map(Open::File),
            };
            self.open = Some(opened.map_err(|error| match &self.place {
                // Nobody listens at a file.
                Place::File(_) => Trouble::new(Remedy::Wait, error.to_string()),
                _ => Trouble::lost(&error),
            })?);
        }
        Ok(())
    }

    fn close(&mut self) {
        self.open = None;
        // Whoever reads what is opened next begins with a whole line.
        self.done = 0;
    }

    fn deliver(&mut self, lines: &mut VecDeque<Line>) -> Result<(), Trouble> {
        self.open()?;
        let Some(open) = &mut self.open else { return Ok(()) };
        while let Some(line) = lines.front() {
            if self.text.is_empty() {
                self.frame.put(line, &mut self.text);
            }
            while let Some(rest) = self.text.get(self.done..).filter(|rest| !rest.is_empty()) {
                match open.write(rest) {
                    Ok(0) => return Err(Trouble::lost(&ErrorKind::WriteZero.into())),
                    Ok(count) => self.done += count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if matches!(self.place, Place::File(_)) => {
                        return Err(Trouble::new(Remedy::Wait, error.to_string()));
                    }
                    Err(error) if is_timeout(&error) => return Err(Trouble::busy()),
                    Err(error) => return Err(Trouble::lost(&error)),
                }
            }
            self.text.clear();
            self.done = 0;
            lines.pop_front();
        }
        Ok(())
    }
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Has the peer closed the connection, or is it broken?
fn has_gone(stream: &TcpStream) -> bool {
    let peek = || {
        stream.set_nonblocking(true)?;
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        peeked
    };
    match peek() {
        Ok(0) => true,
        // Nobody asked it anything.
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// A listener that accepts nobody would hold a caller for good: std has no time limit for these.
pub(super) fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(WRITE))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

/// Connects to the first of the addresses of `host`, which has a port behind it, that answers.
pub(super) fn connect_tcp(host: impl ToSocketAddrs) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                stream.set_write_timeout(Some(WRITE))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::sync::Arc;

    use super::*;

    fn lines(texts: &[&str]) -> VecDeque<Line> {
        texts.iter().map(|text| Arc::from(text.as_bytes())).collect()
    }

    fn socket(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("dcom-sensor-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn a_reader_that_stops_is_waited_for_and_no_line_is_torn() {
        let path = socket("stops");
        let listener = UnixListener::bind(&path).unwrap();
        let mut stream = Stream::new(Place::Unix(path.clone()), Frame::new("@cee: ", true));
        let long = "x".repeat(1 << 20);
        let mut waiting = lines(&[&format!("{long}\n"), "second\n"]);
        let trouble = stream.deliver(&mut waiting).unwrap_err();
        assert_eq!((trouble.remedy, waiting.len()), (Remedy::Again, 2));
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
            text
        });
        while stream.deliver(&mut waiting).is_err() {}
        stream.close();
        let text = reader.join().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(text == format!("@cee: {long}\n@cee: second\n"));
    }

    #[test]
    fn a_listener_that_accepts_nobody_is_not_waited_for_without_end() {
        let path = socket("full");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut held = Vec::new();
        let error = loop {
            match connect_unix(&path) {
                Ok(stream) => held.push(stream),
                Err(error) => break error,
            }
        };
        std::fs::remove_file(&path).unwrap();
        assert!(is_timeout(&error), "{error}");
    }

    #[test]
    fn a_peer_that_went_while_nothing_was_said_costs_no_line() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let mut stream = Stream::new(Place::Tcp(host), Frame::new("", true));
        stream.deliver(&mut lines(&["first\n"])).unwrap();
        drop(listener.accept().unwrap());
        while !matches!(&stream.open, Some(Open::Tcp(open)) if has_gone(open)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        stream.deliver(&mut lines(&["second\n"])).unwrap();
        stream.close();
        let mut text = String::new();
        listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
        assert_eq!(text, "second\n");
    }
}
