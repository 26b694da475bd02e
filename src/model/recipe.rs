//! A recipe (`models/*.toml`): how a known checkpoint is exported, and the hashes of the files for which that was
//! tried. Owns its reading, the comparison and the recipes that the program carries; `verified = false` says that
//! nobody has seen the files yet.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Component, Path};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::hub::HubId;
use super::{Error, Pooling, files};

const PREFIX: &str = "sha256:";

/// The recipes in the program: name and text.
const BUILT_IN: [(&str, &str); 6] = [
    ("specter2", include_str!("../../models/specter2.toml")),
    ("specter", include_str!("../../models/specter.toml")),
    ("scincl", include_str!("../../models/scincl.toml")),
    ("scibert", include_str!("../../models/scibert.toml")),
    ("all-minilm-l6-v2", include_str!("../../models/all-minilm-l6-v2.toml")),
    ("all-minilm-l12-v2", include_str!("../../models/all-minilm-l12-v2.toml")),
];

/// Hub ids that look like models and are adapters of `allenai/specter2_base`: in August 2023 the model that was called
/// `allenai/specter2` became `allenai/specter2_base`, and its proximity adapter took the old name.
const SPECTER2_ADAPTERS: [(&str, &str); 5] = [
    ("allenai/specter2", "proximity"),
    ("allenai/specter2_proximity", "proximity"),
    ("allenai/specter2_classification", "classification"),
    ("allenai/specter2_regression", "regression"),
    ("allenai/specter2_adhoc_query", "ad-hoc query"),
];

/// The choices for one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The bundle's name.
    pub name: String,
    /// Where the checkpoint is published: a hub id.
    pub source: String,
    /// The revision there, where one is pinned.
    pub revision: Option<String>,
    /// How title and abstract become one text.
    pub template: String,
    /// How token states become one vector.
    pub pooling: Option<Pooling>,
    /// Whether vectors are scaled to length 1.
    pub normalize: Option<bool>,
    /// Longest input in tokens.
    pub max_length: Option<usize>,
    /// Which of `adapters` belongs to the model, where one does.
    pub adapter: Option<String>,
    /// Adapters that were trained on the source: hub ids by name.
    #[serde(default)]
    pub adapters: BTreeMap<String, String>,
    /// The licence of the weights, where it was seen.
    pub license: Option<String>,
    /// What a user should know before relying on it: what was chosen here and not by the model's authors.
    pub note: Option<String>,
    /// Whether the files below were exported and compared with the reference.
    pub verified: bool,
    /// Hashes by file name, relative to the checkpoint's folder: `sha256:` and 64 hex digits.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

impl Recipe {
    /// Reads and checks a recipe.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bytes = files::read(path)?;
        let text = String::from_utf8(bytes);
        let text = text.map_err(|error| Error::Recipe { path: path.to_owned(), problem: error.to_string() })?;
        Self::parse(path, &text)
    }

    /// The recipe of this name in the program.
    pub fn built_in(name: &str) -> Option<Self> {
        let (name, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some(Self::parse(Path::new(&format!("{name}.toml")), text).expect("a test reads every recipe in the program"))
    }

    /// The recipe in the program whose source is this hub id. Who names the source means it alone: without the adapter
    /// that belongs to the recipe.
    pub fn of_source(id: &str) -> Option<Self> {
        let recipe = Self::names().filter_map(Self::built_in).find(|recipe| recipe.source == id)?;
        Some(Self { adapter: None, ..recipe })
    }

    /// Names of the recipes in the program.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// For the hub id of a SPECTER2 adapter: what it is and what to ask for instead.
    pub fn explain_adapter(id: &str) -> Option<String> {
        let (_, task) = SPECTER2_ADAPTERS.iter().find(|(known, _)| *known == id)?;
        Some(format!(
            "since August 2023 `{id}` is the {task} adapter of SPECTER2; the model is `allenai/specter2_base`: \
             `offprint export --model allenai/specter2_base --adapter {id}` makes a bundle of both (the recipe `specter2` \
             is the model with the proximity adapter)"
        ))
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let wrong = |problem: String| Error::Recipe { path: path.to_owned(), problem };
        let recipe: Self = files::toml(path, text)?;
        if recipe.verified && recipe.files.is_empty() {
            return Err(wrong("`verified` is true but `[files]` lists none".to_owned()));
        }
        if let Some(name) = recipe.adapter.as_ref().filter(|name| !recipe.adapters.contains_key(*name)) {
            return Err(wrong(format!("`adapter` is `{name}`, `[adapters]` has none of that name")));
        }
        for (name, id) in &recipe.adapters {
            HubId::parse(id).map_err(|error| wrong(format!("adapter `{name}`: {error}")))?;
        }
        for (name, hash) in &recipe.files {
            if name.is_empty() || !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(wrong(format!("`{name}` does not lie inside the checkpoint")));
            }
            let digits = hash.strip_prefix(PREFIX).unwrap_or_default();
            if digits.len() != 64 || !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(wrong(format!("the hash of `{name}` is `{hash}`, expected `sha256:` and 64 hex digits")));
            }
        }
        Ok(recipe)
    }

    /// Hashes each listed file in `checkpoint`; the first that differs or is missing is the error.
    pub fn verify(&self, checkpoint: &Path) -> Result<(), Error> {
        for (name, expected) in &self.files {
            let path = checkpoint.join(name);
            let got = sha256(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
            let expected = expected.strip_prefix(PREFIX).unwrap_or(expected);
            if got != expected {
                return Err(Error::Hash { path, algorithm: "SHA-256", got, expected: expected.to_owned() });
            }
        }
        Ok(())
    }
}

