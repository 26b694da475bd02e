//! Turns what the user wrote (files, folders, patterns) into the list of files to read, in the order given.
//!
//! Looks at names and kinds only and opens nothing; `-` is standard input. Everything that matches nothing is an error: a corpus that is
//! silently smaller than asked would pass as complete.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::format::FormatRules;
use super::input::STDIN;

/// The files behind `inputs`. Folders are read recursively and sorted by name, patterns in the order of names; in both,
/// hidden files, files of unknown format and files of rejected rows are passed over. A file that is named is read.
pub(super) fn corpus_files(inputs: &[String], rules: FormatRules) -> Result<Vec<PathBuf>, Error> {
    if inputs.is_empty() {
        return Err(Error::NoInput);
    }
    let mut files = Vec::new();
    for input in inputs {
        let path = Path::new(input);
        if input == STDIN {
            if files.iter().any(|file: &PathBuf| file == path) {
                return Err(Error::ReadTwice { file: "stdin".to_owned() });
            }
            files.push(path.to_owned());
            continue;
        }
        match fs::metadata(path) {
            Ok(kind) if kind.is_dir() => add_folder(input, path, rules, &mut files)?,
            // What is neither file nor folder is a pipe: its name says nothing and its first bytes do.
            Ok(kind) if !kind.is_file() => files.push(path.to_owned()),
            Ok(_) if rules.input_format.is_some() || rules.of_name(path).is_some() => files.push(path.to_owned()),
            Ok(_) => return Err(Error::UnknownFormat { file: path.to_owned() }),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Unreadable { path: path.to_owned(), source: error });
            }
            Err(_) if input.contains(['*', '?', '[']) => add_pattern(input, rules, &mut files)?,
            Err(_) => return Err(Error::NotFound { input: path.to_owned() }),
        }
    }
    Ok(files)
}

fn add_folder(input: &str, folder: &Path, rules: FormatRules, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let (before, mut others) = (files.len(), 0);
    walk(folder, rules, files, &mut others)?;
    if files.len() == before {
        return Err(Error::NothingMatched { input: input.to_owned(), others });
    }
    Ok(())
}

/// Depth first, names in byte order. A link to a folder is not followed, so that no cycle can be met.
fn walk(folder: &Path, rules: FormatRules, files: &mut Vec<PathBuf>, others: &mut usize) -> Result<(), Error> {
    let unreadable = |source| Error::Unreadable { path: folder.to_owned(), source };
    let mut entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type().map_err(unreadable)?.is_dir() {
            if !is_hidden(&path) {
                walk(&path, rules, files, others)?;
            }
        } else if path.is_file() {
            if is_corpus_file(&path, rules) { files.push(path) } else { *others += 1 }
        }
    }
    Ok(())
}

fn add_pattern(pattern: &str, rules: FormatRules, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let paths = glob::glob(pattern).map_err(|source| Error::Pattern { pattern: pattern.to_owned(), source })?;
    let (before, mut others) = (files.len(), 0);
    for path in paths {
        let path = path.map_err(|error| Error::Unreadable { path: error.path().to_owned(), source: error.into() })?;
        if path.is_file() {
            if is_corpus_file(&path, rules) { files.push(path) } else { others += 1 }
        }
    }
    if files.len() == before {
        return Err(Error::NothingMatched { input: pattern.to_owned(), others });
    }
    Ok(())
}

fn is_corpus_file(path: &Path, rules: FormatRules) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !is_hidden(path) && !name.ends_with(".rejects.jsonl") && rules.of_name(path).is_some()
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn found(inputs: &[String], below: &Path) -> Vec<String> {
        let files = corpus_files(inputs, FormatRules::default()).unwrap();
        files.iter().map(|file| file.strip_prefix(below).unwrap().display().to_string()).collect()
    }

    #[test]
    fn folders_are_sorted_and_inputs_keep_their_order() {
        let folder = folder_with(&[
            "b.jsonl",
            "a/z.csv.gz",
            "a/c.NDJSON",
            "notes.txt",
            ".hidden.csv",
            "b.rejects.jsonl",
            ".git/x.csv",
        ]);
        let all = folder.path().display().to_string();
        assert_eq!(found(std::slice::from_ref(&all), folder.path()), ["a/c.NDJSON", "a/z.csv.gz", "b.jsonl"]);
        let inputs = [format!("{all}/b.jsonl"), format!("{all}/a/*")];
        assert_eq!(found(&inputs, folder.path()), ["b.jsonl", "a/c.NDJSON", "a/z.csv.gz"]);
        assert_eq!(found(&[format!("{all}/**/*.csv.gz")], folder.path()), ["a/z.csv.gz"]);
    }

    #[test]
    fn a_file_whose_name_looks_like_a_pattern_is_a_file() {
        let folder = folder_with(&["x[1].csv"]);
        let name = folder.path().join("x[1].csv").display().to_string();
        assert_eq!(found(&[name], folder.path()), ["x[1].csv"]);
    }

    #[test]
    fn what_matches_nothing_is_an_error_that_names_it() {
        let folder = folder_with(&["notes.txt", "empty/x.md"]);
        let at = |name: &str| folder.path().join(name).display().to_string();
        let message = |input: String| corpus_files(&[input], FormatRules::default()).unwrap_err().to_string();
        assert_eq!(message(at("no.csv")), format!("corpus `{}` does not exist", at("no.csv")));
        assert_eq!(
            message(at("notes.txt")),
            format!(
                "`{}` has an unknown ending, expected one of {}",
                at("notes.txt"),
                super::super::format::KNOWN_FORMATS
            )
        );
        assert!(message(at("empty")).contains("holds no corpus file (1 other files"));
        assert!(message(at("*.jsonl")).contains("holds no corpus file (0 other files"));
        assert!(message(at("*.txt")).contains("(1 other files"));
        assert!(message("a[".to_owned()).contains("corpus pattern `a[` cannot be read"));
        assert_eq!(corpus_files(&[], FormatRules::default()).unwrap_err().to_string(), "no corpus given");
    }
}
