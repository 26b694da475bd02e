//! Flags of every command that writes rows.

use clap::Args;
use offprint::output::Compression;

#[derive(Debug, Args)]
pub(crate) struct CompressArgs {
    /// Compression: gzip, zstd or none, with a level if wanted (gzip:9, zstd:19); snappy for Parquet
    ///
    /// A text file is compressed if its name ends in .gz or .zst; there this flag adds the level. Parquet compresses its
    /// own pages: zstd, snappy or none. Matrix files (.npy, .safetensors, .fbin) are never compressed, because their
    /// readers map them into memory.
    #[arg(long, value_name = "HOW[:LEVEL]", help_heading = "Output")]
    pub compress: Option<Compression>,
}
