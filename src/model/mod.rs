//! What is known about an encoder before it runs: the checkpoint it comes from, the recipe it is exported by, the
//! bundle it lives in, and the names under which its vectors may be compared and cached.
//!
//! This room reads and checks files and knows no graph operators, no ONNX Runtime and no corpora. Its invariant: a
//! value that it hands out has been checked against the file it came from, so later rooms don't look twice.

mod activation;
mod adapter;
mod architectures;
mod bundle;
mod bundle_adapter;
mod checkpoint;
mod choices;
mod classification;
mod companion;
mod config;
#[cfg(test)]
mod config_tests;
mod error;
mod files;
mod fingerprint;
mod head;
pub mod hub;
mod identity;
mod int8;
mod license;
mod manifest;
#[cfg(test)]
mod manifest_tests;
mod masked_lm;
mod metadata;
mod pickle;
mod quality;
mod recipe;
mod rotary;
mod safetensors;
mod seen_pooling;
mod sentence;
mod shards;
mod tensor_names;
mod tokenizer_config;
mod torch_file;
#[cfg(test)]
mod torch_tests;
mod vocabulary;
mod weights;

pub use activation::Activation;
pub use adapter::{
    ADAPTER_CONFIG, ADAPTER_HEADS, ADAPTER_WEIGHTS, Adapter, AdapterError, Block, Bottleneck, Form, Lora, LowRank,
    Method, Reads, Residual, Site,
};
pub use architectures::{
    Architecture, BiasFields, ClassifierFields, EmbeddingNames, FieldNames, HeadNames, LayerNames, LinearName,
    MaskedLmNames, Norms, Padding, Positions, Projection,
};
pub use bundle::{BUNDLE_FILES, Bundle, DATA_FILE, GRAPH_FILE, MANIFEST_FILE, TOKENIZER_FILE};
pub use bundle_adapter::{AdapterKind, BundleAdapter, MAX_ADAPTERS, is_adapter_name};
pub use checkpoint::Checkpoint;
pub use choices::{Pooling, Precision};
pub use classification::{Classification, Task};
pub use companion::Companion;
pub use config::{Biases, EncoderConfig};
pub use error::Error;
pub use fingerprint::Fingerprint;
pub use head::{Conformal, DEFAULT_THRESHOLD, GraphHead, HeadActivation, OWN_CLASSIFIER, given_label};
pub use identity::{FieldChange, Identity};
pub use int8::{Calibration, Int8, Int8Group, Int8Point};
pub use manifest::{
    ADAPTER_FORMAT, BUNDLE_FORMAT, DECISION_FORMAT, DataFile, FOREIGN_ARCHITECTURE, Manifest, Source, bundle_format,
};
pub use masked_lm::MaskedLmHead;
pub use metadata::GraphMetadata;
pub use quality::{F1Quality, HeadQuality, MeasuredQuality, Quality};
pub use recipe::Recipe;
pub use rotary::Rotary;
pub use seen_pooling::SeenPooling;
pub use tensor_names::{ADAPTER, ATTENTION_MASK, INPUT_IDS, LOGITS, MASK_PLACES, PROBABILITIES, SENTENCE_EMBEDDING};
pub use weights::{Tensor, WEIGHTS_FILES, Weights};
