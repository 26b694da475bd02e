//! Flags of every command that writes rows.

use clap::Args;
use offprint::output::Compression;

#[derive(Debug, Args)]
pub(crate) struct CompressArgs {
    /// Compression: gzip, zstd or none, with a level if wanted (gzip:9, zstd:19); snappy for Parquet
    ///
    /// A text file is compressed if its name ends in .gz or .zst, so there this flag only adds the level. Parquet
    /// compresses its pages (zstd, snappy or none), whatever its name. Matrix files (.npy, .safetensors, .fbin) are never
    /// compressed: their readers map them.
    #[arg(long, value_name = "HOW[:LEVEL]", help_heading = "Output")]
    pub compress: Option<Compression>,
}
