//! A hub in a few threads: it lists a model's files and serves them as huggingface.co does, small ones itself (some
//! through a redirect within the hub), weights through a redirect to another port. Faults are planned for each path.

#![allow(dead_code, reason = "every test file that has a hub uses its own part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status, with these header lines.
    Status(u16, &'static str),
    /// The connection ends after so many bytes of the body.
    CutAfter(usize),
    /// All of the file, whatever part was asked for.
    NoRanges,
    /// Zeroes, without an end and without a length.
    Endless,
    /// The right number of bytes, all wrong.
    WrongBytes,
    /// Nothing, for a while.
    Silence(Duration),
    /// A redirect to this address.
    LeadsTo(String),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub on_cdn: bool,
    pub range: Option<usize>,
    pub authorization: Option<String>,
}

struct Model {
    id: String,
    commit: String,
    files: BTreeMap<String, Vec<u8>>,
    listed: Vec<String>,
}

#[derive(Default)]
struct State {
    models: Vec<Model>,
    /// A part of `METHOD path`, how often it still goes wrong, and how.
    faults: Vec<(String, usize, Fault)>,
    log: Vec<Request>,
    cdn: String,
}

/// A running hub.
#[derive(Clone)]
pub struct HubServer {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

impl HubServer {
    /// A hub with the files of `folder` as `id`, besides some that nobody needs.
    pub fn with_model(id: &str, folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        read_folder(folder, "", &mut files);
        files.remove("reference.json");
        files.insert("README.md".to_owned(), b"# tiny".to_vec());
        files.insert("tf_model.h5".to_owned(), vec![0; 10_000]);
        let server = Self::empty();
        let listed = files.keys().cloned().collect();
        let model = Model { id: id.to_owned(), commit: COMMIT.to_owned(), files, listed };
        server.state.lock().unwrap().models.push(model);
        server
    }

    /// One model or adapter more: the files of `folder` as `id`; its commit is its number.
    #[allow(dead_code, reason = "not every test needs two")]
    pub fn add_model(&self, id: &str, folder: &Path) {
        let mut files = BTreeMap::new();
        read_folder(folder, "", &mut files);
        let listed = files.keys().cloned().collect();
        let models = &mut self.state.lock().unwrap().models;
        let commit = format!("{:040x}", models.len());
        models.push(Model { id: id.to_owned(), commit, files, listed });
    }

    fn empty() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let endpoint = serve(Arc::clone(&state), false);
        let cdn = serve(Arc::clone(&state), true);
        state.lock().unwrap().cdn = cdn;
        Self { endpoint, state }
    }

    /// The next `times` requests whose `METHOD path` contains `part` go wrong.
    pub fn fail(&self, part: &str, times: usize, fault: Fault) {
        self.state.lock().unwrap().faults.push((part.to_owned(), times, fault));
    }

    /// Puts other bytes in a file's place.
    pub fn change(&self, name: &str, bytes: &[u8]) {
        self.state.lock().unwrap().models[0].files.insert(name.to_owned(), bytes.to_vec());
    }

    /// A file more.
    pub fn add(&self, name: &str, bytes: &[u8]) {
        self.change(name, bytes);
        self.list(name);
    }

    /// Takes a file away.
    pub fn remove(&self, name: &str) {
        let model = &mut self.state.lock().unwrap().models[0];
        model.files.remove(name);
        model.listed.retain(|listed| listed != name);
    }

    /// Lists a name that is not there.
    pub fn list(&self, name: &str) {
        self.state.lock().unwrap().models[0].listed.push(name.to_owned());
    }

    /// The commit that every revision stands for.
    pub fn set_commit(&self, commit: &str) {
        self.state.lock().unwrap().models[0].commit = commit.to_owned();
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.state.lock().unwrap().models[0].files[name].clone()
    }

    pub fn log(&self) -> Vec<Request> {
        self.state.lock().unwrap().log.clone()
    }

    pub fn forget_log(&self) {
        self.state.lock().unwrap().log.clear();
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_folder(folder: &Path, prefix: &str, into: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            read_folder(&entry.path(), &format!("{name}/"), into);
        } else {
            into.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

fn serve(state: Arc<Mutex<State>>, on_cdn: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            // A client that goes away ends its thread, no more.
            thread::spawn(move || answer(stream, &state, on_cdn));
        }
    });
    address
}

