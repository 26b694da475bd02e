//! Promise: whatever the network or a server does during a download, the files are the announced ones or there is an
//! error; nothing hangs, nothing is written elsewhere, and what arrived is not asked for again.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;
mod hub_server;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{Workplace, root, tiny_checkpoint};
use hub_server::{COMMIT, Fault, HubServer, sha256};
use offprint::model::hub::{Error, Event, Hub, HubId, HubKind, HubRequest, HubSettings, LockFile, Snapshot};

const WEIGHTS: &str = "model.safetensors";

struct Desk {
    place: Workplace,
    server: HubServer,
    offline: bool,
    choices_known: bool,
    pooling_known: bool,
    said: Vec<String>,
}

impl Desk {
    fn new() -> Self {
        let server = HubServer::with_model("org/tiny", &tiny_checkpoint());
        Self {
            place: Workplace::new(),
            server,
            offline: false,
            choices_known: true,
            pooling_known: true,
            said: Vec::new(),
        }
    }

    fn fetch_at(&mut self, revision: &str) -> Result<Snapshot, Error> {
        let home = self.place.path("hf").into_os_string();
        let mut settings = HubSettings::from_variables(|name| match name {
            "HF_HOME" => Some(home.clone()),
            "HF_ENDPOINT" => Some(self.server.endpoint.clone().into()),
            _ => None,
        })?;
        settings.first_pause = Duration::from_millis(1);
        settings.read_timeout = Duration::from_millis(700);
        settings.offline = self.offline;
        let request = HubRequest {
            kind: HubKind::Model,
            id: HubId::parse("org/tiny")?,
            revision: revision.to_owned(),
            choices_known: self.choices_known,
            pooling_known: self.pooling_known,
        };
        let said = &mut self.said;
        Hub::new(&settings)?.fetch(&request, &LockFile::new(&self.place.path("cache")), &mut |event| match event {
            Event::Retry { error, .. } => said.push(format!("retry: {error}")),
            Event::File { name, have, .. } => said.push(format!("{name} from {have}")),
            _ => {}
        })
    }

    fn fetch(&mut self) -> Result<Snapshot, Error> {
        self.fetch_at("main")
    }

    fn refusal(&mut self) -> String {
        self.fetch().unwrap_err().to_string()
    }

    fn partial(&self) -> PathBuf {
        let hash = sha256(&self.server.bytes(WEIGHTS));
        self.place.path(&format!("hf/hub/models--org--tiny/blobs/{hash}.incomplete"))
    }

    /// The first bytes that each request for the weights asked for.
    fn ranges(&self) -> Vec<Option<usize>> {
        let log = self.server.log();
        log.iter().filter(|r| r.on_cdn && r.path.ends_with(WEIGHTS)).map(|request| request.range).collect()
    }

    fn expect_whole(&self, snapshot: &Snapshot) {
        for name in ["config.json", "tokenizer.json", "tokenizer_config.json", WEIGHTS] {
            assert!(fs::read(snapshot.folder.join(name)).unwrap() == self.server.bytes(name), "{name}");
            assert_eq!(snapshot.files[name].sha256, sha256(&self.server.bytes(name)));
        }
        assert!(!self.partial().exists());
        assert_eq!(snapshot.commit, COMMIT);
    }
}

#[test]
fn a_cut_connection_goes_on_where_it_ended() {
    let mut desk = Desk::new();
    desk.server.fail("GET /cdn/", 1, Fault::CutAfter(20_000));
    let snapshot = desk.fetch().unwrap();
    desk.expect_whole(&snapshot);
    assert_eq!(desk.ranges(), [None, Some(20_000)]);
    let size = desk.server.bytes(WEIGHTS).len();
    let cut = format!("retry: the connection ended after 20000 of {size} bytes of `{WEIGHTS}`");
    assert!(desk.said.contains(&cut), "{:?}", desk.said);
}

#[test]
fn a_download_that_was_given_up_goes_on_with_the_next_run() {
    let mut desk = Desk::new();
    desk.server.fail("GET /cdn/", 1, Fault::CutAfter(30_000));
    desk.server.fail("GET /cdn/", 4, Fault::Status(503, ""));
    let error = desk.fetch().unwrap_err();
    assert_eq!(error.to_string(), "gave up after 5 attempts");
    assert_eq!(fs::metadata(desk.partial()).unwrap().len(), 30_000);
    desk.server.forget_log();
    let snapshot = desk.fetch().unwrap();
    desk.expect_whole(&snapshot);
    assert_eq!(desk.ranges(), [Some(30_000)]);
    assert!(desk.said.contains(&format!("{WEIGHTS} from 30000")), "{:?}", desk.said);
}

