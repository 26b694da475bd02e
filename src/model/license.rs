//! The licence that a checkpoint's README.md names between the `---` lines at its beginning, where model cards keep it.
//! Reads the two forms that cards use and no other YAML: what it does not understand is no licence.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::Error;

const README: &str = "README.md";

/// The lines about a model stand at the beginning; what comes behind this is not read.
const LONGEST_HEAD: u64 = 64 << 10;

/// What `license` says in the checkpoint's README.md: one name, or several with commas between them. Of a licence that
/// the card calls `other`, its own `license_name`.
///
/// # Errors
/// A README.md that is there and cannot be read.
pub(super) fn license_in(folder: &Path) -> Result<Option<String>, Error> {
    let path = folder.join(README);
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(LONGEST_HEAD).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(parse(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path, source }),
    }
}

fn parse(readme: &str) -> Option<String> {
    let mut lines = readme.trim_start_matches('\u{feff}').lines().map(str::trim_end);
    if lines.next() != Some("---") {
        return None;
    }
    let lines: Vec<&str> = lines.collect();
    // A rule that nothing closes is no head.
    let head = &lines[..lines.iter().position(|line| *line == "---")?];
    let license = value_of(head, "license")?;
    if license == "other" {
        return value_of(head, "license_name").or(Some(license));
    }
    Some(license)
}

/// The value of a field at the outermost level: behind its colon, or the list below it.
fn value_of(head: &[&str], field: &str) -> Option<String> {
    let at = head.iter().position(|line| line.strip_prefix(field).is_some_and(|rest| rest.starts_with(':')))?;
    let inline = without_comment(&head[at][field.len() + 1..]);
    let names: Vec<&str> = match inline.strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
        Some(list) => list.split(',').collect(),
        None if inline.is_empty() => {
            head[at + 1..].iter().map_while(|line| without_comment(line).strip_prefix("- ")).collect()
        }
        None => vec![inline],
    };
    let plain = |name: &str| name.trim().trim_matches(['"', '\'']).trim().to_owned();
    let names: Vec<String> = names.into_iter().map(plain).filter(|name| !name.is_empty()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// A value without the comment behind it.
fn without_comment(value: &str) -> &str {
    let value = value.trim();
    if value.starts_with(['"', '\'', '#']) {
        return if value.starts_with('#') { "" } else { value };
    }
    value.split_once(" #").map_or(value, |(value, _)| value.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_names_its_licence_in_one_of_two_forms() {
        let card = |head: &str| parse(&format!("---\n{head}\n---\n# A model\nlicense: not this\n"));
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(card("language: en\nlicense: apache-2.0\ntags:\n- x"), named("apache-2.0"));
        assert_eq!(card("license: \"mit\""), named("mit"));
        assert_eq!(card("license:\n- mit\n  - 'cc-by-4.0'\ntags:\n- x"), named("mit, cc-by-4.0"));
        assert_eq!(card("license: [mit, apache-2.0]"), named("mit, apache-2.0"));
        assert_eq!(card("license: other\nlicense_name: tongyi-qianwen"), named("tongyi-qianwen"));
        assert_eq!(card("license: other"), named("other"));
        assert_eq!(card("license_link: here\nmodel:\n  license: inner"), None);
        assert_eq!(card("license:"), None);
        assert_eq!(card("license: apache-2.0  # see LICENSE"), named("apache-2.0"));
        assert_eq!(card("license: # none yet"), None);
    }

    #[test]
    fn a_readme_without_a_head_names_none() {
        assert_eq!(parse("# A model\n---\nlicense: mit\n---\n"), None);
        assert_eq!(parse(""), None);
        assert_eq!(parse("---\n\nMy model\n\nlicense: ask Bob first\n"), None);
        assert_eq!(parse("---\r\nlicense: mit\r\n---\r\n"), Some("mit".to_owned()));
    }

    #[test]
    fn a_folder_without_a_readme_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(license_in(folder.path()).unwrap(), None);
        std::fs::write(folder.path().join(README), b"---\nlicense: mit\nx: \xff\n---\n").unwrap();
        assert_eq!(license_in(folder.path()).unwrap(), Some("mit".to_owned()));
        std::fs::remove_file(folder.path().join(README)).unwrap();
        std::fs::create_dir(folder.path().join(README)).unwrap();
        license_in(folder.path()).unwrap_err();
    }
}
