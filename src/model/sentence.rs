//! The files that sentence-transformers lays beside a checkpoint: which modules follow the encoder, how it pools, how
//! long its inputs are, what is done to a text first. Owns their reading; whatever would change the vectors and isn't
//! supported is an error.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Error, Pooling, files};

const MODULES: &str = "modules.json";
const POOLING: &str = "1_Pooling";
const SENTENCE: &str = "sentence_bert_config.json";
const PROMPTS: &str = "config_sentence_transformers.json";

/// What the folder of a sentence-transformers model says about its vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SentenceModules {
    /// The folder that holds config, weights and tokenizer.
    pub encoder: PathBuf,
    /// How it pools, where a pooling config says so.
    pub pooling: Option<Pooling>,
    /// Whether a Normalize module follows.
    pub normalize: bool,
    /// The text that sentence-transformers puts before every other one unless it is told not to.
    pub prompt: Option<DefaultPrompt>,
}

/// A prompt that applies without being asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DefaultPrompt {
    /// The file that says so.
    path: PathBuf,
    /// Its name among the prompts.
    name: String,
    /// Its text; not empty.
    text: String,
    /// The pooling's config, if pooling leaves the prompt's tokens out.
    left_out_by: Option<PathBuf>,
}

/// An entry of `modules.json`.
#[derive(Deserialize)]
pub(super) struct Module {
    /// A Python class; its last part tells what it does.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its folder, empty for the model's own.
    pub path: String,
}

/// `sentence_bert_config.json`.
#[derive(Deserialize, Default)]
pub(super) struct SentenceConfig {
    /// Longest input in tokens.
    pub max_seq_length: Option<usize>,
    do_lower_case: Option<bool>,
}

#[derive(Deserialize, Default)]
struct Prompts {
    prompts: Option<Map<String, Value>>,
    default_prompt_name: Option<String>,
}

impl SentenceModules {
    /// Reads `modules.json` and the pooling's config; without them a plain checkpoint is assumed.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(MODULES);
        let modules: Vec<Module> = files::json_if_present(&path)?.unwrap_or_default();
        let mut found = Self { encoder: folder.to_owned(), pooling: None, normalize: false, prompt: None };
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
        let pooling = pooling_folder.join("config.json");
        found.pooling = read_pooling(&pooling)?;
        found.prompt = DefaultPrompt::read(&folder.join(PROMPTS), pooling)?;
        Ok(found)
    }
}

impl DefaultPrompt {
    /// Reads the prompts and the name of the one that applies by default, if there is one.
    fn read(path: &Path, pooling: PathBuf) -> Result<Option<Self>, Error> {
        let Prompts { prompts, default_prompt_name } = files::json_if_present(path)?.unwrap_or_default();
        let Some(name) = default_prompt_name else { return Ok(None) };
        let prompts = prompts.unwrap_or_default();
        let Some(text) = prompts.get(&name).and_then(Value::as_str) else {
            return Err(Error::Field {
                path: path.to_owned(),
                field: "default_prompt_name".to_owned(),
                got: format!("`{name}`"),
                expected: "the name of one of its prompts, or null".to_owned(),
            });
        };
        if text.is_empty() {
            return Ok(None);
        }
        let config: Option<Map<String, Value>> = files::json_if_present(&pooling)?;
        let left_out = config.is_some_and(|config| config.get("include_prompt") == Some(&Value::Bool(false)));
        let left_out_by = left_out.then_some(pooling);
        Ok(Some(Self { path: path.to_owned(), name, text: text.to_owned(), left_out_by }))
    }

    /// Refuses a template that doesn't put the prompt before the text, and a pooling that would leave it out.
    pub fn check_template(&self, template: &str) -> Result<(), Error> {
        let written = self.text.replace('{', "{{").replace('}', "}}");
        if !template.starts_with(&written) {
            let (path, name) = (self.path.clone(), self.name.clone());
            return Err(Error::DefaultPrompt { path, name, prompt: self.text.clone(), written });
        }
        match &self.left_out_by {
            Some(path) => Err(Error::Field {
                path: path.clone(),
                field: "include_prompt".to_owned(),
                got: "false".to_owned(),
                expected: "true: pooling takes in every token of a text".to_owned(),
            }),
            None => Ok(()),
        }
    }
}

impl SentenceConfig {
    /// Reads the file in `folder`; without one, nothing is asked for. `tokenizer` is the `tokenizer.json` beside it.
    pub fn open(folder: &Path, tokenizer: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let path = folder.join(SENTENCE);
        let config: Self = files::json_if_present(&path)?.unwrap_or_default();
        let normalizer = |tokenizer: &Value| lower_cases(&tokenizer["normalizer"]);
        if config.do_lower_case == Some(true) && !normalizer(&files::json(tokenizer, bytes)?) {
            return Err(Error::KeepsCapitals { path, tokenizer: tokenizer.to_owned() });
        }
        Ok(config)
    }
}