/// SHA-256 of a file as 64 hex digits.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut HashWriter(&mut hasher))?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HEAD: &str = "name = \"x\"\nsource = \"org/x\"\ntemplate = \"model-card\"\n";
    /// Of the bytes `abc`, FIPS 180-2 appendix B.1.
    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn open(text: &str) -> Result<Recipe, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        fs::write(&path, text).unwrap();
        Recipe::open(&path)
    }

    fn problem(text: &str) -> String {
        open(text).unwrap_err().to_string().split_once("x.toml`: ").unwrap().1.to_owned()
    }

    #[test]
    fn listed_files_are_compared_by_their_hash() {
        let text =
            format!("{HEAD}pooling = \"mean\"\nmax_length = 256\nverified = true\n[files]\n\"a.json\" = \"{ABC}\"\n");
        let recipe = open(&text).unwrap();
        assert_eq!((recipe.pooling, recipe.normalize, recipe.max_length), (Some(Pooling::Mean), None, Some(256)));
        let checkpoint = tempfile::tempdir().unwrap();
        let missing = recipe.verify(checkpoint.path()).unwrap_err();
        assert!(missing.to_string().starts_with("could not read"), "{missing}");
        fs::write(checkpoint.path().join("a.json"), "abc").unwrap();
        recipe.verify(checkpoint.path()).unwrap();
        fs::write(checkpoint.path().join("a.json"), "abd").unwrap();
        let error = recipe.verify(checkpoint.path()).unwrap_err();
        assert!(error.to_string().contains("a.json` has SHA-256 a52d159f262b2c6ddb724a61840befc36eb30c88"), "{error}");
        assert!(error.hint().unwrap().contains("with `--recipe none`"));
    }

    #[test]
    fn every_recipe_in_the_program_is_found_by_its_name_and_by_its_source() {
        for name in Recipe::names() {
            let recipe = Recipe::built_in(name).unwrap();
            assert_eq!(recipe.name, name);
            let alone = Recipe { adapter: None, ..recipe.clone() };
            assert_eq!(Recipe::of_source(&recipe.source), Some(alone), "{name}");
            assert!(recipe.pooling.is_some() && recipe.normalize.is_some(), "{name} leaves its vectors open");
            assert!(recipe.verified || recipe.note.is_some(), "{name} does not say that nobody has seen its files");
        }
        assert_eq!(Recipe::built_in("specter3"), None);
        assert_eq!(Recipe::of_source("org/x"), None);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.filter(|path| path.extension().is_some_and(|kind| kind == "toml")).count();
        assert_eq!(files, BUILT_IN.len(), "a recipe in `models` is not in the program");
    }

    #[test]
    fn an_adapter_under_a_models_name_is_explained() {
        let text = Recipe::explain_adapter("allenai/specter2").unwrap();
        assert!(
            text.starts_with("since August 2023 `allenai/specter2` is the proximity adapter of SPECTER2;"),
            "{text}"
        );
        assert!(text.contains("`allenai/specter2_base`"));
        assert!(text.contains("--adapter allenai/specter2`"));
        assert_eq!(Recipe::explain_adapter("allenai/specter2_base"), None);
        let recipe = Recipe::built_in("specter2").unwrap();
        assert_eq!(recipe.adapter.as_deref(), Some("proximity"));
        let ids = recipe.adapters.values().map(String::as_str);
        assert!(ids.clone().all(|id| Recipe::explain_adapter(id).is_some()) && ids.count() == 4);
    }

    #[test]
    fn a_recipe_that_can_not_hold_its_promise_is_refused() {
        assert_eq!(problem(&format!("{HEAD}verified = true")), "`verified` is true but `[files]` lists none");
        let outside = format!("{HEAD}verified = true\n[files]\n\"../a\" = \"{ABC}\"");
        assert_eq!(problem(&outside), "`../a` does not lie inside the checkpoint");
        let short = format!("{HEAD}verified = true\n[files]\na = \"sha256:12\"");
        assert_eq!(problem(&short), "the hash of `a` is `sha256:12`, expected `sha256:` and 64 hex digits");
        let unnamed = format!("{HEAD}adapter = \"a\"\nverified = false\n[adapters]\nb = \"org/b\"");
        assert_eq!(problem(&unnamed), "`adapter` is `a`, `[adapters]` has none of that name");
        let no_id = format!("{HEAD}verified = false\n[adapters]\nb = \"b\"");
        assert_eq!(problem(&no_id), "adapter `b`: hub id `b` is not of the form `organisation/name`");
        let unknown = open(&format!("{HEAD}verified = false\nlength = 3")).unwrap_err();
        assert!(unknown.to_string().ends_with("x.toml` could not be understood"), "{unknown}");
    }
}
