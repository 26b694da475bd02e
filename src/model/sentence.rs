//! The files that sentence-transformers lays beside a checkpoint: which modules follow the encoder, how it pools, how
//! long its inputs are. Owns their reading; a module that would change the vectors and isn't supported is an error.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Error, Pooling, files};

const MODULES: &str = "modules.json";
const POOLING: &str = "1_Pooling";

/// What the folder of a sentence-transformers model says about its vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SentenceModules {
    /// The folder that holds config, weights and tokenizer.
    pub encoder: PathBuf,
    /// How it pools, where a pooling config says so.
    pub pooling: Option<Pooling>,
    /// Whether a Normalize module follows.
    pub normalize: bool,
}

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
    path: String,
}

#[derive(Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
}

impl SentenceModules {
    /// Reads `modules.json` and the pooling's config; without them a plain checkpoint is assumed.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(MODULES);
        let modules: Vec<Module> = files::json_if_present(&path)?.unwrap_or_default();
        let mut found = Self { encoder: folder.to_owned(), pooling: None, normalize: false };
        let mut pooling_folder = folder.join(POOLING);
        for module in &modules {
            let place = inside(folder, &path, &module.path)?;
            match module.kind.rsplit('.').next().unwrap_or_default() {
                "Transformer" => found.encoder = place,
                "Pooling" => pooling_folder = place,
                "Normalize" => found.normalize = true,
                other => return Err(Error::UnsupportedModule { path, module: other.to_owned() }),
            }
        }
        found.pooling = read_pooling(&pooling_folder.join("config.json"))?;
        Ok(found)
    }
}

/// `max_seq_length` of `sentence_bert_config.json`, if the file is there and has one.
pub(super) fn max_seq_length(folder: &Path) -> Result<Option<usize>, Error> {
    let config: Option<SentenceConfig> = files::json_if_present(&folder.join("sentence_bert_config.json"))?;
    Ok(config.and_then(|config| config.max_seq_length))
}

fn inside(folder: &Path, modules: &Path, relative: &str) -> Result<PathBuf, Error> {
    if Path::new(relative).components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(folder.join(relative));
    }
    Err(Error::Field {
        path: modules.to_owned(),
        field: "path".to_owned(),
        got: format!("`{relative}`"),
        expected: "a folder inside the checkpoint".to_owned(),
    })
}

/// Reads either spelling: flags `pooling_mode_cls_token` and so on, or one `pooling_mode`.
fn read_pooling(path: &Path) -> Result<Option<Pooling>, Error> {
    let Some(config) = files::json_if_present::<Map<String, Value>>(path)? else { return Ok(None) };
    let mut modes: Vec<&str> = config
        .iter()
        .filter(|(_, value)| **value == Value::Bool(true))
        .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
        .collect();
    modes.extend(config.get("pooling_mode").and_then(Value::as_str));
    match modes.as_slice() {
        ["cls_token" | "cls"] => Ok(Some(Pooling::Cls)),
        ["mean_tokens" | "mean"] => Ok(Some(Pooling::Mean)),
        other => Err(Error::Field {
            path: path.to_owned(),
            field: "pooling_mode".to_owned(),
            got: if other.is_empty() { "not set".to_owned() } else { other.join(" + ") },
            expected: "one of cls_token, mean_tokens".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn refusal(files: &[(&str, &str)]) -> String {
        let folder = folder_with(files);
        let text = SentenceModules::open(folder.path()).unwrap_err().to_string();
        text.replace(&folder.path().display().to_string(), "DIR")
    }

    #[test]
    fn modules_say_where_the_encoder_lies_and_what_follows() {
        let modules = r#"[{"type": "sentence_transformers.models.Transformer", "path": "0_BERT"},
            {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
            {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}]"#;
        let pooling = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false, "include_prompt": true}"#;
        let folder = folder_with(&[("modules.json", modules), ("1_Pooling/config.json", pooling)]);
        let found = SentenceModules::open(folder.path()).unwrap();
        let expected =
            SentenceModules { encoder: folder.path().join("0_BERT"), pooling: Some(Pooling::Cls), normalize: true };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_plain_checkpoint_has_no_pooling_and_no_normalization() {
        let folder = folder_with(&[]);
        let found = SentenceModules::open(folder.path()).unwrap();
        assert_eq!((found.pooling, found.normalize), (None, false));
        let folder = folder_with(&[("1_Pooling/config.json", r#"{"pooling_mode": "mean"}"#)]);
        assert_eq!(SentenceModules::open(folder.path()).unwrap().pooling, Some(Pooling::Mean));
    }

    #[test]
    fn what_would_change_the_vectors_is_refused() {
        let dense = r#"[{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]"#;
        assert_eq!(
            refusal(&[("modules.json", dense)]),
            "`DIR/modules.json` applies the module `Dense` to its vectors, supported are: Transformer, Pooling, Normalize"
        );
        let outside = r#"[{"type": "models.Transformer", "path": "../other"}]"#;
        assert_eq!(
            refusal(&[("modules.json", outside)]),
            "`DIR/modules.json`: `path` is `../other`, expected a folder inside the checkpoint"
        );
        let both = r#"{"pooling_mode_cls_token": true, "pooling_mode_max_tokens": true}"#;
        assert_eq!(
            refusal(&[("1_Pooling/config.json", both)]),
            "`DIR/1_Pooling/config.json`: `pooling_mode` is cls_token + max_tokens, expected one of cls_token, mean_tokens"
        );
        assert_eq!(
            refusal(&[("1_Pooling/config.json", "{}")]),
            "`DIR/1_Pooling/config.json`: `pooling_mode` is not set, expected one of cls_token, mean_tokens"
        );
    }
}
