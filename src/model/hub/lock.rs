//! `lock.toml` in offprint's cache folder: which commit of a model was downloaded first, and the sizes and SHA-256 of its
//! files. Owns the comparison; later downloads use the same commit and must bring the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::store::{create_parent, failed, lock_file};
use super::{Difference, Error, HubId};
use crate::durable;

/// The file's name in the cache folder.
const LOCK_FILE: &str = "lock.toml";
const GUARD_FILE: &str = ".lock.toml.lock";
const FORMAT: u32 = 1;
const HEAD: &str = "\
# The models that offprint has downloaded: the commit that each revision stood for at first, and what its files hold.
# Later downloads use the same commit and must bring the same bytes. To have a newer one, remove its entry, or name a
# commit with `--revision`.
";

/// One file as it was first downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    /// Bytes.
    pub size: u64,
    /// 64 hex digits.
    pub sha256: String,
}

/// One revision of one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedModel {
    /// The model's hub id.
    pub id: String,
    /// The branch, tag or commit that was asked for.
    pub revision: String,
    /// The commit that it stood for.
    pub commit: String,
    /// Its files by name.
    pub files: BTreeMap<String, LockedFile>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    #[serde(default, rename = "model")]
    models: Vec<LockedModel>,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// The lock file of a cache folder.
#[derive(Debug, Clone)]
pub struct LockFile {
    path: PathBuf,
}

