//! What outputs are brought to: real servers, and made ones that fail in ways that real ones do.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use crate::live::until;

/// Is the program there? If not, says what is not tested.
pub(super) fn is_there(program: &str, what: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    folders.push(PathBuf::from("/usr/sbin"));
    let there = folders.iter().any(|folder| folder.join(program).is_file());
    if !there {
        // Straight to standard error, which the test harness does not hold back: nobody shall take this for tested.
        let _ = writeln!(io::stderr(), "SKIPPED: {what} needs {program}");
    }
    there
}

/// A TCP port that nobody listens at.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it is bound").port()
}

/// A program, with other words before its name.
fn program<S: AsRef<str>>(within: &[S], name: &str) -> Command {
    let mut words = within.iter().map(AsRef::as_ref).chain([name]);
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words);
    command
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Debian's Redis, with its files in a folder of its own.
pub(super) struct Redis {
    running: Option<Running>,
    folder: PathBuf,
    pub(super) port: u16,
    pub(super) socket: PathBuf,
    password: Option<&'static str>,
    /// What programs are run with, if it is not started here.
    within: Vec<String>,
}

impl Redis {
    pub(super) fn start(folder: &Path, port: u16, password: Option<&'static str>) -> Option<Self> {
        Self::start_within(&[], folder, port, password)
    }

    /// The same, with other words before the program's name.
    pub(super) fn start_within(
        within: &[&str],
        folder: &Path,
        port: u16,
        password: Option<&'static str>,
    ) -> Option<Self> {
        if !is_there("redis-server", "Redis") || !is_there("redis-cli", "Redis") {
            return None;
        }
        fs::create_dir_all(folder).expect("a folder");
        let mut redis = Self {
            running: None,
            folder: folder.to_owned(),
            port,
            socket: folder.join("redis.sock"),
            password,
            within: within.iter().map(|&word| word.to_owned()).collect(),
        };
        redis.resume();
        Some(redis)
    }

    /// Begins again, empty.
    pub(super) fn resume(&mut self) {
        let mut command = program(&self.within, "redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command
            .args(["--port", &self.port.to_string(), "--dir"])
            .arg(&self.folder);
        command.arg("--unixsocket").arg(&self.socket);
        if let Some(password) = self.password {
            command.args(["--requirepass", password]);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.running = Some(Running(child.expect("Redis runs")));
        assert!(until(|| self.ask(&["PING"]) == ["PONG"]), "Redis answers");
    }

    /// Ends at once, as after a power cut.
    pub(super) fn die(&mut self) {
        self.running = None;
    }

    /// What a client is answered, line by line.
    pub(super) fn ask(&self, words: &[&str]) -> Vec<String> {
        let mut command = program(&self.within, "redis-cli");
        command.args(["--no-auth-warning", "--raw", "-p", &self.port.to_string()]);
        if let Some(password) = self.password {
            command.args(["-a", password]);
        }
        let output = command.args(words).output().expect("the client runs");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(str::to_owned).collect()
    }
}

/// Debian's rsyslog, on a socket and ports of its own.
pub(super) struct Rsyslog {
    _running: Running,
    pub(super) socket: PathBuf,
    pub(super) port: u16,
    log: PathBuf,
}

impl Rsyslog {
    pub(super) fn start(folder: &Path) -> Option<Self> {
        if !is_there("rsyslogd", "syslog") {
            return None;
        }
        fs::create_dir_all(folder).expect("a folder");
        let (socket, port, log) = (folder.join("log"), free_port(), folder.join("told"));
        let settings = folder.join("rsyslog.conf");
        let text = format!(
            "global(workDirectory=\"{0}\" maxMessageSize=\"64k\")\n\
             module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             module(load=\"imtcp\")\nmodule(load=\"imudp\")\n\
             input(type=\"imuxsock\" Socket=\"{1}\")\n\
             input(type=\"imtcp\" port=\"{port}\" address=\"127.0.0.1\")\n\
             input(type=\"imudp\" port=\"{port}\" address=\"127.0.0.1\")\n\
             template(name=\"told\" type=\"string\" string=\"%syslogfacility-text% %syslogseverity-text% \
             %programname%|%msg:2:$:drop-last-lf%\\n\")\n\
             template(name=\"cef\" type=\"string\" string=\"%syslogfacility-text% %syslogseverity-text% \
             %rawmsg-after-pri%\\n\")\n\
             if $syslogfacility-text == \"local3\" then {{\n\
             action(type=\"omfile\" file=\"{2}\" template=\"told\")\n\
             }} else {{\naction(type=\"omfile\" file=\"{2}\" template=\"cef\")\n}}\n",
            folder.display(),
            socket.display(),
            log.display()
        );
        fs::write(&settings, text).expect("a file");
        let said = fs::File::create(folder.join("said")).expect("a file");
        let mut command = Command::new("rsyslogd");
        command
            .arg("-n")
            .arg("-f")
            .arg(&settings)
            .arg("-i")
            .arg(folder.join("pid"));
        command.env(
            "PATH",
            format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()),
        );
        let child = command.stdout(Stdio::null()).stderr(said).spawn();
        let running = Running(child.expect("rsyslog runs"));
        let listens = || socket.exists() && TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(
            until(listens),
            "{}",
            fs::read_to_string(folder.join("said")).unwrap_or_default()
        );
        Some(Self {
            _running: running,
            socket,
            port,
            log,
        })
    }

    /// What it wrote, once there are so many lines.
    pub(super) fn told(&self, count: usize) -> Vec<String> {
        let read = || fs::read_to_string(&self.log).unwrap_or_default();
        assert!(until(|| read().lines().count() >= count), "{}", read());
        read().lines().map(str::to_owned).collect()
    }
}

/// Something that takes datagrams.
pub(super) trait Receives: Send + 'static {
    fn receive(&self, message: &mut [u8]) -> io::Result<usize>;
    fn wait(&self, time: Duration) -> io::Result<()>;
}

