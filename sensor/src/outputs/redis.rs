//! Redis, in the half of its protocol (RESP 2) that adding lines takes: commands out, short answers in.
//!
//! By hand, since the `redis` crate has some thirty others behind it, most of them Unicode tables for addresses in a form
//! that nobody writes here.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use super::courier::{Destination, Remedy, Trouble};
use super::frame::Frame;
use super::queue::Line;
use super::stream::{connect_tcp, connect_unix, is_timeout};
use crate::config::{RedisMode, RedisSettings};

/// How long the server may take to read, and to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Bytes of an answer: the number of a list's entries, the id of one, an error.
const LONGEST: u64 = 64 << 10;

/// A key of a server.
pub(super) struct Redis {
    settings: RedisSettings,
    password: Option<Zeroizing<String>>,
    frame: Frame,
    connection: Option<BufReader<Socket>>,
    text: Vec<u8>,
    commands: Vec<u8>,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Socket {
    fn connect(settings: &RedisSettings) -> io::Result<Self> {
        if settings.server.contains('/') {
            let stream = connect_unix(Path::new(&settings.server))?;
            stream.set_write_timeout(Some(ANSWER))?;
            stream.set_read_timeout(Some(ANSWER))?;
            return Ok(Self::Unix(stream));
        }
        let stream = connect_tcp((settings.server.as_str(), settings.port))?;
        stream.set_write_timeout(Some(ANSWER))?;
        stream.set_read_timeout(Some(ANSWER))?;
        Ok(Self::Tcp(stream))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }
}

impl Redis {
    pub(super) fn new(settings: RedisSettings, password: Option<Zeroizing<String>>, frame: Frame) -> Self {
        Self {
            settings,
            password,
            frame,
            connection: None,
            text: Vec::new(),
            commands: Vec::new(),
        }
    }

    fn connect(&self) -> Result<BufReader<Socket>, Trouble> {
        let socket = Socket::connect(&self.settings).map_err(|error| Trouble::lost(&error))?;
        let mut connection = BufReader::new(socket);
        let mut words: Vec<&[u8]> = Vec::new();
        match &self.password {
            Some(password) => {
                words.push(b"AUTH");
                words.extend(self.settings.username.as_ref().map(String::as_bytes));
                words.push(password.as_bytes());
            }
            None => words.push(b"PING"),
        }
        let mut asked = Zeroizing::new(Vec::new());
        command(&words, &mut asked);
        let answered = connection.get_mut().write_all(&asked);
        match answered.and_then(|()| answer(&mut connection)) {
            Ok(Answer::Done) => Ok(connection),
            Ok(Answer::Error(cause)) => Err(Trouble::new(Remedy::Reconnect, cause)),
            Err(error) => Err(trouble(&error)),
        }
    }

    /// Adds the command for one line.
    fn add(&mut self, line: &[u8]) {
        self.text.clear();
        self.frame.put(line, &mut self.text);
        let settings = &self.settings;
        let most = settings.stream_maxlen.to_string();
        let mut words: Vec<&[u8]> = Vec::with_capacity(8);
        words.push(match settings.mode {
            RedisMode::List => b"LPUSH",
            RedisMode::Rpush => b"RPUSH",
            RedisMode::Channel => b"PUBLISH",
            RedisMode::Stream => b"XADD",
        });
        words.push(settings.key.as_bytes());
        if settings.mode == RedisMode::Stream {
            if settings.stream_maxlen > 0 {
                words.push(b"MAXLEN");
                words.push(if settings.stream_trim_exact { b"=" } else { b"~" });
                words.push(most.as_bytes());
            }
            words.push(b"*");
            words.push(b"eve");
        }
        words.push(&self.text);
        command(&words, &mut self.commands);
    }
}

impl Destination for Redis {
    fn open(&mut self) -> Result<(), Trouble> {
        if self.connection.is_none() {
            self.connection = Some(self.connect()?);
        }
        Ok(())
    }

    fn close(&mut self) {
        self.connection = None;
    }

    fn batch(&self) -> usize {
        match self.settings.pipelining {
            pipelining if pipelining.enabled => pipelining.batch_size as usize,
            _ => 1,
        }
    }

