//! What the operators of a graph take, of a session opened for that alone: noting times slows a session down, so that none of
//! the other figures come from it. Invariant: what warms the session up is not counted.

use super::Error;
use super::cell::{CellJob, WARM_UP_BATCHES};
use super::ready::Ready;
use super::texts::read_texts;
use crate::encode::{BundleEncoder, Tokenizer};
use crate::runtime::{Profile, Provider, ProviderChoice, RunBatch};

/// Runs some batches of the job, once to warm up and once to be measured. None on TensorRT, whose engines are one piece each.
///
/// # Errors
/// A session that cannot be opened or run, or a profile that cannot be read.
pub(super) fn profile(encoder: &BundleEncoder, provider: &Provider, job: &CellJob) -> Result<Option<Profile>, Error> {
    if provider.choice == ProviderChoice::TensorRt {
        return Ok(None);
    }
    let (bundle, max_length) = (&encoder.bundle, encoder.bundle.manifest.max_length);
    let tokenizer = Tokenizer::open(&bundle.tokenizer_path(), max_length)?;
    let texts = read_texts(&job.texts)?;
    let whole: Vec<(&str, usize)> = texts.iter().map(|text| (text.as_str(), 0)).collect();
    let encodings = tokenizer.encode_all(&whole).into_iter().collect::<Result<Vec<_>, _>>()?;
    let ready = Ready::of(&encodings, job.setting.batches, (tokenizer.pad_id(), max_length, provider.choice), None)?;
    let batches = ready.some(WARM_UP_BATCHES);
    let unwritten = |source| Error::Write { path: std::env::temp_dir(), source };
    let folder = tempfile::tempdir().map_err(unwritten)?;
    let mut session = encoder.open_profiled(provider, &folder.path().join("profile"))?;
    for batch in batches.iter().chain(&batches) {
        session.run(batch)?;
    }
    Ok(Some(session.end_profile(batches.len())?))
}