impl Receives for UnixDatagram {
    fn receive(&self, message: &mut [u8]) -> io::Result<usize> {
        self.recv(message)
    }

    fn wait(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }
}

impl Receives for UdpSocket {
    fn receive(&self, message: &mut [u8]) -> io::Result<usize> {
        self.recv(message)
    }

    fn wait(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }
}

/// Takes datagrams, on a thread of its own, until it is told to stop.
pub(super) struct Draining {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

pub(super) fn drain(socket: impl Receives) -> Draining {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let thread = spawn(move || {
        socket.wait(Duration::from_millis(100)).expect("a socket");
        let mut heard = Vec::new();
        let mut message = vec![0; 1 << 16];
        loop {
            match socket.receive(&mut message) {
                Ok(length) => {
                    heard.push(String::from_utf8_lossy(message.get(..length).unwrap_or_default()).into_owned());
                }
                Err(_) if told.load(Ordering::Relaxed) => return heard,
                Err(_) => {}
            }
        }
    });
    Draining { stop, thread }
}

impl Draining {
    /// What has come, all of it.
    pub(super) fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it listens")
    }
}

/// What a webhook does with those who call.
#[derive(Clone, Copy)]
pub(super) enum Behaviour {
    /// Answers with this status.
    Answer(u16),
    /// Answers with 503 so many times, then with 200.
    Failing { times: u32 },
    /// Never answers.
    Hang,
}

/// One request.
#[derive(Clone)]
pub(super) struct Post {
    pub(super) head: String,
    pub(super) body: String,
}

/// A webhook.
pub(super) struct Hook {
    pub(super) url: String,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl Hook {
    pub(super) fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("it is bound"));
        let posts = Arc::new(Mutex::new(Vec::new()));
        let (to, failed) = (Arc::clone(&posts), Arc::new(AtomicU32::new(0)));
        spawn(move || {
            for stream in listener.incoming().flatten() {
                let (to, failed) = (Arc::clone(&to), Arc::clone(&failed));
                // One that hangs must not keep the others waiting.
                spawn(move || serve(stream, behaviour, &to, &failed));
            }
        });
        Self { url, posts }
    }

    pub(super) fn posts(&self) -> Vec<Post> {
        self.posts.lock().expect("nobody panics").clone()
    }
}

fn serve(stream: TcpStream, behaviour: Behaviour, posts: &Mutex<Vec<Post>>, failed: &AtomicU32) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let of = |name: &str| {
            let line = head
                .lines()
                .find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)));
            line.map(|(_, value)| value.to_owned())
        };
        let mut body = vec![0; of("content-length")?.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).expect("text");
        posts.lock().expect("nobody panics").push(Post { head, body });
        let status = match behaviour {
            Behaviour::Answer(status) => status,
            Behaviour::Failing { times } if failed.fetch_add(1, Ordering::Relaxed) < times => 503,
            Behaviour::Failing { .. } => 200,
            Behaviour::Hang => {
                sleep(Duration::from_secs(120));
                return None;
            }
        };
        let answer = format!("HTTP/1.1 {status} whatever\r\ncontent-length: 2\r\n\r\nok");
        reader.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

/// A webhook behind TLS, whose certificate vouches for itself: Python's.
pub(super) struct TlsHook {
    _running: Running,
    pub(super) port: u16,
    pub(super) certificate: PathBuf,
    log: PathBuf,
}

impl TlsHook {
    pub(super) fn start(folder: &Path) -> Option<Self> {
        Self::start_within(&[], folder)
    }

    /// The same, with other words before the program's name.
    pub(super) fn start_within(within: &[&str], folder: &Path) -> Option<Self> {
        const SERVER: &str = "\
import http.server, ssl, sys
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['content-length']))
        with open(sys.argv[4], 'ab') as log: log.write(body + b'\\n')
        self.send_response(204); self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Hook)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
open(sys.argv[4], 'ab').close()
server.serve_forever()
";
        if !is_there("openssl", "https") || !is_there("python3", "https") {
            return None;
        }
        fs::create_dir_all(folder).expect("a folder");
        let (certificate, key, log) = (folder.join("cert.pem"), folder.join("key.pem"), folder.join("posted"));
        let mut command = Command::new("openssl");
        command.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ]);
        command.args([
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ]);
        // What vouches for others vouches for no server by itself.
        command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        command.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        let made = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(made.is_ok_and(|made| made.success()), "openssl makes a certificate");
        let port = free_port();
        let mut command = program(within, "python3");
        command
            .args(["-c", SERVER, &port.to_string()])
            .args([&certificate, &key, &log]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let running = Running(child.expect("Python runs"));
        assert!(until(|| log.exists()), "it listens");
        Some(Self {
            _running: running,
            port,
            certificate,
            log,
        })
    }

    /// The bodies, in order.
    pub(super) fn posted(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}
