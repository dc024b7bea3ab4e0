//! Alerts posted to an address, one a request.

use std::collections::VecDeque;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ureq::Agent;
use ureq::http::header::RETRY_AFTER;
use ureq::http::{HeaderName, HeaderValue, StatusCode, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::courier::{Destination, Remedy, Trouble};
use super::queue::Line;
use crate::config::{Notify, is_url};

/// Bytes of an answer that are read, so that the connection can be used again.
const ANSWER: u64 = 64 << 10;

/// An address that alerts are posted to.
pub(super) struct Webhook {
    agent: Agent,
    url: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    retries: u32,
    /// How often the first line was tried.
    attempts: u32,
}

impl Webhook {
    /// Reads what it needs: the address, headers and certificates may be in files that nobody can read later.
    pub(super) fn new(notify: &Notify) -> Result<Self> {
        let Some(webhook) = &notify.webhook else {
            bail!("[[notify]]: `webhook` is missing");
        };
        let url = webhook.read().map_err(|cause| anyhow::anyhow!("webhook: {cause}"))?;
        if !is_url(&url) {
            bail!("webhook: what is there is no address that can be posted to, such as https://soc.example/hook");
        }
        let mut headers = Vec::new();
        for (name, value) in &notify.headers {
            let value = value
                .read()
                .map_err(|cause| anyhow::anyhow!("header {name}: {cause}"))?;
            let name_read: HeaderName = name.parse().with_context(|| format!("header {name}"))?;
            let mut value = HeaderValue::from_str(&value).with_context(|| format!("header {name}"))?;
            value.set_sensitive(true);
            headers.push((name_read, value));
        }
        let url: Uri = url.parse().context("webhook")?;
        let mut config = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(notify.timeout.0.into())))
            .http_status_as_error(false)
            // One that leads elsewhere would turn a post into a question.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("dcom-sensor/", env!("CARGO_PKG_VERSION")));
        if url.scheme_str() == Some("https") {
            let tls = TlsConfig::builder()
                .root_certs(RootCerts::new_with_certs(&certificates(notify)?))
                .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
            config = config.tls_config(tls.build());
        }
        Ok(Self {
            agent: config.build().new_agent(),
            url,
            headers,
            retries: notify.retries,
            attempts: 0,
        })
    }

    /// Scheme and host: the rest of such addresses is often a secret.
    pub(super) fn shown(&self) -> String {
        let part = |text: Option<&str>| text.unwrap_or_default().to_owned();
        format!("{}://{}/…", part(self.url.scheme_str()), part(self.url.host()))
    }

    /// What it answers, and how long it asks to be left alone.
    fn post(&self, line: &[u8]) -> Result<(StatusCode, Duration), ureq::Error> {
        let mut request = self.agent.post(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut answer = request
            .content_type("application/json")
            .send(line.strip_suffix(b"\n").unwrap_or(line))?;
        // What it says beside its status is of no interest.
        let _ = answer.body_mut().with_config().limit(ANSWER).read_to_vec();
        let respite = answer
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        Ok((answer.status(), Duration::from_secs(respite.unwrap_or_default())))
    }
}

/// Those who vouch for the server: named ones, or the system's.
fn certificates(notify: &Notify) -> Result<Vec<Certificate<'static>>> {
    let file = &notify.ca_file;
    if file.as_os_str().is_empty() {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            bail!(
                "this system has no certificates that vouch for servers; install them (ca-certificates), or name a `ca_file`"
            );
        }
        let owned = |der: &rustls::pki_types::CertificateDer<'_>| Certificate::from_der(der).to_owned();
        return Ok(found.certs.iter().map(owned).collect());
    }
    let shown = file.display();
    let text = fs::read(file).with_context(|| format!("ca_file {shown}"))?;
    let mut all = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.with_context(|| format!("ca_file {shown}"))? {
            all.push(certificate);
        }
    }
    if all.is_empty() {
        bail!("ca_file {shown}: there is no certificate in it");
    }
    Ok(all)
}

impl Destination for Webhook {
    fn open(&mut self) -> Result<(), Trouble> {
        Ok(())
    }

    /// Connections are the agent's.
    fn close(&mut self) {}

    fn batch(&self) -> usize {
        1
    }

    fn deliver(&mut self, lines: &mut VecDeque<Line>) -> Result<(), Trouble> {
        let Some(line) = lines.front() else { return Ok(()) };
        let outcome = self.post(line);
        let (cause, again) = match &outcome {
            Ok((status, _)) if status.is_success() => {
                self.attempts = 0;
                lines.pop_front();
                return Ok(());
            }
            Ok((status, _)) => (format!("it answers {status}"), may_pass(*status)),
            Err(ureq::Error::Timeout(_)) => ("it does not answer".to_owned(), true),
            Err(error) => (error.to_string(), true),
        };
        self.attempts += 1;
        if again && self.attempts <= self.retries {
            return Err(Trouble {
                respite: outcome.map_or(Duration::ZERO, |(_, respite)| respite),
                ..Trouble::new(Remedy::Wait, cause)
            });
        }
        self.attempts = 0;
        Err(Trouble::new(Remedy::GiveUp, cause))
    }
}

/// Can the same request be answered otherwise later?
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::path::Path;
    use std::thread;

    use super::*;
    use crate::config::Config;

    #[test]
    fn who_asks_to_be_left_alone_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = format!(
            "[[notify]]\nwebhook = \"http://{}/\"\nretries = 1\n",
            listener.local_addr().unwrap()
        );
        let server = thread::spawn(move || {
            for answer in ["429 no\r\nretry-after: 7", "503 no\r\nretry-after: tomorrow"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = Vec::new();
                while !asked.ends_with(b"{}") {
                    let mut some = [0; 1_024];
                    let count = stream.read(&mut some).unwrap();
                    asked.extend_from_slice(&some[..count]);
                }
                write!(
                    stream,
                    "HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                )
                .unwrap();
            }
        });
        let config = Config::read(Path::new("s.toml"), &settings).unwrap();
        let mut webhook = Webhook::new(&config.notify[0]).unwrap();
        let mut lines: VecDeque<Line> = [Arc::from(*b"{}\n")].into();
        let trouble = webhook.deliver(&mut lines).unwrap_err();
        assert_eq!(
            (trouble.remedy, trouble.respite),
            (Remedy::Wait, Duration::from_secs(7))
        );
        let trouble = webhook.deliver(&mut lines).unwrap_err();
        assert_eq!((trouble.remedy, trouble.respite), (Remedy::GiveUp, Duration::ZERO));
        server.join().unwrap();
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let passes = |code: u16| may_pass(StatusCode::from_u16(code).unwrap());
        assert!([408, 429, 500, 503].into_iter().all(passes));
        assert!(![301, 400, 401, 403, 404].into_iter().any(passes));
    }
}