/// Whether a normalizer of `tokenizer.json`, or one of those in a row, makes letters small.
pub(super) fn lower_cases(normalizer: &Value) -> bool {
    match normalizer["type"].as_str() {
        Some("Lowercase") => true,
        Some("BertNormalizer") => normalizer["lowercase"] == Value::Bool(true),
        Some("Sequence") => normalizer["normalizers"].as_array().is_some_and(|all| all.iter().any(lower_cases)),
        _ => false,
    }
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
        let expected = SentenceModules {
            encoder: folder.path().join("0_BERT"),
            pooling: Some(Pooling::Cls),
            normalize: true,
            prompt: None,
        };
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

    /// What a checkpoint with these prompts says to a template; the folder is written `DIR`.
    fn prompt_refusal(prompts: &str, pooling: &str, template: &str) -> Result<(), (String, Option<String>)> {
        let folder = folder_with(&[("config_sentence_transformers.json", prompts), ("1_Pooling/config.json", pooling)]);
        let name = folder.path().display().to_string();
        let modules = SentenceModules::open(folder.path());
        let checked =
            modules.and_then(|modules| modules.prompt.map_or(Ok(()), |prompt| prompt.check_template(template)));
        checked.map_err(|error| (error.to_string().replace(&name, "DIR"), error.hint()))
    }

    #[test]
    fn a_prompt_that_applies_by_default_must_stand_in_the_template() {
        let mean = r#"{"pooling_mode": "mean"}"#;
        let prompts = r#"{"prompts": {"query": "find {x}: ", "document": ""}, "default_prompt_name": "query"}"#;
        let (message, hint) = prompt_refusal(prompts, mean, "model-card").unwrap_err();
        assert_eq!(
            message,
            "`DIR/config_sentence_transformers.json` puts the prompt `find {x}: ` before every text \
             (`default_prompt_name` is `query`), the template does not"
        );
        assert_eq!(
            hint.unwrap(),
            "`--template \"find {{x}}: {title}{sep}{abstract}\"` does so too; to go without a prompt, set \
             `default_prompt_name` to null in that file"
        );
        assert_eq!(prompt_refusal(prompts, mean, "find {{x}}: {title}{sep}{abstract}"), Ok(()));
        let left_out = r#"{"pooling_mode": "mean", "include_prompt": false}"#;
        let (message, _) = prompt_refusal(prompts, left_out, "find {{x}}: {title}").unwrap_err();
        assert!(
            message.starts_with("`DIR/1_Pooling/config.json`: `include_prompt` is false, expected true"),
            "{message}"
        );

        for harmless in [
            r#"{"prompts": {"query": "find: "}, "default_prompt_name": null}"#,
            r#"{"prompts": {"query": "find: ", "document": ""}, "default_prompt_name": "document"}"#,
            r#"{"__version__": {"pytorch": "2.0"}}"#,
        ] {
            assert_eq!(prompt_refusal(harmless, left_out, "model-card"), Ok(()), "{harmless}");
        }
        let (message, _) = prompt_refusal(r#"{"default_prompt_name": "query"}"#, mean, "model-card").unwrap_err();
        assert!(
            message.ends_with("`default_prompt_name` is `query`, expected the name of one of its prompts, or null")
        );
    }

    #[test]
    fn lower_case_that_the_tokenizer_does_not_make_is_refused() {
        let open = |config: &str, normalizer: &str| {
            let folder = folder_with(&[("sentence_bert_config.json", config)]);
            let path = folder.path().join("tokenizer.json");
            let bytes = format!(r#"{{"normalizer": {normalizer}}}"#);
            let opened = SentenceConfig::open(folder.path(), &path, bytes.as_bytes());
            let name = folder.path().display().to_string();
            opened
                .map(|config| config.max_seq_length)
                .map_err(|error| (error.to_string().replace(&name, "DIR"), error.hint()))
        };
        let asks = r#"{"max_seq_length": 128, "do_lower_case": true}"#;
        let (message, hint) = open(asks, "null").unwrap_err();
        assert_eq!(
            message,
            "`DIR/sentence_bert_config.json` asks for lower case (`do_lower_case`), `DIR/tokenizer.json` keeps capitals"
        );
        assert_eq!(
            hint.unwrap(),
            "give tokenizer.json a `Lowercase` normalizer, or set `do_lower_case` to false if capitals are wanted"
        );
        assert!(open(asks, r#"{"type": "BertNormalizer", "lowercase": false}"#).is_err());
        assert!(open(asks, r#"{"type": "Sequence", "normalizers": [{"type": "NFC"}]}"#).is_err());
        for small in [
            r#"{"type": "Lowercase"}"#,
            r#"{"type": "BertNormalizer", "lowercase": true}"#,
            r#"{"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}"#,
        ] {
            assert_eq!(open(asks, small), Ok(Some(128)), "{small}");
        }
        assert_eq!(open(r#"{"do_lower_case": false}"#, "null"), Ok(None));
        assert_eq!(open("{}", "null"), Ok(None));
    }
}