impl LockFile {
    /// The one in this folder, which need not exist yet.
    pub fn new(cache_dir: &Path) -> Self {
        Self { path: cache_dir.join(LOCK_FILE) }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Locks a file of the caller's beside what it makes, until the result is dropped: of several processes one makes
    /// it. `waiting` is called if another one holds the lock.
    ///
    /// # Errors
    /// A folder or file that can't be created.
    pub fn guard(path: &Path, waiting: impl FnOnce()) -> Result<File, Error> {
        create_parent(path)?;
        lock_file(path, waiting)
    }

    /// What was first downloaded for this revision.
    ///
    /// # Errors
    /// A file that can't be read or understood.
    pub fn find(&self, id: &HubId, revision: &str) -> Result<Option<LockedModel>, Error> {
        let models = self.read()?.models;
        Ok(models.into_iter().find(|model| model.id == id.as_str() && model.revision == revision))
    }

    /// Compares with what is written down; what is new is added. Several processes may do so at once.
    ///
    /// # Errors
    /// [`Error::Locked`] with the first file that differs; then nothing is written.
    pub fn agree(&self, found: &LockedModel) -> Result<(), Error> {
        create_parent(&self.path)?;
        let _guard = lock_file(&self.path.with_file_name(GUARD_FILE), || {})?;
        let mut content = self.read()?;
        let same = |model: &&mut LockedModel| model.id == found.id && model.commit == found.commit;
        for known in content.models.iter_mut().filter(|model| same(model)) {
            self.compare(known, found)?;
        }
        let entry = content.models.iter_mut().find(|model| model.id == found.id && model.revision == found.revision);
        match entry {
            Some(entry) if entry.commit == found.commit => {
                let before = entry.files.len();
                entry.files.extend(found.files.clone());
                if entry.files.len() == before {
                    return Ok(());
                }
            }
            Some(entry) => {
                let (what, got, expected) = ("commit", found.commit.clone(), entry.commit.clone());
                return Err(self.differs(found, &found.revision, what, (got, expected)));
            }
            None => content.models.push(found.clone()),
        }
        content.models.sort_by(|a, b| (&a.id, &a.revision).cmp(&(&b.id, &b.revision)));
        let text = toml::to_string(&content).expect("a lock is plain strings, numbers and tables");
        durable::replace_file(&self.path, format!("{HEAD}{text}").as_bytes()).map_err(failed("write", &self.path))
    }

    fn compare(&self, known: &LockedModel, found: &LockedModel) -> Result<(), Error> {
        for (name, file) in &found.files {
            let Some(expected) = known.files.get(name) else { continue };
            if file.sha256 != expected.sha256 {
                let hashes = (file.sha256.clone(), expected.sha256.clone());
                return Err(self.differs(found, name, "SHA-256", hashes));
            }
            if file.size != expected.size {
                return Err(self.differs(found, name, "size", (file.size.to_string(), expected.size.to_string())));
            }
        }
        Ok(())
    }

    fn differs(&self, found: &LockedModel, file: &str, what: &'static str, pair: (String, String)) -> Error {
        let (got, expected) = pair;
        let (lock, id, file) = (self.path.clone(), found.id.clone(), file.to_owned());
        Error::Locked(Box::new(Difference { lock, id, file, what, got, expected }))
    }

    fn read(&self) -> Result<Content, Error> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Content { format: FORMAT, models: Vec::new() });
            }
            Err(error) => return Err(failed("read", &self.path)(error)),
        };
        let wrong = |source| Error::LockSyntax { path: self.path.clone(), source: Box::new(source) };
        let FormatOnly { format } = toml::from_str(&text).map_err(wrong)?;
        if format != FORMAT {
            return Err(Error::LockFormat { path: self.path.clone(), got: format, expected: FORMAT });
        }
        toml::from_str(&text).map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(revision: &str, commit: char, hash: char) -> LockedModel {
        let file = LockedFile { size: 3, sha256: hash.to_string().repeat(64) };
        LockedModel {
            id: "org/x".to_owned(),
            revision: revision.to_owned(),
            commit: commit.to_string().repeat(40),
            files: BTreeMap::from([("model.safetensors".to_owned(), file)]),
        }
    }

    #[test]
    fn the_first_download_is_the_measure_of_later_ones() {
        let folder = tempfile::tempdir().unwrap();
        let lock = LockFile::new(folder.path());
        let id = HubId::parse("org/x").unwrap();
        assert_eq!(lock.find(&id, "main").unwrap(), None);
        let first = model("main", 'a', '1');
        lock.agree(&first).unwrap();
        assert_eq!(lock.find(&id, "main").unwrap(), Some(first.clone()));
        assert_eq!(lock.find(&id, "v1").unwrap(), None);
        lock.agree(&first).unwrap();
        let error = lock.agree(&model("main", 'a', '2')).unwrap_err();
        let text = error.to_string();
        for part in ["`model.safetensors` of `org/x` has SHA-256 222", "lock.toml` has 111", "from the first download"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(error.hint().unwrap().contains("remove the entry `org/x`"));
        assert!(error.hint().unwrap().contains("--revision"));
        // Another name for the same commit must bring the same bytes as well.
        assert!(lock.agree(&model("v1", 'a', '2')).is_err());
        lock.agree(&model("v2", 'b', '2')).unwrap();
        assert_eq!(lock.find(&id, "v2").unwrap().unwrap().commit, "b".repeat(40));
        assert_eq!(lock.find(&id, "main").unwrap(), Some(first));
    }

    #[test]
    fn a_file_that_is_new_joins_its_model() {
        let folder = tempfile::tempdir().unwrap();
        let lock = LockFile::new(folder.path());
        lock.agree(&model("main", 'a', '1')).unwrap();
        let mut more = model("main", 'a', '1');
        more.files.insert("vocab.txt".to_owned(), LockedFile { size: 1, sha256: "3".repeat(64) });
        lock.agree(&more).unwrap();
        assert_eq!(lock.find(&HubId::parse("org/x").unwrap(), "main").unwrap(), Some(more));
    }

    #[test]
    fn writers_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let lock = LockFile::new(folder.path());
                scope.spawn(move || lock.agree(&model(&format!("r{writer}"), 'a', '1')).unwrap());
            }
        });
        let id = HubId::parse("org/x").unwrap();
        let lock = LockFile::new(folder.path());
        assert!((0..8).all(|writer| lock.find(&id, &format!("r{writer}")).unwrap().is_some()));
    }

    #[test]
    fn what_is_no_lock_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let lock = LockFile::new(folder.path());
        let id = HubId::parse("org/x").unwrap();
        std::fs::write(lock.path(), "format = 2\n").unwrap();
        let text = lock.find(&id, "main").unwrap_err().to_string();
        assert!(text.ends_with("lock.toml` has format 2, this version of offprint reads format 1"), "{text}");
        std::fs::write(lock.path(), "format = 1\nmodels = 3\n").unwrap();
        let text = lock.find(&id, "main").unwrap_err().to_string();
        assert!(text.ends_with("lock.toml` could not be understood"), "{text}");
    }
}