#[test]
fn a_server_without_ranges_sends_all_of_it_again() {
    let mut desk = Desk::new();
    desk.server.fail("GET /cdn/", 1, Fault::CutAfter(20_000));
    desk.server.fail("GET /cdn/", 1, Fault::NoRanges);
    let snapshot = desk.fetch().unwrap();
    desk.expect_whole(&snapshot);
    assert_eq!(desk.ranges(), [None, Some(20_000)]);
}

#[test]
fn what_an_earlier_run_left_is_not_trusted() {
    let whole = Desk::new().server.bytes(WEIGHTS).len();
    for (left, ranges) in [(whole + 1, vec![None]), (whole, vec![None]), (10_000, vec![Some(10_000), None])] {
        let mut desk = Desk::new();
        fs::create_dir_all(desk.partial().parent().unwrap()).unwrap();
        fs::write(desk.partial(), vec![1; left]).unwrap();
        let snapshot = desk.fetch().unwrap();
        desk.expect_whole(&snapshot);
        assert_eq!(desk.ranges(), ranges, "{left} bytes");
    }
}

#[test]
fn a_busy_server_is_asked_again_but_not_for_ever() {
    let mut desk = Desk::new();
    desk.server.fail("GET /api/", 2, Fault::Status(429, "Retry-After: 0\r\n"));
    desk.server.fail("HEAD /org/tiny/resolve", 2, Fault::Status(500, ""));
    let snapshot = desk.fetch().unwrap();
    desk.expect_whole(&snapshot);
    assert_eq!(desk.said.iter().filter(|line| line.contains("answered with status")).count(), 4, "{:?}", desk.said);

    let mut desk = Desk::new();
    desk.server.fail("GET /api/", 1_000, Fault::Status(429, "X-Error-Message: slow down\r\n"));
    let error = desk.fetch().unwrap_err();
    assert_eq!((error.to_string().as_str(), desk.server.log().len()), ("gave up after 5 attempts", 5));
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.ends_with("answered with status 429: slow down"), "{cause}");
    assert_eq!(error.hint().unwrap(), "the hub allows more requests with a token: set HF_TOKEN");
}

#[test]
fn bytes_that_are_not_the_announced_ones_are_never_used() {
    let mut desk = Desk::new();
    desk.server.fail("GET /cdn/", 1, Fault::WrongBytes);
    let bytes = desk.server.bytes(WEIGHTS);
    let (got, expected) = (sha256(&vec![7; bytes.len()]), sha256(&bytes));
    assert_eq!(desk.refusal(), format!("`{WEIGHTS}` has SHA-256 {got}, the hub announced {expected}"));
    let model = desk.place.path("hf/hub/models--org--tiny");
    assert!(!desk.partial().exists() && !model.join("blobs").join(expected).exists());
    assert!(!model.join("snapshots").join(COMMIT).join(WEIGHTS).exists());
    assert!(!desk.place.path("cache/lock.toml").exists(), "what failed is not pinned");
    let snapshot = desk.fetch().unwrap();
    desk.expect_whole(&snapshot);
}

#[test]
fn an_endless_answer_ends() {
    for path in ["GET /cdn/", "GET /org/tiny/resolve/0123456789abcdef0123456789abcdef01234567/config.json"] {
        let mut desk = Desk::new();
        desk.server.fail(path, 1, Fault::Endless);
        let text = desk.refusal();
        assert!(text.contains("sends more than the ") && text.ends_with(" bytes that were announced"), "{text}");
        assert!(!desk.partial().exists());
    }
    let mut desk = Desk::new();
    desk.server.fail("GET /api/", 1, Fault::Endless);
    assert!(desk.refusal().ends_with("sends more than the 33554432 bytes that were announced"));
}

