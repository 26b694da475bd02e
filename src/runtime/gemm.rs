//! Runs a chain of products, a graph with one number as its input and one as its output. Knows no clock. Invariant: what
//! ran gave a finite number.

use ort::session::Session;
use ort::value::TensorRef;

use super::error::Error;
use super::library::OnnxRuntime;
use super::opening::open_session;
use super::session::{SessionOptions, check_finite};

/// A chain of products ready to run.
#[derive(Debug)]
pub struct GemmSession {
    session: Session,
}

impl GemmSession {
    /// Opens the graph with the settings of every session.
    ///
    /// # Errors
    /// No threads, no such file, a provider that is not there, a file that ONNX Runtime cannot open.
    pub fn open(runtime: &OnnxRuntime, options: &SessionOptions) -> Result<Self, Error> {
        Ok(Self { session: open_session(runtime, options)? })
    }

    /// Runs it once.
    ///
    /// # Errors
    /// The run failed or gave a number that is not finite.
    pub fn run(&mut self) -> Result<(), Error> {
        let failed = |source| Error::Run { rows: 1, columns: 1, source };
        let one = TensorRef::from_array_view(([1_usize], [1.0_f32].as_slice())).map_err(failed)?;
        let outputs = self.session.run(ort::inputs![one]).map_err(failed)?;
        let (_, data) = outputs[0].try_extract_tensor::<f32>().map_err(failed)?;
        check_finite(data, [1, data.len().max(1)], "the last product")
    }
}
