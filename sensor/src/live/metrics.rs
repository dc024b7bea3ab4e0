//! `/metrics` for Prometheus and `/health`, on an address of this machine.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Result, anyhow};
use tiny_http::{Header, Response, Server};

/// What is answered: exchanged when it is counted.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) metrics: String,
    /// Why it is not well; none when it is.
    pub(super) ill: Option<String>,
}

/// Answers on a thread of its own.
pub(super) fn serve(listener: TcpListener, page: Arc<Mutex<Page>>) -> Result<()> {
    let server = Server::from_listener(listener, None).map_err(|error| anyhow!("--metrics: {error}"))?;
    thread::spawn(move || {
        while let Ok(request) = server.recv() {
            let (status, text) = match (request.url(), page.lock()) {
                ("/metrics", Ok(page)) => (200, page.metrics.clone()),
                ("/health", Ok(page)) => match &page.ill {
                    None => (200, "ok\n".to_owned()),
                    Some(why) => (503, format!("{why}\n")),
                },
                _ => (404, "there are /metrics and /health\n".to_owned()),
            };
            let mut response = Response::from_string(text).with_status_code(status);
            if let Ok(header) = Header::from_bytes("Content-Type", "text/plain; version=0.0.4; charset=utf-8") {
                response = response.with_header(header);
            }
            // Whoever asked has gone: nothing to do.
            let _ = request.respond(response);
        }
    });
    Ok(())
}
