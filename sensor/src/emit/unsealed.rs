//! What was opened, as JSON lines: for checking it, and for other tools.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcom_parsers::rpce::VerificationTrailer;
use serde::Serialize;

use super::naming;
use crate::capture::At;
use crate::flow::{Connection, Side};
use crate::keys::KeyName;
use crate::rpc::{Exchange, Message, Named, Reply};

/// What a line holds. Addresses are the client's and the server's, whoever speaks.
#[derive(Serialize)]
struct Line<'a> {
    pcap_cnt: u64,
    timestamp: String,
    src_ip: IpAddr,
    src_port: u16,
    dest_ip: IpAddr,
    dest_port: u16,
    call_id: u32,
    direction: &'static str,
    interface: Option<String>,
    opnum: Option<u16>,
    key: &'a str,
    stub: String,
}

/// One stub that was sealed, all fragments together, padding and verification trailer taken off.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsealed {
    at: At,
    connection: Arc<Connection>,
    call_id: u32,
    side: Side,
    interface: Named,
    opnum: Option<u16>,
    key: KeyName,
    stub: Vec<u8>,
}

impl Unsealed {
    /// What was opened of a call.
    pub(crate) fn of(connection: &Arc<Connection>, exchange: &Exchange) -> Vec<Self> {
        let reply = match &exchange.reply {
            Reply::Response(message) => Some(message),
            _ => None,
        };
        let one = |side: Side, message: &Message| {
            let (stub, _) = message.readable()?;
            let (stub, _) = match side {
                Side::Client => VerificationTrailer::split(stub),
                Side::Server => (stub, None),
            };
            Some(Self {
                at: message.at,
                connection: Arc::clone(connection),
                call_id: exchange.call_id,
                side,
                interface: exchange.interface,
                opnum: exchange.opnum,
                key: message.key.clone()?,
                stub: stub.to_vec(),
            })
        };
        let request = exchange.request.as_ref().and_then(|message| one(Side::Client, message));
        let reply = reply.and_then(|message| one(Side::Server, message));
        request.into_iter().chain(reply).collect()
    }

    /// Its line, with the line feed.
    pub fn line(&self) -> String {
        let mut stub = String::with_capacity(2 * self.stub.len());
        for byte in &self.stub {
            let _ = write!(stub, "{byte:02x}");
        }
        let (client, server) = (self.connection.client, self.connection.server);
        let interface = match self.interface {
            Named::Interface(interface) => Some(interface.uuid.to_string()),
            Named::Refused | Named::Unseen => None,
        };
        let direction = match self.side {
            Side::Client => "request",
            Side::Server => "response",
        };
        let line = Line {
            pcap_cnt: self.at.frame,
            timestamp: self.at.time.to_string(),
            src_ip: client.address,
            src_port: client.port,
            dest_ip: server.address,
            dest_port: server.port,
            call_id: self.call_id,
            direction,
            interface,
            opnum: self.opnum,
            key: &self.key,
            stub,
        };
        // Numbers and texts always become JSON.
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// An empty file that nobody but its owner may read, whoever might read it before. Pipes and devices are left as they are.
fn owners_alone(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.set_len(0)?;
    }
    Ok(file)
}

/// The file that holds the lines. Nobody but its owner may read it.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Log {
    /// Makes the file, or empties it.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = owners_alone(path).map_err(|error| naming(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
        })
    }

    /// Adds a line.
    pub fn write(&mut self, unsealed: &Unsealed) -> io::Result<()> {
        let written = self.file.write_all(unsealed.line().as_bytes());
        written.map_err(|error| naming(&self.path, &error))
    }

    /// Brings the lines so far to the file.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| naming(&self.path, &error))
    }
}
