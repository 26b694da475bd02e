//! Which of a model's files are needed. Owns the lists of names; a file is taken only if the hub lists it, its name is
//! safe as a path, and it is one of these.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::client::one_line;
use super::id::is_safe_file;
use super::{Error, HubId};
use crate::model::sentence::Module;
use crate::model::shards::Index;
use crate::model::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, WEIGHTS_FILES};

/// Which modules follow the encoder, and in which folders they lie.
pub(super) const MODULES: &str = "modules.json";
const POOLING: &str = "1_Pooling/config.json";
const TOKENIZER: &str = "tokenizer.json";
/// Says what the licence is.
const README: &str = "README.md";
/// Beside the weights, if the model has them.
const BESIDE: [&str; 6] = [
    "config.json",
    TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
];
/// Where there is no `tokenizer.json`: a vocabulary, and the tokens that are added to it.
pub(super) const VOCABULARY: [&str; 2] = ["vocab.txt", "added_tokens.json"];
const MAX_SHARDS: usize = 1_000;

/// The names that decide about vectors where no recipe does: not knowing whether a model has them means guessing.
pub(super) const DECIDING: [&str; 3] = [MODULES, POOLING, "sentence_bert_config.json"];
/// The same where a recipe has decided.
pub(super) const ALWAYS_DECIDING: [&str; 1] = ["tokenizer_config.json"];

#[derive(Deserialize)]
struct Config {
    architectures: Option<Vec<String>>,
}

/// What is to be fetched, in two steps: the small files, then the weights.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Configs, tokenizer and README.md.
    pub small: Vec<String>,
    /// The weights or their index.
    pub weights: String,
    /// Whether there is a config that says how to pool.
    pub has_pooling: bool,
}

impl Plan {
    /// Chooses from the names that the hub lists; `modules` is the folder's `modules.json` where there is one.
    pub fn new(id: &HubId, listed: &BTreeSet<String>, modules: Option<&Path>) -> Result<Self, Error> {
        let has = |name: &String| is_safe_file(name) && listed.contains(name);
        let mut small: Vec<String> = Vec::new();
        let mut prefix = String::new();
        let mut pooling = POOLING.to_owned();
        if let Some(path) = modules {
            small.push(MODULES.to_owned());
            for module in read_modules(path)? {
                let folder = module.path.trim_end_matches('/');
                match module.kind.rsplit('.').next() {
                    Some("Transformer") if folder.is_empty() => prefix.clear(),
                    Some("Transformer") => prefix = format!("{folder}/"),
                    Some("Pooling") => pooling = format!("{folder}/config.json"),
                    _ => {}
                }
            }
        }
        let has_pooling = has(&pooling);
        small.push(pooling);
        small.extend(BESIDE.iter().map(|name| format!("{prefix}{name}")));
        let tokenizer = format!("{prefix}{TOKENIZER}");
        let vocabulary = VOCABULARY.map(|name| format!("{prefix}{name}"));
        let has_tokenizer = has(&tokenizer) || has(&vocabulary[0]);
        if !has(&tokenizer) {
            small.extend(vocabulary);
        }
        small.retain(has);
        small.sort();
        small.dedup();
        // Behind what decides whether the model is of use.
        small.extend(Some(README.to_owned()).filter(has));
        let weights = WEIGHTS_FILES.iter().map(|name| format!("{prefix}{name}")).find(has);
        match weights {
            Some(_) if !has_tokenizer => Err(Error::NoTokenizer { id: id.to_string(), expected: tokenizer }),
            Some(weights) => Ok(Self { small, weights, has_pooling }),
            None if listed.contains(ADAPTER_CONFIG) => Err(Error::IsAdapter {
                id: id.to_string(),
                instead: "give the model that the adapter was trained on as `--model`, and the adapter as `--adapter`"
                    .to_owned(),
            }),
            None => Err(Error::NoWeights { id: id.to_string(), expected: WEIGHTS_FILES.join(", ") }),
        }
    }