    fn deliver(&mut self, lines: &mut VecDeque<Line>) -> Result<(), Trouble> {
        self.open()?;
        self.commands.clear();
        for line in lines.iter() {
            self.add(line);
        }
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let written = connection.get_mut().write_all(&self.commands);
        written.map_err(|error| trouble(&error))?;
        let mut refused = VecDeque::new();
        let mut cause = None;
        // Each command has its answer, in their order; those behind one that was refused may have been done.
        while let Some(line) = lines.front() {
            match answer(connection) {
                Ok(Answer::Done) => {}
                Ok(Answer::Error(text)) => {
                    refused.push_back(Line::clone(line));
                    cause.get_or_insert(text);
                }
                Err(error) => {
                    refused.append(lines);
                    *lines = refused;
                    return Err(trouble(&error));
                }
            }
            lines.pop_front();
        }
        *lines = refused;
        cause.map_or(Ok(()), |cause| Err(Trouble::new(Remedy::Wait, cause)))
    }
}

fn trouble(error: &io::Error) -> Trouble {
    match error.kind() {
        _ if is_timeout(error) => Trouble::new(Remedy::Reconnect, "it does not answer"),
        ErrorKind::UnexpectedEof => Trouble::new(Remedy::Reconnect, "it closed the connection"),
        _ => Trouble::lost(error),
    }
}

/// Writes a command: an array of bulk strings.
fn command(words: &[&[u8]], out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = write!(out, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(out, "${}\r\n", word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// What the server says to a command.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Error(String),
}

/// Reads an answer: a simple string, a number, a bulk string, or an error.
fn answer(reader: &mut impl BufRead) -> io::Result<Answer> {
    let strange = || io::Error::new(ErrorKind::InvalidData, "what answers is no Redis server");
    let mut line = Vec::new();
    reader.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let text = line.strip_suffix(b"\r\n").ok_or_else(strange)?;
    match text.split_first() {
        Some((b'+' | b':', _)) => Ok(Answer::Done),
        Some((b'-', cause)) => Ok(Answer::Error(String::from_utf8_lossy(cause).into_owned())),
        Some((b'$', length)) => {
            let length = str::from_utf8(length)
                .ok()
                .and_then(|length| length.parse::<u64>().ok());
            let length = length.filter(|&length| length <= LONGEST).ok_or_else(strange)?;
            let read = io::copy(&mut reader.take(length + 2), &mut io::sink())?;
            if read < length + 2 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            Ok(Answer::Done)
        }
        _ => Err(strange()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(mode: RedisMode, most: u64) -> Redis {
        let settings = RedisSettings {
            mode,
            key: "k".to_owned(),
            stream_maxlen: most,
            ..RedisSettings::default()
        };
        Redis::new(settings, None, Frame::new("", false))
    }

    #[test]
    fn commands_are_those_of_suricata() {
        let told = |mut redis: Redis| {
            redis.add(b"{}\n");
            String::from_utf8(redis.commands).unwrap()
        };
        assert_eq!(
            told(redis(RedisMode::List, 0)),
            "*3\r\n$5\r\nLPUSH\r\n$1\r\nk\r\n$2\r\n{}\r\n"
        );
        assert_eq!(
            told(redis(RedisMode::Channel, 0)),
            "*3\r\n$7\r\nPUBLISH\r\n$1\r\nk\r\n$2\r\n{}\r\n"
        );
        assert_eq!(
            told(redis(RedisMode::Stream, 9)),
            "*8\r\n$4\r\nXADD\r\n$1\r\nk\r\n$6\r\nMAXLEN\r\n$1\r\n~\r\n$1\r\n9\r\n$1\r\n*\r\n$3\r\neve\r\n$2\r\n{}\r\n"
        );
        assert_eq!(
            told(redis(RedisMode::Stream, 0)),
            "*5\r\n$4\r\nXADD\r\n$1\r\nk\r\n$1\r\n*\r\n$3\r\neve\r\n$2\r\n{}\r\n"
        );
    }

    #[test]
    fn answers_are_told_apart_and_nothing_else_is_taken_for_one() {
        let read = |mut text: &[u8]| answer(&mut text).map_err(|error| error.kind());
        assert_eq!(read(b"+OK\r\n"), Ok(Answer::Done));
        assert_eq!(read(b":12\r\n"), Ok(Answer::Done));
        assert_eq!(read(b"$3\r\n1-0\r\n"), Ok(Answer::Done));
        assert_eq!(
            read(b"-WRONGTYPE it is\r\n"),
            Ok(Answer::Error("WRONGTYPE it is".to_owned()))
        );
        assert_eq!(read(b""), Err(ErrorKind::UnexpectedEof));
        assert_eq!(read(b"$3\r\n1-"), Err(ErrorKind::UnexpectedEof));
        for text in [
            "HTTP/1.1 400 Bad Request\r\n",
            "$99999999999\r\n",
            "$-1\r\n",
            "+OK",
            "\r\n",
        ] {
            assert_eq!(read(text.as_bytes()), Err(ErrorKind::InvalidData), "{text}");
        }
        let endless = vec![b'+'; 1 << 20];
        assert_eq!(read(&endless), Err(ErrorKind::InvalidData));
    }
}
