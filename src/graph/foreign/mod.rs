//! ONNX files that other programs wrote, and our own when they are changed: opening them safely, reaching their
//! weights, and writing them again with other nodes. Nothing in such a file is trusted; nothing is run.

mod adapt;
mod behind;
mod error;
mod external;
mod file;
mod import;
mod layout;
mod names;
mod other_file;
mod rewrite;
mod scan;
mod shapes;

pub use error::Error;
pub use file::OnnxFile;
pub use import::{ImportOptions, import_onnx, write_pooling_probe};
pub use other_file::OtherFile;
pub(crate) use rewrite::ModelWriter;
