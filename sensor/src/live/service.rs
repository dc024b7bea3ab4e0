//! What systemd is told, where it started us: `sd_notify(3)`.
//!
//! The socket is connected before the jail, which lets nothing connect any more.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// So often it hears that the sensor is alive.
const PULSE: Duration = Duration::from_secs(1);

/// Whoever started us, if it wants to know.
pub(super) struct Service {
    socket: Option<UnixDatagram>,
    /// When it last heard that the sensor is alive.
    told: Option<Instant>,
}

impl Service {
    /// Connects to the socket that the environment names.
    pub(super) fn connect() -> Self {
        let address = std::env::var_os("NOTIFY_SOCKET");
        Self {
            socket: address.and_then(|address| connect(&address).ok()),
            told: None,
        }
    }

    /// Packets are being read.
    pub(super) fn ready(&self) {
        self.tell("READY=1\n");
    }

    /// The loop goes round.
    pub(super) fn alive(&mut self) {
        if self.told.is_none_or(|told| told.elapsed() > PULSE) {
            self.told = Some(Instant::now());
            self.tell("WATCHDOG=1\n");
        }
    }

    fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket {
            // Who does not hear it starts us anew, if that is wanted.
            let _ = socket.send(state.as_bytes());
        }
    }
}

fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match address.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(address)?,
    }
    // Who does not take what is told holds up nothing.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_a_path_or_a_name_alone() {
        let name = format!("dcom-sensor-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let systemd = UnixDatagram::bind_addr(&address).unwrap();
        let mut service = Service {
            socket: Some(connect(OsStr::new(&format!("@{name}"))).unwrap()),
            told: None,
        };
        service.ready();
        service.alive();
        service.alive();
        systemd.set_nonblocking(true).unwrap();
        let mut heard = [0; 64];
        for told in ["READY=1\n", "WATCHDOG=1\n"] {
            let length = systemd.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], told.as_bytes());
        }
        assert!(systemd.recv(&mut heard).is_err(), "once a second");
        assert!(connect(OsStr::new("/nonexistent/notify")).is_err());
    }
}
