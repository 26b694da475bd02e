//! Names that become addresses and paths: of a model, of a revision, of a file in it. Owns the rules by which they are
//! safe as either; a name that breaks them is refused before anything is asked or opened.

use std::fmt;

use super::Error;

const MAX_NAME: usize = 200;

/// A model's name on the hub: `organisation/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HubId(String);

impl HubId {
    /// Checks the form: two parts of letters, digits, `.`, `_`, `-`, none of which begins or ends with `.` or `-`, no
    /// `--` and no `..` (the hub's own rules; its cache uses `--` between the parts).
    pub fn parse(text: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = text.split('/').collect();
        let problem = if text.len() > 96 {
            "is longer than 96 characters"
        } else if parts.len() != 2 {
            "is not of the form `organisation/name`"
        } else if !parts.iter().all(|part| is_plain(part)) || text.contains("--") || text.contains("..") {
            "holds characters that no name on the hub has"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Error::Name { what: "hub id", name: text.to_owned(), problem })
    }

    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as one folder: `organisation--name`.
    pub fn folder_name(&self) -> String {
        self.0.replace('/', "--")
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn is_plain(part: &str) -> bool {
    let ends = [part.bytes().next(), part.bytes().last()];
    ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// A branch, tag or commit: plain parts between slashes.
pub(super) fn check_revision(revision: &str) -> Result<(), Error> {
    if revision.len() <= MAX_NAME && revision.split('/').all(is_plain) && !revision.contains("..") {
        return Ok(());
    }
    let problem = "holds characters that no revision has";
    Err(Error::Name { what: "revision", name: revision.to_owned(), problem })
}

/// A file inside a model: plain parts between slashes, so it stays inside wherever it is joined.
pub(super) fn is_safe_file(name: &str) -> bool {
    name.len() <= MAX_NAME && name.split('/').all(is_plain) && !name.contains("..")
}

/// A commit: 40 hex digits, lower case.
pub(super) fn is_commit(text: &str) -> bool {
    is_hex(text, 40)
}

/// So many hex digits, lower case.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for good in ["allenai/specter2_base", "sentence-transformers/all-MiniLM-L6-v2", "a/b.c"] {
            assert_eq!(HubId::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(HubId::parse("allenai/specter2_base").unwrap().folder_name(), "allenai--specter2_base");
        for bad in ["x", "a/b/c", "../x", "a/..", "a/.b", "a/b--c", "/a", "a/", "a b/c", "a/b\n", "a/b?x=1", "-a/b"] {
            assert!(HubId::parse(bad).is_err(), "{bad}");
        }
        assert!(HubId::parse(&format!("a/{}", "b".repeat(100))).is_err());
        for good in ["main", "v1.0", "refs/pr/3", "0123abc"] {
            check_revision(good).unwrap();
        }
        for bad in ["", "../main", "/etc", "a//b", "a b", "-x", "a/./b", "main?x"] {
            let error = check_revision(bad).unwrap_err();
            assert_eq!(error.to_string(), format!("revision `{bad}` holds characters that no revision has"));
        }
        assert!(is_safe_file("1_Pooling/config.json") && is_safe_file("model-00001-of-00002.safetensors"));
        for bad in ["../x", "/etc/passwd", "a/../../x", "a\\b", "", "x/", ".bashrc", "a\0b"] {
            assert!(!is_safe_file(bad), "{bad}");
        }
    }
}
