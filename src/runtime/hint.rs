//! The ways out of the errors between this program and ONNX Runtime: what a user can type or install.

use super::error::Error;
use super::provider::ProviderChoice;
use super::search::LIBRARY_NAME;

impl Error {
    /// The way out, where one is known to apply.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::LibraryNotFound { .. } => {
                Some("`pip install --upgrade onnxruntime`, or name the library with `--ort-lib FILE`".to_owned())
            }
            Self::LibraryMissing { .. } | Self::FolderWithoutLibrary { .. } | Self::NotOnnxRuntime { .. } => {
                Some(format!("name the file `{LIBRARY_NAME}*`; pip puts it into `site-packages/onnxruntime/capi/`"))
            }
            Self::LibraryTooOld { needed, .. } => {
                Some(format!("`pip install 'onnxruntime>=1.{needed}'` in that environment"))
            }
            Self::NoSuchDevice { choice: ProviderChoice::OpenVino, .. } => Some(
                "`--provider openvino --provider-option device_type=GPU` asks it for Intel's graphics card".to_owned(),
            ),
            Self::BareDevice { .. } => {
                Some("devices stand behind the colon of their provider: `cuda:0,1` runs on both".to_owned())
            }
            Self::ProviderOption { .. } => {
                Some("`--provider-option KEY=VALUE`, or `NAME.KEY=VALUE` for one of several providers".to_owned())
            }
            Self::NumericsOfSeveral { .. } => {
                Some("name one provider: vectors are cached by what may change them".to_owned())
            }
            Self::Provider(refusal) => refusal.hint(),
            Self::AnotherLibraryLoaded { .. } => Some("run each library in a process of its own".to_owned()),
            Self::Threads { .. } => Some("`--threads 1` or more".to_owned()),
            Self::TensorRt(error) => error.hint(),
            Self::WeightsUnreadable { .. } => Some("`--sessions 1` shares nothing".to_owned()),
            Self::WeightsUnplaced { .. } => {
                Some("name a folder with room by the environment variable TMPDIR, or `--sessions 1`".to_owned())
            }
            Self::FewThreads { threads, sessions } => {
                Some(format!("`--threads {sessions}` or more, or at most `--sessions {threads}`"))
            }
            Self::NotFinite { .. } => Some(
                "look for NaN or overflow in the weights: export the bundle again from a sound checkpoint".to_owned(),
            ),
            Self::Run { rows: 1, columns, .. } if self.is_out_of_memory() => Some(format!(
                "free memory for a batch of a single text of {columns} tokens, or export the bundle with a shorter \
                 `--max-length`"
            )),
            _ => None,
        }
    }
}