#[test]
fn a_silent_server_is_not_waited_for() {
    let mut desk = Desk::new();
    desk.server.fail("GET /api/", 5, Fault::Silence(Duration::from_secs(20)));
    let begun = Instant::now();
    let text = desk.refusal();
    assert!(text.starts_with(&format!("could not get `{}/api/models/org/tiny", desk.server.endpoint)), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_file_that_changed_since_the_first_download_is_refused() {
    let mut desk = Desk::new();
    desk.fetch().unwrap();
    let before = sha256(&desk.server.bytes("config.json"));
    fs::remove_dir_all(desk.place.path("hf")).unwrap();
    desk.server.change("config.json", b"{}");
    let error = desk.fetch().unwrap_err();
    let lock = desk.place.path("cache/lock.toml");
    assert_eq!(
        error.to_string(),
        format!(
            "`config.json` of `org/tiny` has SHA-256 {}, `{}` has {before} from the first download",
            sha256(b"{}"),
            lock.display()
        )
    );
    let hint = error.hint().unwrap();
    assert!(hint.contains("remove the entry `org/tiny`") && hint.contains("`--revision`"), "{hint}");
    assert!(fs::read_to_string(lock).unwrap().contains(&before));
}

#[test]
fn a_revision_stays_the_commit_that_it_was_at_first() {
    let mut desk = Desk::new();
    desk.fetch().unwrap();
    let other = "f".repeat(40);
    desk.server.set_commit(&other);
    assert_eq!(desk.fetch().unwrap().commit, COMMIT, "`main` is pinned by the first download");
    assert_eq!(desk.fetch_at(&other).unwrap().commit, other, "a commit is asked for by its name");
    assert_eq!(desk.fetch_at("v2").unwrap().commit, other, "and so is another branch");
}

#[test]
fn a_newer_commit_of_a_branch_that_others_noted_stays_noted() {
    let mut desk = Desk::new();
    let snapshot = desk.fetch().unwrap();
    let main = desk.place.path("hf/hub/models--org--tiny/refs/main");
    assert_eq!(fs::read_to_string(&main).unwrap(), COMMIT);
    let newer = "f".repeat(40);
    fs::write(&main, &newer).unwrap();
    fs::remove_file(snapshot.folder.join("config.json")).unwrap();
    let again = desk.fetch().unwrap();
    desk.expect_whole(&again);
    assert_eq!(fs::read_to_string(main).unwrap(), newer);
}

#[test]
fn a_small_file_that_is_announced_as_a_huge_one_is_not_downloaded() {
    let huge = "ETag: \"abc\"\r\nX-Linked-Size: 268435457\r\n";
    let problem = "has 268435457 bytes, a file of its kind may have at most 268435456";
    let mut desk = Desk::new();
    desk.server.fail("/config.json", 1, Fault::Status(200, huge));
    assert_eq!(desk.refusal(), format!("`config.json` {problem}"));
    assert!(desk.server.log().iter().all(|request| request.method == "HEAD" || request.path.starts_with("/api/")));

    let mut desk = Desk::new();
    desk.server.remove(WEIGHTS);
    let index = "model.safetensors.index.json";
    desk.server.add(index, b"{}");
    desk.server.fail(index, 1, Fault::Status(200, huge));
    assert_eq!(desk.refusal(), format!("`{index}` {problem}"));
}

#[test]
fn names_from_the_server_stay_in_their_folder() {
    let mut desk = Desk::new();
    for name in ["../../../evil", "/tmp/evil", "1_Pooling/../../evil", "config.json\u{0}"] {
        desk.server.list(name);
    }
    desk.fetch().unwrap();
    assert!(desk.server.log().iter().all(|request| !request.path.contains("evil")));

    let mut desk = Desk::new();
    desk.server.set_commit("../../../../evil");
    assert!(desk.refusal().ends_with("sends the commit `../../../../evil`, expected 40 hex digits"));
    for etag in ["../evil", "a/b", ""] {
        let mut desk = Desk::new();
        let lines: &'static str = format!("ETag: \"{etag}\"\r\n").leak();
        desk.server.fail("HEAD ", 1, Fault::Status(200, lines));
        assert!(desk.refusal().ends_with(&format!("sends ETag `\"{etag}\"`, expected letters and digits")));
        assert!(!desk.place.path("hf/hub/models--org--tiny/blobs").exists());
    }
}

#[test]
fn a_split_model_brings_all_its_files() {
    let mut desk = Desk::new();
    let weights = desk.server.bytes(WEIGHTS);
    desk.server.remove(WEIGHTS);
    let index = r#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    desk.server.add("model.safetensors.index.json", index.as_bytes());
    for part in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
        desk.server.add(part, &weights);
    }
    let snapshot = desk.fetch().unwrap();
    assert_eq!(snapshot.files.len(), 7, "{:?}", snapshot.files.keys());
    assert!(fs::read(snapshot.folder.join("model-00002-of-00002.safetensors")).unwrap() == weights);

    let mut desk = Desk::new();
    desk.server.remove(WEIGHTS);
    desk.server.add("model.safetensors.index.json", br#"{"weight_map": {"a": "../../../etc/passwd"}}"#);
    assert!(desk.refusal().ends_with("names `../../../etc/passwd`, which is no file of the model"));
}

#[test]
fn redirects_end_and_lead_to_the_web() {
    let mut desk = Desk::new();
    desk.server.fail("GET /api/", 100, Fault::LeadsTo("/api/models/org/tiny/revision/main".to_owned()));
    assert!(desk.refusal().ends_with("which leads on and on"));
    let mut desk = Desk::new();
    desk.server.fail("GET /cdn/", 1, Fault::LeadsTo("file:///etc/passwd".to_owned()));
    assert!(desk.refusal().ends_with("leads to `file:///etc/passwd`, which is no web address"));
}

#[test]
fn offline_is_said_to_be_incomplete_and_never_guessed() {
    let mut desk = Desk { offline: true, ..Desk::new() };
    let text = desk.refusal();
    assert!(text.starts_with("offline, and `org/tiny` at `main` is not complete in"), "{text}");
    assert!(text.ends_with(": it was never downloaded"), "{text}");
    let commit = desk.fetch_at(COMMIT).unwrap_err().to_string();
    assert!(commit.ends_with(": it was never downloaded"), "{commit}");
    assert!(desk.server.log().is_empty());
    desk.offline = false;
    desk.fetch().unwrap();
    desk.offline = true;
    desk.server.forget_log();
    let snapshot = desk.fetch().unwrap();
    desk.expect_whole(&snapshot);
    assert!(desk.server.log().is_empty());
    fs::remove_file(snapshot.folder.join("config.json")).unwrap();
    assert!(desk.refusal().ends_with(": no `config.json`"));
}

/// What Python's library has downloaded is used; but it may have asked for some files only.
#[test]
fn a_cache_that_python_filled_is_enough_offline_if_nothing_hangs_on_what_it_lacks() {
    let mut desk = Desk::new();
    desk.fetch().unwrap();
    fs::remove_dir_all(desk.place.path("cache")).unwrap();
    (desk.offline, desk.choices_known) = (true, false);
    let text = desk.refusal();
    assert!(
        text.ends_with(
            "whether it has `modules.json`, `1_Pooling/config.json`, `sentence_bert_config.json` is not known"
        ),
        "{text}"
    );
    let absent = desk.place.path("hf/hub/models--org--tiny/.no_exist").join(COMMIT);
    fs::create_dir_all(absent.join("1_Pooling")).unwrap();
    for name in ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json"] {
        fs::write(absent.join(name), "").unwrap();
    }
    let snapshot = desk.fetch().unwrap();
    desk.expect_whole(&snapshot);
    fs::remove_dir_all(absent).unwrap();
    fs::remove_dir_all(desk.place.path("cache")).unwrap();
    desk.choices_known = true;
    desk.fetch().unwrap();
    // A blob that is not what its name says was damaged on the disk.
    let blob = snapshot.folder.join(WEIGHTS).canonicalize().unwrap();
    fs::write(&blob, "other").unwrap();
    assert!(desk.refusal().contains(&format!("has SHA-256 {}", sha256(b"other"))));
}

#[test]
fn files_in_folders_come_with_their_folders() {
    let folder = root().join("tests/data/tiny-bert/mean");
    let mut desk = Desk { server: HubServer::with_model("org/tiny", &folder), ..Desk::new() };
    let snapshot = desk.fetch().unwrap();
    let names: Vec<&str> = snapshot.files.keys().map(String::as_str).collect();
    let expected = ["0_Transformer/config.json", "0_Transformer/model.safetensors", "0_Transformer/tokenizer.json"];
    assert!(expected.iter().all(|name| names.contains(name)), "{names:?}");
    assert!(names.contains(&"1_Pooling/config.json") && names.contains(&"modules.json"), "{names:?}");
}

#[test]
fn a_classifier_needs_nobody_to_say_how_it_pools() {
    let mut desk = Desk { pooling_known: false, ..Desk::new() };
    let text = desk.refusal();
    assert!(text.starts_with("`org/tiny` does not say how its token states become one vector"), "{text}");
    assert_eq!(desk.ranges(), [], "its weights would be of no use");
    let mut desk = Desk { pooling_known: false, ..Desk::new() };
    desk.server.change("config.json", br#"{"architectures": ["BertForSequenceClassification"]}"#);
    let snapshot = desk.fetch().unwrap();
    desk.expect_whole(&snapshot);
}
