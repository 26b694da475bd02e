//! Weights in several files: an index maps each tensor to its file. The files' names must be plain ones in the index's
//! own folder, so that an index can't reach for other files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use serde::Deserialize;

use super::weights::{Entry, MappedFile, Weights, open_file};
use super::{Error, files};

/// The index of weights in several files.
#[derive(Deserialize)]
pub(super) struct Index {
    /// The file of each tensor.
    pub weight_map: BTreeMap<String, String>,
}

/// Opens an index and all files that it names; tensors that it does not name are not there.
pub(super) fn open(path: &Path) -> Result<Weights, Error> {
    let index: Index = files::json(path, &files::read(path)?)?;
    let names: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
    if let Some(name) = names.iter().find(|name| !is_plain(name)) {
        return Err(Error::Field {
            path: path.to_owned(),
            field: "weight_map".to_owned(),
            got: format!("`{name}`"),
            expected: "the name of a file in the same folder".to_owned(),
        });
    }
    let mut mapped: Vec<MappedFile> = Vec::with_capacity(names.len());
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut tensors: BTreeMap<String, (usize, Entry)> = BTreeMap::new();
    for name in names {
        let (file, entries) = open_file(&path.with_file_name(name))?;
        numbers.insert(name, mapped.len());
        let here =
            entries.into_iter().filter(|(tensor, _)| index.weight_map.get(tensor).is_some_and(|file| file == name));
        tensors.extend(here.map(|(tensor, entry)| (tensor, (mapped.len(), entry))));
        mapped.push(file);
    }
    match index.weight_map.iter().find(|(tensor, _)| !tensors.contains_key(*tensor)) {
        Some((tensor, file)) => {
            let problem = "is not there, though the index names it".to_owned();
            Err(Error::TensorEntry { path: path.with_file_name(file), tensor: tensor.clone(), problem })
        }
        None => Ok(Weights::from_parts(path, mapped, tensors)),
    }
}

/// One name, without separators (of any system) and without steps upwards.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let one = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    one && !name.contains(['/', '\\', '\0', ':'])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const INDEX: &str = "model.safetensors.index.json";

    fn shard(name: &str, value: f32) -> Vec<u8> {
        let header = format!(r#"{{"{name}": {{"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}}}"#);
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &value.to_le_bytes()].concat()
    }

    fn folder(index: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("one.safetensors"), shard("a", 1.0)).unwrap();
        fs::write(folder.path().join("two.safetensors"), shard("b", 2.0)).unwrap();
        fs::write(folder.path().join(INDEX), index).unwrap();
        folder
    }

    fn refusal(index: &str) -> String {
        let folder = folder(index);
        let text = Weights::open(&folder.path().join(INDEX)).unwrap_err().to_string();
        text.replace(&folder.path().display().to_string(), "DIR")
    }

    #[test]
    fn tensors_come_from_their_files() {
        let index =
            r#"{"metadata": {"total_size": 8}, "weight_map": {"b": "two.safetensors", "a": "one.safetensors"}}"#;
        let folder = folder(index);
        let weights = Weights::open(&folder.path().join(INDEX)).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b"]);
        let mut values = Vec::new();
        weights.tensor("b", &[1]).unwrap().read(0..1, &mut values).unwrap();
        assert_eq!(values, [2.0]);
        let hash = weights.hash();
        fs::write(folder.path().join("two.safetensors"), shard("b", 3.0)).unwrap();
        assert_ne!(hash, Weights::open(&folder.path().join(INDEX)).unwrap().hash());
    }

    #[test]
    fn an_index_names_only_files_beside_it() {
        for name in ["../one.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "a\\\\b", "c:one"] {
            let text = refusal(&format!(r#"{{"weight_map": {{"a": "{name}"}}}}"#));
            let name = name.replace("\\\\", "\\");
            let expected = "expected the name of a file in the same folder";
            assert_eq!(text, format!("`DIR/{INDEX}`: `weight_map` is `{name}`, {expected}"));
        }
    }

    #[test]
    fn a_file_or_tensor_that_is_not_there_is_named() {
        assert_eq!(refusal(r#"{"weight_map": {"a": "three.safetensors"}}"#), "could not read `DIR/three.safetensors`");
        let other = refusal(r#"{"weight_map": {"a": "two.safetensors"}}"#);
        assert_eq!(other, "tensor `a` in `DIR/two.safetensors` is not there, though the index names it");
        assert_eq!(refusal(r#"{"weight_map": 3}"#), format!("`DIR/{INDEX}` could not be understood"));
    }
}
