//! `/metrics` for Prometheus and `/health`, on an address of this machine: as much of HTTP/1.1 (RFC 9112) as that takes.
//!
//! A connection has one request and a moment for it. Whoever holds one for longer, sends what is no such request or reads no
//! answer keeps nobody else from theirs.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// Connections at a time: when one more comes, the oldest is closed.
const MOST: usize = 32;
/// Bytes of a request, headers included. It has no body.
const LONGEST_REQUEST: usize = 8 << 10;
/// How long a request, and its answer, may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The sensor hangs when its loop has not gone round for so long.
const HANGING: Duration = Duration::from_secs(5);

/// What is answered: exchanged when it is counted.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) metrics: String,
    /// Why it is not well; none when it is.
    pub(super) ill: Option<String>,
    /// When its loop went round last.
    pub(super) alive: Option<Instant>,
}

impl Page {
    /// Why it is not well now: whoever hangs cannot say so itself.
    fn ill(&self) -> Option<String> {
        let still = self.alive.map(|alive| alive.elapsed()).filter(|&still| still > HANGING);
        let hangs = still.map(|still| format!("the sensor hangs: nothing was done for {} s", still.as_secs()));
        hangs.or_else(|| self.ill.clone())
    }
}

/// Answers on threads of its own.
pub(super) fn serve(listener: TcpListener, page: Arc<Mutex<Page>>) {
    thread::spawn(move || {
        let mut open: VecDeque<(TcpStream, thread::JoinHandle<()>)> = VecDeque::new();
        loop {
            let Ok((stream, _)) = listener.accept() else {
                // Most likely there are too many files; connections that are open end soon.
                sleep(Duration::from_millis(20));
                continue;
            };
            open.retain(|(_, thread)| !thread.is_finished());
            if open.len() >= MOST
                && let Some((oldest, thread)) = open.pop_front()
            {
                let _ = oldest.shutdown(Shutdown::Both);
                // It only has to notice.
                let _ = thread.join();
            }
            let Ok(handle) = stream.try_clone() else { continue };
            let page = Arc::clone(&page);
            let answer = move || {
                // Whoever asked has gone, or was too slow: nothing to do.
                let _ = converse(&stream, &page);
                // The other handle of it is kept until the next one comes.
                let _ = stream.shutdown(Shutdown::Both);
            };
            if let Ok(thread) = thread::Builder::new().stack_size(256 << 10).spawn(answer) {
                open.push_back((handle, thread));
            }
        }
    });
}

/// A request and its answer.
fn converse(stream: &TcpStream, page: &Mutex<Page>) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let answer = answer(&request(stream, until)?, page);
    let mut rest = &*answer;
    while !rest.is_empty() {
        stream.set_write_timeout(Some(left(until)?))?;
        let count = (&mut &*stream).write(rest)?;
        rest = rest.get(count..).unwrap_or_default();
    }
    stream.shutdown(Shutdown::Write)?;
    // What was sent beyond the request is taken in: closing before would take back the answer.
    let mut bytes = [0; 1024];
    loop {
        stream.set_read_timeout(Some(left(until)?))?;
        if (&mut &*stream).read(&mut bytes)? == 0 {
            return Ok(());
        }
    }
}

/// What is left of the time.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// Reads to the empty line at the end of the headers, or so much that it is too much.
fn request(stream: &TcpStream, until: Instant) -> io::Result<Vec<u8>> {
    let mut request = vec![0; LONGEST_REQUEST];
    let mut length = 0;
    loop {
        stream.set_read_timeout(Some(left(until)?))?;
        let count = (&mut &*stream).read(&mut request[length..])?;
        length += count;
        if count == 0 || length == LONGEST_REQUEST || has_ended(&request[..length]) {
            request.truncate(length);
            return Ok(request);
        }
    }
}

/// RFC 9112 2.2: a line may also end in a line feed alone.
fn has_ended(request: &[u8]) -> bool {
    [&b"\n\r\n"[..], b"\n\n"]
        .iter()
        .any(|end| memchr::memmem::find(request, end).is_some())
}

/// RFC 9112 3.2.2: whoever asks by way of a proxy may give the whole address.
fn path(target: &str) -> &str {
    let rest = target.strip_prefix("http://").unwrap_or_default();
    let target = rest.find('/').map_or(target, |at| &rest[at..]);
    target.split('?').next().unwrap_or_default()
}