    /// Chooses from the names that the hub lists for an adapter: its config, its README.md and its weights.
    pub fn of_adapter(id: &HubId, listed: &BTreeSet<String>) -> Result<Self, Error> {
        let weights = ADAPTER_WEIGHTS.iter().find(|name| listed.contains(**name));
        match weights.filter(|_| listed.contains(ADAPTER_CONFIG)) {
            Some(weights) => {
                // The README names the licence.
                let small = [ADAPTER_CONFIG, "README.md"].into_iter().filter(|name| listed.contains(*name));
                let small = small.map(str::to_owned).collect();
                Ok(Self { small, weights: (*weights).to_owned(), has_pooling: true })
            }
            None => {
                let expected = format!("`{ADAPTER_CONFIG}` and one of: {}", ADAPTER_WEIGHTS.join(", "));
                Err(Error::NoAdapter { id: id.to_string(), expected })
            }
        }
    }

    /// Whether this is the encoder's `config.json`, which lies beside the weights.
    pub fn is_config(&self, name: &str) -> bool {
        let folder = |name: &str| name.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
        name.rsplit('/').next() == Some("config.json") && folder(name) == folder(&self.weights)
    }

    /// The files that an index of weights names, each listed and beside the index.
    pub fn shards(index: &Path, name: &str, listed: &BTreeSet<String>) -> Result<Vec<String>, Error> {
        let wrong = |problem: String| Error::Index { path: index.to_owned(), problem };
        let bytes = std::fs::read(index).map_err(super::store::failed("read", index))?;
        let parsed: Index = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        let files: BTreeSet<String> = parsed.weight_map.into_values().collect();
        if files.is_empty() || files.len() > MAX_SHARDS {
            return Err(wrong(format!("names {} files, expected 1 to {MAX_SHARDS}", files.len())));
        }
        let prefix = name.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let place = |file: String| {
            let full = format!("{prefix}{file}");
            if file.contains('/') || !is_safe_file(&file) || !listed.contains(&full) {
                return Err(wrong(format!("names `{}`, which is no file of the model", one_line(&file))));
            }
            Ok(full)
        };
        files.into_iter().map(place).collect()
    }
}

/// Whether a `config.json` is that of a sequence classifier, whose head says itself what it reads.
pub(super) fn names_classifier(path: &Path) -> Result<bool, Error> {
    let bytes = std::fs::read(path).map_err(super::store::failed("read", path))?;
    let config: Config =
        serde_json::from_slice(&bytes).map_err(|source| Error::Json { url: path.display().to_string(), source })?;
    Ok(config.architectures.iter().flatten().any(|name| name.ends_with("ForSequenceClassification")))
}

