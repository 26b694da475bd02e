//! Requests to the hub over HTTP. Owns time-outs, redirects, retries and where the token goes; knows no files. Its
//! invariant: the token is sent to the hub's own scheme, host and port and to nobody else, wherever a redirect leads.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ureq::http::{HeaderMap, HeaderValue, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::{Error, Event, HubSettings, Observer};

const MAX_REDIRECTS: usize = 8;
/// A list of files, or a small file in memory: more than any model needs.
const MAX_JSON_BYTES: u64 = 32 << 20;
/// The longest pause that a server may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    origin: Origin,
    authorization: Option<HeaderValue>,
    attempts: u32,
    first_pause: Duration,
    /// Whether anything was ever answered: without a network there is no use in trying again.
    answered: AtomicBool,
}

/// What a request was answered with, after redirects.
pub(super) struct Answer {
    /// Where the last answer came from.
    pub url: String,
    pub status: u16,
    /// The headers of every answer on the way; an earlier one goes before a later one.
    pub headers: HeaderMap,
    pub body: Body,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// Headers only; redirects within the hub are followed, others are the answer.
    Head,
    /// All of it from this byte on.
    GetFrom(u64),
}

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin(String, String, u16);

impl Origin {
    fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?.to_lowercase();
        let port = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        Some(Self(scheme, uri.host()?.to_lowercase(), uri.port_u16().unwrap_or(port)))
    }
}

impl Client {
    pub fn new(settings: &HubSettings) -> Result<Self, Error> {
        let no_address = || Error::Endpoint { endpoint: settings.endpoint.clone() };
        let origin = settings.endpoint.parse().ok().and_then(|uri| Origin::of(&uri)).ok_or_else(no_address)?;
        let authorization = settings.token.as_ref().map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.secret())).map_err(|_| Error::Token)?;
            value.set_sensitive(true);
            Ok(value)
        });
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(settings.connect_timeout))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_recv_response(Some(settings.read_timeout))
            .timeout_per_read(Some(settings.read_timeout))
            .timeout_per_write(Some(settings.read_timeout))
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .tls_config(TlsConfig::builder().root_certs(authorities(settings)?).build())
            .build();
        Ok(Self {
            agent: config.into(),
            endpoint: settings.endpoint.clone(),
            origin,
            authorization: authorization.transpose()?,
            attempts: settings.attempts.max(1),
            first_pause: settings.first_pause,
            answered: AtomicBool::new(false),
        })
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn has_token(&self) -> bool {
        self.authorization.is_some()
    }

    /// Runs `attempt` until it succeeds, fails for good, or has failed `attempts` times without coming on: it tells
    /// in its argument whether it got anywhere.
    pub fn retrying<T>(
        &self,
        observer: &mut Observer<'_>,
        mut attempt: impl FnMut(&mut bool, &mut Observer<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut failures = 0;
        loop {
            let mut came_on = false;
            let error = match attempt(&mut came_on, observer) {
                Err(error) if error.is_transient() => error,
                result => return result,
            };
            if !self.answered.load(Ordering::Relaxed) {
                return Err(error);
            }
            failures = if came_on { 1 } else { failures + 1 };
            if failures >= self.attempts {
                return Err(Error::GaveUp { attempts: failures, source: Box::new(error) });
            }
            let asked = match &error {
                Error::Status { retry_after: Some(pause), .. } => *pause,
                _ => Duration::ZERO,
            };
            let pause = (self.first_pause * 2_u32.saturating_pow(failures - 1)).max(asked).min(MAX_PAUSE);
            observer(&Event::Retry { error: &error, pause });
            std::thread::sleep(pause);
        }
    }

    /// One request, redirects followed. Any status but 2xx, and for [`Method::Head`] 3xx, is an error.
    pub fn send(&self, method: Method, url: &str) -> Result<Answer, Error> {
        let mut url = url.to_owned();
        let mut headers = HeaderMap::new();
        for _ in 0..=MAX_REDIRECTS {
            let (status, found, body) = self.send_once(method, &url)?;
            let location = found.get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
            for (name, value) in found {
                if let Some(name) = name
                    && !headers.contains_key(&name)
                {
                    headers.insert(name, value);
                }
            }
            match (status, location) {
                (301 | 302 | 303 | 307 | 308, Some(location)) => {
                    let next = self.follow(&url, &location)?;
                    if method == Method::Head && !self.is_own(&next) {
                        return Ok(Answer { url, status, headers, body });
                    }
                    // These describe the answer that they came with, not the file.
                    for own in ["location", "content-length", "content-type", "etag"] {
                        headers.remove(own);
                    }
                    url = next;
                }
                (200..=299, _) => return Ok(Answer { url, status, headers, body }),
                _ => return Err(refusal(url, status, &headers)),
            }
        }
        Err(Error::Redirect { to: url.clone(), url, problem: "leads on and on" })
    }

    /// A whole small answer.
    pub fn get_small(&self, url: &str) -> Result<Vec<u8>, Error> {
        let mut answer = self.send(Method::GetFrom(0), url)?;
        let mut bytes = Vec::new();
        let read = answer.body.as_reader().take(MAX_JSON_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|source| self.broken(&answer.url, ureq::Error::from(source)))?;
        if bytes.len() as u64 > MAX_JSON_BYTES {
            return Err(Error::TooLong { url: answer.url, expected: MAX_JSON_BYTES });
        }
        Ok(bytes)
    }

    /// A failure below HTTP.
    pub fn broken(&self, url: &str, source: ureq::Error) -> Error {
        Error::Connection { url: url.to_owned(), endpoint: self.endpoint.clone(), source: Box::new(source) }
    }

    fn send_once(&self, method: Method, url: &str) -> Result<(u16, HeaderMap, Body), Error> {
        let mut request = match method {
            Method::Head => self.agent.head(url),
            Method::GetFrom(_) => self.agent.get(url),
        };
        if let Method::GetFrom(first @ 1..) = method {
            request = request.header("range", format!("bytes={first}-"));
        }
        if let Some(authorization) = &self.authorization
            && self.is_own(url)
        {
            request = request.header("authorization", authorization.clone());
        }
        let response = request.call().map_err(|source| self.broken(url, source))?;
        self.answered.store(true, Ordering::Relaxed);
        let (parts, body) = response.into_parts();
        Ok((parts.status.as_u16(), parts.headers, body))
    }

    fn is_own(&self, url: &str) -> bool {
        url.parse().ok().and_then(|uri| Origin::of(&uri)).is_some_and(|origin| origin == self.origin)
    }

    /// Where a redirect leads; never from https to http.
    fn follow(&self, url: &str, location: &str) -> Result<String, Error> {
        let refused = |problem| Error::Redirect { url: url.to_owned(), to: one_line(location), problem };
        let from = url.parse::<Uri>().ok().ok_or_else(|| refused("cannot be followed"))?;
        let next = match (location.starts_with('/') && !location.starts_with("//"), from.authority()) {
            (true, Some(authority)) => format!("{}://{authority}{location}", from.scheme_str().unwrap_or("https")),
            _ => location.to_owned(),
        };
        let to = next.parse().ok().and_then(|uri| Origin::of(&uri)).ok_or_else(|| refused("is no web address"))?;
        if from.scheme_str() == Some("https") && to.0 != "https" {
            return Err(refused("is not encrypted"));
        }
        Ok(next)
    }
}

