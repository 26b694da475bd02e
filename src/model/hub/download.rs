//! One file of a model: what the hub announces, the bytes, and their check. Owns resuming: what is already there is kept
//! and the rest asked for; no more is read than was announced.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::client::{Client, Method, one_line};
use super::id::{is_commit, is_hex, is_safe_file};
use super::store::{Store, failed};
use super::{Error, Event, HubId, Observer};
use crate::durable::disk;
use crate::model::recipe::sha256;

const BUFFER: usize = 1 << 16;
/// So many bytes between two reports, and to count as having come on before a failure.
const STEP: u64 = 1 << 20;
/// The most bytes of a file that is read whole; the largest tokenizers have some 30 MiB.
const MOST_SMALL: u64 = 256 << 20;

/// A model at one commit.
pub(super) struct Place<'a> {
    pub client: &'a Client,
    pub store: &'a Store,
    pub id: &'a HubId,
    pub commit: &'a str,
}

/// What the hub announces of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Announced {
    name: String,
    url: String,
    etag: String,
    size: u64,
    sha256: Option<String>,
}

impl Place<'_> {
    /// As [`Place::file`], for one that will be read whole: at most [`MOST_SMALL`] bytes.
    pub fn small(&self, name: &str, observer: &mut Observer<'_>) -> Result<PathBuf, Error> {
        self.file_up_to(MOST_SMALL, name, observer)
    }

    /// The file's path in the snapshot; downloaded if it is not there.
    pub fn file(&self, name: &str, observer: &mut Observer<'_>) -> Result<PathBuf, Error> {
        self.file_up_to(u64::MAX, name, observer)
    }

    fn file_up_to(&self, most: u64, name: &str, observer: &mut Observer<'_>) -> Result<PathBuf, Error> {
        let fits = |bytes: u64| match bytes <= most {
            true => Ok(()),
            false => Err(Error::TooLarge { file: name.to_owned(), got: bytes, most }),
        };
        if let Some(path) = self.store.present(self.commit, name) {
            fits(fs::metadata(&path).map_err(failed("read", &path))?.len())?;
            return Ok(path);
        }
        let announced = self.client.retrying(observer, |_, _| self.announced(name))?;
        fits(announced.size)?;
        let etag = &announced.etag;
        let _lock = self.store.lock(etag, || observer(&Event::Waiting { name }))?;
        let blob = self.store.blob(etag);
        if fs::metadata(&blob).is_ok_and(|blob| blob.len() == announced.size) {
            return self.store.link(self.commit, name, etag);
        }
        let partial = self.store.partial(etag)?;
        let have = fs::metadata(&partial).map_or(0, |partial| partial.len());
        observer(&Event::File { name, size: announced.size, have: if have > announced.size { 0 } else { have } });
        self.complete(&announced, &partial, observer)?;
        if let Err(error) = check(&announced, &partial) {
            remove(&partial)?;
            // What an earlier run left may be at fault: once more, without it.
            if have == 0 {
                return Err(error);
            }
            observer(&Event::File { name, size: announced.size, have: 0 });
            self.complete(&announced, &partial, observer)?;
            if let Err(error) = check(&announced, &partial) {
                remove(&partial)?;
                return Err(error);
            }
        }
        self.store.publish(&partial, etag)?;
        observer(&Event::FileDone);
        self.store.link(self.commit, name, etag)
    }

    fn announced(&self, name: &str) -> Result<Announced, Error> {
        let url = format!("{}/{}/resolve/{}/{name}", self.client.endpoint(), self.id, self.commit);
        let answer =
            self.client.send(Method::Head, &url).map_err(|error| self.explain(error, &format!("file `{name}`")))?;
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let wrong = |header: &'static str, got: Option<&str>, expected: &str| Error::Header {
            url: url.clone(),
            header,
            got: got.map_or_else(|| "none".to_owned(), |got| format!("`{}`", one_line(got))),
            expected: expected.to_owned(),
        };
        if let Some(commit) = header("x-repo-commit").filter(|commit| *commit != self.commit) {
            return Err(wrong("X-Repo-Commit", Some(commit), self.commit));
        }
        let etag = header("x-linked-etag").or_else(|| header("etag"));
        let plain = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"')).filter(|etag| is_safe_etag(etag));
        let Some(plain) = plain else { return Err(wrong("ETag", etag, "letters and digits")) };
        // A redirect's own length is that of its body.
        let length = if answer.status < 300 { header("content-length") } else { None };
        let size = header("x-linked-size").or(length);
        let Some(bytes) = size.and_then(|size| size.parse().ok()) else {
            return Err(wrong("Content-Length", size, "a number of bytes"));
        };
        let sha256 = is_hex(plain, 64).then(|| plain.to_owned());
        Ok(Announced { name: name.to_owned(), etag: plain.to_owned(), size: bytes, sha256, url })
    }

    /// Fills the partial file up to the announced size.
    fn complete(&self, announced: &Announced, partial: &Path, observer: &mut Observer<'_>) -> Result<(), Error> {
        self.client.retrying(observer, |came_on, observer| {
            let mut file = File::options().create(true).append(true).open(partial).map_err(failed("open", partial))?;
            let have = file.metadata().map_err(failed("read", partial))?.len();
            let have = if have > announced.size { restart(&file, partial)? } else { have };
            if have == announced.size {
                return Ok(());
            }
            let start = self.pull(announced, &mut file, have, observer);
            let now = file.metadata().map_err(failed("read", partial))?.len();
            *came_on = now >= have + STEP;
            if let Err(Error::Status { status: 416, .. }) = &start {
                restart(&file, partial)?;
            }
            if let Err(Error::TooLong { .. }) = &start {
                remove(partial)?;
            }
            start
        })
    }

    /// One request for the bytes from `have` on, appended to the file.
    fn pull(
        &self,
        announced: &Announced,
        file: &mut File,
        have: u64,
        observer: &mut Observer<'_>,
    ) -> Result<(), Error> {
        let sent = self.client.send(Method::GetFrom(have), &announced.url);
        let mut answer = sent.map_err(|error| self.explain(error, &format!("file `{}`", announced.name)))?;
        let path = self.store.partial(&announced.etag)?;
        let mut received = have;
        if answer.status == 206 {
            let range = answer.headers.get("content-range").and_then(|value| value.to_str().ok()).unwrap_or("none");
            if !range.starts_with(&format!("bytes {have}-")) {
                let expected = format!("bytes {have}-{}/{}", announced.size - 1, announced.size);
                let got = format!("`{}`", one_line(range));
                return Err(Error::Header { url: answer.url, header: "Content-Range", got, expected });
            }
        } else if have > 0 {
            // This server knows no ranges.
            received = restart(file, &path)?;
        }
        let mut buffer = vec![0; BUFFER];
        let mut reported = received;
        let mut body = answer.body.as_reader();
        loop {
            let read = match body.read(&mut buffer) {
                Ok(read) => read,
                // The other side went away before the announced end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                Err(error) => return Err(self.client.broken(&answer.url, error.into())),
            };
            if read == 0 {
                break;
            }
            received += read as u64;
            if received > announced.size {
                return Err(Error::TooLong { url: answer.url, expected: announced.size });
            }
            file.write_all(&buffer[..read]).map_err(failed("write", &path))?;
            if received >= reported + STEP {
                reported = received;
                observer(&Event::Received(received));
            }
        }
        observer(&Event::Received(received));
        if received < announced.size {
            return Err(Error::Cut { file: announced.name.clone(), got: received, expected: announced.size });
        }
        Ok(())
    }

    /// What a refusal means for this model; `what` was asked for.
    pub fn explain(&self, error: Error, what: &str) -> Error {
        let endpoint = self.client.endpoint().to_owned();
        match error {
            Error::Status { status: status @ (401 | 403), reason, .. } => {
                Error::Denied { endpoint, id: self.id.to_string(), status, reason, with_token: self.client.has_token() }
            }
            Error::Status { status: 404, .. } => {
                let at = if is_commit(self.commit) { &self.commit[..12] } else { self.commit };
                Error::NotFound { endpoint, what: format!("{what} of `{}` at `{at}`", self.id) }
            }
            other => other,
        }
    }
}

/// An etag becomes a file's name.
fn is_safe_etag(etag: &str) -> bool {
    is_safe_file(etag) && !etag.contains('/')
}

fn restart(file: &File, path: &Path) -> Result<u64, Error> {
    file.set_len(0).map_err(failed("write", path))?;
    Ok(0)
}

fn remove(path: &Path) -> Result<(), Error> {
    disk::remove(path).map_err(failed("remove", path))
}

fn check(announced: &Announced, partial: &Path) -> Result<(), Error> {
    let Some(expected) = &announced.sha256 else { return Ok(()) };
    let got = sha256(partial).map_err(failed("read", partial))?;
    if got == *expected {
        return Ok(());
    }
    Err(Error::Damaged { file: announced.name.clone(), got, expected: expected.clone() })
}
