//! The names of wanted fields as a tree of keys: `a.b` is the key `a.b`, or the key `b` under the key `a`.
//!
//! Knows neither values nor formats. A name is found at every place where it can stand; the reader prefers the outermost.

/// The keys of one object that lead to wanted fields.
#[derive(Debug, Default, Clone)]
pub(super) struct NameTree {
    targets: Vec<(String, Target)>,
    nested: bool,
}

/// What is wanted under a key.
#[derive(Debug, Default, Clone)]
pub(super) struct Target {
    /// The value itself, as the field at this place in the list of names.
    pub(super) leaf: Option<usize>,
    /// Fields within it.
    pub(super) below: Option<Box<NameTree>>,
}

impl NameTree {
    pub(super) fn new(names: &[String]) -> Self {
        let mut tree = Self::default();
        for (at, name) in names.iter().enumerate() {
            tree.add(name, at);
            tree.nested |= name.contains('.');
        }
        tree
    }

    fn add(&mut self, name: &str, at: usize) {
        self.target(name).leaf = Some(at);
        if let Some((key, rest)) = name.split_once('.') {
            self.target(key).below.get_or_insert_default().add(rest, at);
        }
    }

    fn target(&mut self, key: &str) -> &mut Target {
        let at = self.targets.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
            self.targets.push((key.to_owned(), Target::default()));
            self.targets.len() - 1
        });
        &mut self.targets[at].1
    }

    /// Whether any name can stand inside an object.
    pub(super) fn is_nested(&self) -> bool {
        self.nested
    }

    /// What is wanted under `key`.
    pub(super) fn get(&self, key: &str) -> Option<&Target> {
        self.targets.iter().find(|(known, _)| known == key).map(|(_, target)| target)
    }

    /// All keys with what is wanted under them.
    pub(super) fn targets(&self) -> impl Iterator<Item = (&str, &Target)> {
        self.targets.iter().map(|(key, target)| (key.as_str(), target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_whole_and_in_parts() {
        let tree = NameTree::new(&["a.b.c", "a", "d"].map(str::to_owned));
        assert!(tree.is_nested());
        assert_eq!(tree.get("a.b.c").unwrap().leaf, Some(0));
        let a = tree.get("a").unwrap();
        assert_eq!(a.leaf, Some(1));
        let below = a.below.as_ref().unwrap();
        assert_eq!(below.get("b.c").unwrap().leaf, Some(0));
        assert_eq!(below.get("b").unwrap().below.as_ref().unwrap().get("c").unwrap().leaf, Some(0));
        assert!(tree.get("d").unwrap().below.is_none());
        assert!(tree.get("b").is_none());
        assert!(!NameTree::new(&["d".to_owned()]).is_nested());
    }
}
