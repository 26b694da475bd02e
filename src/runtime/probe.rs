//! Runs a graph for any of its outputs and hands them out as they are. Knows not what they stand for. Invariant: what comes
//! out is one list of finite numbers for each output that was asked for, or an error.

use ort::session::Session;
use ort::value::TensorRef;

use super::Batch;
use super::error::Error;
use super::library::OnnxRuntime;
use super::opening::open_session;
use super::session::{SessionOptions, check_finite};
use crate::model::{ATTENTION_MASK, INPUT_IDS};

/// A graph with further outputs, ready to run.
#[derive(Debug)]
pub struct ProbeSession {
    session: Session,
}

impl ProbeSession {
    /// Opens a graph that takes token ids and their mask.
    ///
    /// # Errors
    /// No threads, no such file, a provider that is not there, a file that ONNX Runtime cannot open.
    pub fn open(runtime: &OnnxRuntime, options: &SessionOptions) -> Result<Self, Error> {
        Ok(Self { session: open_session(runtime, options)? })
    }

    /// The numbers of each of `outputs`, row by row, whatever their shapes are.
    ///
    /// # Errors
    /// The batch's numbers do not fit its shape, the run failed, or an output is not there, is no f32 or not finite.
    pub fn run(&mut self, batch: &Batch, outputs: &[&str]) -> Result<Vec<Vec<f32>>, Error> {
        batch.check()?;
        let Batch { rows, columns, .. } = *batch;
        let failed = |source| Error::Run { rows, columns, source };
        let ids = TensorRef::from_array_view(([rows, columns], batch.ids.as_slice())).map_err(failed)?;
        let mask = TensorRef::from_array_view(([rows, columns], batch.mask.as_slice())).map_err(failed)?;
        let found = self.session.run(ort::inputs![INPUT_IDS => ids, ATTENTION_MASK => mask]).map_err(failed)?;
        let mut numbers = Vec::with_capacity(outputs.len());
        for name in outputs {
            let missing = || Error::OutputMissing { output: (*name).to_owned() };
            let (_, data) = found.get(*name).ok_or_else(missing)?.try_extract_tensor::<f32>().map_err(failed)?;
            check_finite(data, [1, data.len()], name)?;
            numbers.push(data.to_vec());
        }
        Ok(numbers)
    }
}

/// The graphs in tests/data/tiny-graph are described in the script beside them.
#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::runtime::ProviderChoice;

    #[test]
    fn outputs_come_as_they_are_and_one_that_is_not_there_is_named() {
        let runtime = match OnnxRuntime::load(None) {
            Ok(runtime) => runtime,
            Err(error @ Error::LibraryNotFound { .. }) => {
                eprintln!("skipped: {error}; {}", error.hint().unwrap());
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let graph = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny-graph/encoder.onnx");
        let options = SessionOptions { graph, provider: ProviderChoice::Cpu.into(), threads: 1 };
        let mut session = ProbeSession::open(&runtime, &options).unwrap();
        let batch = Batch { ids: vec![9], mask: vec![1], rows: 1, columns: 1, adapters: Vec::new() };
        assert_eq!(session.run(&batch, &["sentence_embedding"]).unwrap(), [[9.0, 9.25, 9.5, 9.75]]);
        let error = session.run(&batch, &["layer/highest"]).unwrap_err();
        assert_eq!(error.to_string(), "the graph gives no output `layer/highest`");
    }
}