fn answer(mut stream: TcpStream, state: &Mutex<State>, on_cdn: bool) -> std::io::Result<()> {
    let Some(mut request) = read_request(&mut stream, on_cdn)? else { return Ok(()) };
    if request.method == "CONNECT" {
        // As a proxy: every host is this one.
        state.lock().unwrap().log.push(request);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        let Some(inner) = read_request(&mut stream, on_cdn)? else { return Ok(()) };
        request = inner;
    }
    let (fault, reply) = {
        let mut state = state.lock().unwrap();
        state.log.push(request.clone());
        let asked = format!("{} {}", request.method, request.path);
        let planned = state.faults.iter_mut().find(|(part, times, _)| *times > 0 && asked.contains(part.as_str()));
        let fault = planned.map(|(_, times, fault)| {
            *times -= 1;
            fault.clone()
        });
        (fault, reply(&state, &request))
    };
    send(&mut stream, &request, fault, reply)
}

struct Reply {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

/// What a hub without faults says.
fn reply(state: &State, request: &Request) -> Reply {
    let not_found = || Reply { status: 404, headers: "X-Error-Message: Entry not found\r\n".into(), body: Vec::new() };
    for model in &state.models {
        if let Some(revision) = request.path.strip_prefix(&format!("/api/models/{}/revision/", model.id)) {
            if revision == "gone" {
                return not_found();
            }
            let siblings: Vec<_> = model.listed.iter().map(|name| serde_json::json!({"rfilename": name})).collect();
            let body = serde_json::json!({"id": model.id, "sha": model.commit, "siblings": siblings});
            return Reply { status: 200, headers: String::new(), body: body.to_string().into_bytes() };
        }
        let prefixes = [format!("/{}/resolve/", model.id), "/cache/".to_owned(), "/cdn/".to_owned()];
        let found = prefixes.iter().find_map(|prefix| Some((prefix, request.path.strip_prefix(prefix.as_str())?)));
        let Some((prefix, rest)) = found else { continue };
        let Some(file) = rest.strip_prefix(&format!("{}/", model.commit)) else { continue };
        let Some(bytes) = model.files.get(file) else { continue };
        let hash = sha256(bytes);
        let commit = format!("X-Repo-Commit: {}\r\n", model.commit);
        if prefix != "/cdn/" && (file.ends_with("safetensors") || file.ends_with(".bin")) {
            let linked = format!("X-Linked-Etag: \"{hash}\"\r\nX-Linked-Size: {}\r\n", bytes.len());
            let location = format!("Location: {}/cdn/{rest}\r\n", state.cdn);
            return Reply { status: 302, headers: format!("{commit}{linked}{location}"), body: b"found".to_vec() };
        }
        if prefix.ends_with("/resolve/") && file == "tokenizer.json" {
            let headers = format!("{commit}Location: /cache/{rest}\r\n");
            return Reply { status: 307, headers, body: b"moved".to_vec() };
        }
        return Reply { status: 200, headers: format!("{commit}ETag: W/\"{}\"\r\n", &hash[..40]), body: bytes.clone() };
    }
    not_found()
}

fn send(stream: &mut TcpStream, request: &Request, fault: Option<Fault>, reply: Reply) -> std::io::Result<()> {
    let Reply { mut status, mut headers, mut body } = reply;
    let mut cut = None;
    match fault {
        Some(Fault::Status(code, lines)) => (status, headers, body) = (code, lines.to_owned(), b"no".to_vec()),
        Some(Fault::LeadsTo(to)) => (status, headers) = (302, format!("Location: {to}\r\n")),
        Some(Fault::WrongBytes) => body.fill(7),
        Some(Fault::CutAfter(bytes)) => cut = Some(bytes),
        Some(Fault::Silence(time)) => thread::sleep(time),
        Some(Fault::Endless) => {
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{headers}Connection: close\r\n\r\n").as_bytes())?;
            while stream.write_all(&[0; 4096]).is_ok() {}
            return Ok(());
        }
        Some(Fault::NoRanges) => {}
        None => {
            if let Some(first) = request.range.filter(|_| status == 200) {
                if first >= body.len() {
                    (status, body) = (416, Vec::new());
                } else {
                    headers.push_str(&format!("Content-Range: bytes {first}-{}/{}\r\n", body.len() - 1, body.len()));
                    (status, body) = (206, body.split_off(first));
                }
            }
        }
    }
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    if request.method != "HEAD" {
        stream.write_all(&body[..cut.unwrap_or(body.len()).min(body.len())])?;
    }
    stream.flush()
}

fn read_request(stream: &mut TcpStream, on_cdn: bool) -> std::io::Result<Option<Request>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).unwrap();
    let mut lines = text.lines();
    let mut first = lines.next().unwrap().split(' ');
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Ok(Some(Request {
        method: first.next().unwrap().to_owned(),
        path: first.next().unwrap().to_owned(),
        on_cdn,
        range: headers
            .get("range")
            .map(|range| range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap()),
        authorization: headers.get("authorization").cloned(),
    }))
}