fn authorities(settings: &HubSettings) -> Result<RootCerts, Error> {
    let Some(path) = &settings.authorities else { return Ok(RootCerts::WebPki) };
    let pem = std::fs::read(path).map_err(|source| Error::Io { what: "read", path: path.clone(), source })?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(Error::NoCertificate { path: path.clone() });
    }
    Ok(certificates.into())
}

fn refusal(url: String, status: u16, headers: &HeaderMap) -> Error {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let reason = text("x-error-message").map_or_else(String::new, |text| format!(": {}", one_line(text)));
    let retry_after = text("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    Error::Status { url, status, reason, retry_after }
}

/// A server's words: one line, no control characters, at most 200 characters.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(endpoint: &str) -> Client {
        let mut settings = HubSettings::from_variables(|name| (name == "HOME").then(|| "/u".into())).unwrap();
        settings.endpoint = endpoint.to_owned();
        Client::new(&settings).unwrap()
    }

    #[test]
    fn only_the_hubs_own_address_gets_the_token() {
        let hub = client("https://hub.example");
        for own in ["https://hub.example/x", "https://HUB.example:443/", "https://hub.example?x"] {
            assert!(hub.is_own(own), "{own}");
        }
        for other in [
            "http://hub.example/x",
            "https://hub.example:8443/",
            "https://hub.example.org/",
            "/x",
            "",
            "https://user@evil.example/hub.example",
        ] {
            assert!(!hub.is_own(other), "{other}");
        }
        assert!(!client("http://127.0.0.1:1").is_own("http://127.0.0.1:2/"));
    }

    #[test]
    fn redirects_lead_to_web_addresses_and_stay_encrypted() {
        let hub = client("https://hub.example");
        let follow = |location: &str| hub.follow("https://hub.example/a/b", location);
        assert_eq!(follow("/c?d=e").unwrap(), "https://hub.example/c?d=e");
        assert_eq!(follow("https://cdn.example/c").unwrap(), "https://cdn.example/c");
        let problem = |location: &str| follow(location).unwrap_err().to_string();
        assert_eq!(
            problem("http://cdn.example/c"),
            "`https://hub.example/a/b` leads to `http://cdn.example/c`, which is not encrypted"
        );
        for bad in ["ftp://x/y", "c", "//cdn.example/c", "file:///etc/passwd", ""] {
            assert!(problem(bad).ends_with("which is no web address"), "{bad}");
        }
        let plain = client("http://hub.example");
        assert_eq!(plain.follow("http://hub.example/a", "https://x/").unwrap(), "https://x/");
    }

    #[test]
    fn a_servers_words_stay_on_one_line() {
        assert_eq!(one_line("no\r\n\u{1b}[31mentry"), "no   [31mentry");
        assert_eq!(one_line(&"x".repeat(1_000)).len(), 200);
    }
}