fn read_modules(path: &Path) -> Result<Vec<Module>, Error> {
    let bytes = std::fs::read(path).map_err(super::store::failed("read", path))?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Json { url: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn plan(names: &[&str], modules: Option<&str>) -> Result<Plan, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), modules.unwrap_or_default()).unwrap();
        Plan::new(&HubId::parse("org/x").unwrap(), &listed(names), modules.map(|_| file.path()))
    }

    #[test]
    fn only_what_is_needed_is_taken() {
        let all = [
            "README.md",
            "config.json",
            "tokenizer.json",
            "vocab.txt",
            "model.safetensors",
            "pytorch_model.bin",
            "tf_model.h5",
            "onnx/model.onnx",
            "1_Pooling/config.json",
        ];
        let got = plan(&all, None).unwrap();
        assert_eq!(got.small, ["1_Pooling/config.json", "config.json", "tokenizer.json", "README.md"]);
        assert_eq!(got.weights, "model.safetensors");
        let names = ["config.json", "vocab.txt", "added_tokens.json", "pytorch_model.bin", "flax_model.msgpack"];
        let old = plan(&names, None).unwrap();
        assert_eq!(old.small, ["added_tokens.json", "config.json", "vocab.txt"]);
        assert_eq!(old.weights, "pytorch_model.bin");
    }

    #[test]
    fn modules_say_in_which_folders_files_lie() {
        let modules = r#"[{"type": "sentence_transformers.models.Transformer", "path": "0_BERT"},
            {"type": "sentence_transformers.models.Pooling", "path": "2_Pool"},
            {"type": "sentence_transformers.models.Normalize", "path": "../out"}]"#;
        let names = [
            "modules.json",
            "0_BERT/config.json",
            "0_BERT/model.safetensors",
            "0_BERT/vocab.txt",
            "2_Pool/config.json",
            "config.json",
            "model.safetensors",
            "0_BERT/README.md",
            "../out/config.json",
        ];
        let got = plan(&names, Some(modules)).unwrap();
        assert_eq!(got.small, ["0_BERT/config.json", "0_BERT/vocab.txt", "2_Pool/config.json", "modules.json"]);
        assert_eq!(got.weights, "0_BERT/model.safetensors");
        assert!(got.has_pooling && got.is_config("0_BERT/config.json") && !got.is_config("2_Pool/config.json"));
    }

    #[test]
    fn a_classifier_is_known_by_its_config() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (config, classifies) in [
            (r#"{"architectures": ["BertForSequenceClassification"]}"#, true),
            (r#"{"architectures": ["BertModel"]}"#, false),
            (r#"{"architectures": null}"#, false),
            ("{}", false),
        ] {
            std::fs::write(file.path(), config).unwrap();
            assert_eq!(names_classifier(file.path()).unwrap(), classifies, "{config}");
        }
        std::fs::write(file.path(), "no").unwrap();
        assert!(names_classifier(file.path()).unwrap_err().to_string().ends_with("could not be understood"));
    }

    #[test]
    fn a_model_without_weights_says_what_was_looked_for() {
        let error = plan(&["config.json", "tf_model.h5"], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`org/x` has no weights that could be read, expected one of: model.safetensors, \
             model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json"
        );
        let error = plan(&["config.json", "model.safetensors", "added_tokens.json"], None).unwrap_err();
        assert_eq!(error.to_string(), "`org/x` has no tokenizer, expected `tokenizer.json`");
        let error = plan(&["adapter_config.json", "pytorch_adapter.bin"], None).unwrap_err();
        assert_eq!(error.to_string(), "`org/x` is an adapter, not a model");
    }

    #[test]
    fn of_an_adapter_its_config_its_licence_and_its_weights_are_taken() {
        let plan = |names: &[&str]| Plan::of_adapter(&HubId::parse("org/x").unwrap(), &listed(names));
        let all =
            ["README.md", "adapter_config.json", "pytorch_adapter.bin", "pytorch_model_head.bin", "head_config.json"];
        let got = plan(&all).unwrap();
        assert_eq!(
            (got.small.as_slice(), got.weights.as_str()),
            (&["adapter_config.json".to_owned(), "README.md".to_owned()][..], all[2])
        );
        let both = plan(&["adapter_config.json", "adapter_model.bin", "adapter_model.safetensors"]).unwrap();
        assert_eq!(both.weights, "adapter_model.safetensors");
        let error = plan(&["config.json", "model.safetensors"]).unwrap_err().to_string();
        assert!(
            error.starts_with("`org/x` is no adapter, expected `adapter_config.json` and one of: adapter.safe"),
            "{error}"
        );
    }

    #[test]
    fn an_index_can_not_name_files_elsewhere() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let shards = |map: &str| {
            std::fs::write(file.path(), format!("{{\"weight_map\": {map}}}")).unwrap();
            let names = listed(&["enc/a.bin", "enc/b.bin", "../x", "enc/sub/c.bin"]);
            Plan::shards(file.path(), "enc/pytorch_model.bin.index.json", &names)
        };
        assert_eq!(shards(r#"{"w": "a.bin", "v": "b.bin", "u": "a.bin"}"#).unwrap(), ["enc/a.bin", "enc/b.bin"]);
        for bad in ["../x", "/etc/passwd", "sub/c.bin", "missing.bin"] {
            let error = shards(&format!("{{\"w\": \"{bad}\"}}")).unwrap_err().to_string();
            assert!(error.ends_with(&format!("names `{bad}`, which is no file of the model")), "{error}");
        }
        assert!(shards("{}").unwrap_err().to_string().ends_with("names 0 files, expected 1 to 1000"));
    }
}