/// The whole answer to a request.
fn answer(request: &[u8], page: &Mutex<Page>) -> Vec<u8> {
    let line = request.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.trim_end().split(' ');
    let asked = (words.next(), words.next(), words.next(), words.next());
    let (status, text) = match asked {
        _ if !has_ended(request) && request.len() == LONGEST_REQUEST => (
            "431 Request Header Fields Too Large",
            "the request is too long\n".to_owned(),
        ),
        (Some("GET" | "HEAD"), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) if has_ended(request) => {
            let path = path(target);
            match (path, page.lock()) {
                ("/metrics", Ok(page)) => ("200 OK", page.metrics.clone()),
                ("/health", Ok(page)) => match page.ill() {
                    None => ("200 OK", "ok\n".to_owned()),
                    Some(why) => ("503 Service Unavailable", format!("{why}\n")),
                },
                _ => ("404 Not Found", "there are /metrics and /health\n".to_owned()),
            }
        }
        (Some(_), Some(_), Some("HTTP/1.1" | "HTTP/1.0"), None) if has_ended(request) => (
            "405 Method Not Allowed\r\nAllow: GET, HEAD",
            "there are GET and HEAD\n".to_owned(),
        ),
        _ => ("400 Bad Request", "this is no request\n".to_owned()),
    };
    let length = text.len();
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    if asked.0 != Some("HEAD") {
        answer.push_str(&text);
    }
    answer.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn server(page: Page) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        serve(listener, Arc::new(Mutex::new(page)));
        address
    }

    fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn what_is_asked_for_is_answered() {
        let address = server(Page {
            metrics: "one 1\n".to_owned(),
            ill: Some("far is down".to_owned()),
            alive: Some(Instant::now()),
        });
        let begin = "Content-Length: ";
        for (request, status, body) in [
            ("GET /metrics HTTP/1.1\r\nHost: it\r\n\r\n", "200 OK", "one 1\n"),
            ("GET /metrics?a=b HTTP/1.0\n\n", "200 OK", "one 1\n"),
            ("GET /metrics HTTP/1.1\n\r\n", "200 OK", "one 1\n"),
            (
                "GET http://127.0.0.1:9477/metrics HTTP/1.1\r\n\r\n",
                "200 OK",
                "one 1\n",
            ),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", "200 OK", ""),
            (
                "GET /health HTTP/1.1\r\n\r\n",
                "503 Service Unavailable",
                "far is down\n",
            ),
            (
                "GET / HTTP/1.1\r\n\r\n",
                "404 Not Found",
                "there are /metrics and /health\n",
            ),
            (
                "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                "405 Method Not Allowed",
                "there are GET and HEAD\n",
            ),
            ("GET /metrics HTTP/2\r\n\r\n", "400 Bad Request", "this is no request\n"),
            ("\r\n\r\n", "400 Bad Request", "this is no request\n"),
        ] {
            let answer = ask(address, request.as_bytes());
            let (head, told) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {head}");
            assert!(head.contains(begin) && head.ends_with("Connection: close"), "{head}");
            assert_eq!(told, body, "{request}");
        }
    }

    #[test]
    fn a_loop_that_does_not_go_round_is_told() {
        let page = |ago: u64| Page {
            alive: Instant::now().checked_sub(Duration::from_secs(ago)),
            ..Page::default()
        };
        for (ago, status, told) in [
            (0, "200 OK", "ok"),
            (4, "200 OK", "ok"),
            (
                7,
                "503 Service Unavailable",
                "the sensor hangs: nothing was done for 7 s",
            ),
        ] {
            let answer = ask(server(page(ago)), b"GET /health HTTP/1.1\r\n\r\n");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
            assert!(answer.ends_with(&format!("\r\n\r\n{told}\n")), "{answer}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let address = server(Page::default());
        let answer = ask(address, &vec![b'a'; LONGEST_REQUEST]);
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }

    #[test]
    fn who_holds_connections_keeps_nobody_from_an_answer() {
        let address = server(Page::default());
        let held: Vec<_> = (0..3 * MOST)
            .map(|_| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream
                    .write_all(b"POST /metrics HTTP/1.1\r\nContent-Length: 100000\r\n\r\nabc")
                    .unwrap();
                stream
            })
            .collect();
        let begin = Instant::now();
        let answer = ask(address, b"GET /health HTTP/1.1\r\n\r\n");
        assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
        assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
        drop(held);
    }

    #[test]
    fn who_is_too_slow_is_not_waited_for() {
        let address = server(Page::default());
        let begin = Instant::now();
        assert_eq!(ask(address, b"GET /health HTTP/1.1\r\n"), "");
        assert!(
            (PATIENCE..2 * PATIENCE).contains(&begin.elapsed()),
            "{:?}",
            begin.elapsed()
        );
    }
}
