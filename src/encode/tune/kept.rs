//! What a measurement found, kept for later runs: one small JSON file for each bundle, machine and ONNX Runtime, in a
//! folder of the cache. Knows where, not when. Invariant: a setting is used only where all that it was measured with is
//! the same; whether the provider is, too, is seen when one runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Setting, Tuned};
use crate::durable;

/// Number of this file format.
const FORMAT: u32 = 2;
/// Letters of a hash in a file's name.
const HASH_LETTERS: usize = 16;

/// What a measurement depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TuneKey {
    /// The bundle's fingerprint: graph, tokenizer, max length.
    pub fingerprint: String,
    /// The providers that were asked for.
    pub provider: String,
    /// What they were told.
    pub provider_options: Vec<String>,
    /// The graphics card, where one of them may run on it.
    pub gpu: Option<String>,
    /// Processor and its instruction sets.
    pub cpu: String,
    /// Threads of all sessions together.
    pub threads: usize,
    /// Cores' worth of time that the control group grants; none where there is no limit.
    pub core_quota: Option<f64>,
    /// The memory preset.
    pub memory: String,
    /// The version of ONNX Runtime.
    pub runtime_version: String,
}

impl TuneKey {
    /// The file for it in `folder`.
    fn file(&self, folder: &Path) -> PathBuf {
        let fields = serde_json::to_vec(self).expect("text and numbers are JSON");
        let hash = blake3::hash(&fields).to_hex();
        folder.join(format!("{}-{}.json", short(&self.fingerprint), short(hash.as_str())))
    }
}

/// The beginning of a hash in hex.
fn short(hash: &str) -> &str {
    hash.get(..HASH_LETTERS).unwrap_or(hash)
}

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    format: u32,
    measured_with: TuneKey,
    #[serde(flatten)]
    tuned: Tuned,
}

/// Whether anything was kept for a bundle, on whatever machine: one look at the names in the folder.
pub fn tuned_before(folder: &Path, fingerprint: &str) -> bool {
    let start = format!("{}-", short(fingerprint));
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with(&start))
}

/// What was kept for a key; `None` if nothing was, or if it was with something else.
///
/// # Errors
/// A file that cannot be read or that is none of ours, by name.
pub fn kept_tuned(folder: &Path, key: &TuneKey) -> io::Result<Option<Tuned>> {
    let file = key.file(folder);
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(&file, &error)),
    };
    let kept: Kept = serde_json::from_slice(&text).map_err(|error| named(&file, &error.into()))?;
    let Setting { sessions, batch_tokens } = kept.tuned.race.setting;
    if kept.format != FORMAT || sessions == 0 || sessions > key.threads || batch_tokens == 0 {
        let what = format!("format {}, {sessions} sessions, {batch_tokens} tokens", kept.format);
        return Err(named(&file, &io::Error::new(io::ErrorKind::InvalidData, what)));
    }
    Ok((kept.measured_with == *key).then_some(kept.tuned))
}

/// Keeps what was found, in the place of what was there. Makes the folder.
///
/// # Errors
/// A folder or file that cannot be written, by name.
pub fn keep_tuned(folder: &Path, key: &TuneKey, tuned: &Tuned) -> io::Result<PathBuf> {
    let file = key.file(folder);
    let kept = Kept { format: FORMAT, measured_with: key.clone(), tuned: tuned.clone() };
    let mut text = serde_json::to_vec_pretty(&kept)?;
    text.push(b'\n');
    fs::create_dir_all(folder)
        .and_then(|()| durable::replace_file(&file, &text))
        .map_err(|error| named(&file, &error))?;
    Ok(file)
}

/// An error with the file that it is about.
fn named(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}`: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::super::{Measured, Race};
    use super::*;
    use crate::runtime::ProviderChoice;

    fn key() -> TuneKey {
        TuneKey {
            fingerprint: "f".repeat(64),
            provider: "cpu".to_owned(),
            provider_options: Vec::new(),
            gpu: None,
            cpu: "Some CPU (avx2)".to_owned(),
            threads: 2,
            core_quota: Some(2.0),
            memory: "balanced".to_owned(),
            runtime_version: "1.31.1".to_owned(),
        }
    }

    fn tuned(sessions: usize) -> Tuned {
        let default = Setting { sessions: 1, batch_tokens: 1_024 };
        let measured = vec![Measured { setting: default, speeds: vec![0.1 + 0.2, 1.0] }];
        let setting = Setting { sessions, batch_tokens: 512 };
        let race = Race { setting, times_as_fast: 1.07, default, measured, duel: vec![[1.0, 1.07]] };
        Tuned { provider: ProviderChoice::Cpu, race }
    }

    #[test]
    fn what_is_kept_is_found_again_and_only_with_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("tune");
        assert!(!tuned_before(&place, &key().fingerprint));
        assert_eq!(kept_tuned(&place, &key()).unwrap(), None);
        keep_tuned(&place, &key(), &tuned(2)).unwrap();
        assert_eq!(kept_tuned(&place, &key()).unwrap(), Some(tuned(2)));
        keep_tuned(&place, &key(), &tuned(1)).unwrap();
        assert_eq!(kept_tuned(&place, &key()).unwrap(), Some(tuned(1)));
        assert!(tuned_before(&place, &key().fingerprint) && !tuned_before(&place, &"e".repeat(64)));
        let others = [
            TuneKey { fingerprint: "e".repeat(64), ..key() },
            TuneKey { provider: "openvino".to_owned(), ..key() },
            TuneKey { provider_options: vec!["openvino.num_streams=2".to_owned()], ..key() },
            TuneKey { gpu: Some("a card".to_owned()), ..key() },
            TuneKey { cpu: "Another CPU".to_owned(), ..key() },
            TuneKey { threads: 4, ..key() },
            TuneKey { core_quota: None, ..key() },
            TuneKey { memory: "low".to_owned(), ..key() },
            TuneKey { runtime_version: "1.32.0".to_owned(), ..key() },
        ];
        for other in others {
            assert_eq!(kept_tuned(&place, &other).unwrap(), None, "{other:?}");
        }
    }

    #[test]
    fn a_damaged_file_is_named_and_another_bundles_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let file = keep_tuned(folder.path(), &key(), &tuned(2)).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        for damaged in [
            &text[..text.len() / 2],
            "",
            &text.replacen("\"sessions\": 2", "\"sessions\": 3", 1),
            &text.replacen("\"format\": 2", "\"format\": 1", 1),
        ] {
            fs::write(&file, damaged).unwrap();
            let error = kept_tuned(folder.path(), &key()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{}`: ", file.display())), "{error}");
        }
        fs::write(&file, text.replacen("Some CPU", "Some other CPU", 1)).unwrap();
        assert_eq!(kept_tuned(folder.path(), &key()).unwrap(), None);
    }
}
