//! Ready mappings for the usual dumps of papers: where each keeps id, title, abstract and labels, and how they are
//! written there.
//!
//! A schema is one row of [`Mapping`]; it knows field names and rules, no format. What the user names wins over it.

mod text;

use std::fmt;
use std::str::FromStr;

use super::error::Error;
use super::format::RowFormat;
use super::json_object::KEY;
pub(super) use text::{LabelRule, TextRule, label, label_list, text};

/// Names of the schemas, for messages.
pub(super) const KNOWN_SCHEMAS: &str = "arxiv, s2ag, openalex, pubmed-jsonl, scirepeval, specter-metadata";

/// A dump of papers whose fields are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// arXiv's metadata as Kaggle has it (`arxiv-metadata-oai-snapshot.json`, one object a line).
    Arxiv,
    /// Semantic Scholar's datasets `papers` and `abstracts`, and records of its API.
    S2ag,
    /// Works of OpenAlex, whose abstracts are inverted indexes.
    Openalex,
    /// PubMed records as JSON Lines.
    PubmedJsonl,
    /// Training and evaluation rows of SciRepEval.
    Scirepeval,
    /// SPECTER's `metadata.json`: one object with a paper under each id.
    SpecterMetadata,
}

/// Where a text stands: in the first of these fields that has one.
pub(super) struct TextFields {
    pub(super) names: &'static [&'static str],
    pub(super) rule: TextRule,
}

/// A label that a schema offers under a name of its own.
#[derive(Debug)]
pub(super) struct LabelFields {
    pub(super) name: &'static str,
    pub(super) names: &'static [&'static str],
    pub(super) rule: LabelRule,
}

/// What a schema says.
pub(super) struct Mapping {
    name: &'static str,
    pub(super) ids: &'static [&'static str],
    pub(super) title: TextFields,
    pub(super) abstract_text: TextFields,
    pub(super) labels: &'static [LabelFields],
}

const fn plain(names: &'static [&'static str]) -> TextFields {
    TextFields { names, rule: TextRule::AsIs }
}

static ARXIV: Mapping = Mapping {
    name: "arxiv",
    ids: &["id"],
    title: TextFields { names: &["title"], rule: TextRule::Unfold },
    abstract_text: TextFields { names: &["abstract"], rule: TextRule::Unfold },
    labels: &[
        LabelFields { name: "category", names: &["categories"], rule: LabelRule::FirstWord },
        LabelFields { name: "archive", names: &["categories"], rule: LabelRule::Archive },
    ],
};

static S2AG: Mapping = Mapping {
    name: "s2ag",
    ids: &["corpusid", "corpusId", "paperId"],
    title: plain(&["title"]),
    abstract_text: plain(&["abstract"]),
    labels: &[LabelFields {
        name: "field",
        names: &["s2fieldsofstudy", "s2FieldsOfStudy", "fieldsofstudy", "fieldsOfStudy"],
        rule: LabelRule::FirstItem,
    }],
};

static OPENALEX: Mapping = Mapping {
    name: "openalex",
    ids: &["id"],
    title: plain(&["title", "display_name"]),
    abstract_text: TextFields { names: &["abstract_inverted_index"], rule: TextRule::InvertedIndex },
    labels: &[
        LabelFields { name: "topic", names: &["primary_topic.display_name"], rule: LabelRule::Value },
        LabelFields { name: "subfield", names: &["primary_topic.subfield.display_name"], rule: LabelRule::Value },
        LabelFields { name: "field", names: &["primary_topic.field.display_name"], rule: LabelRule::Value },
        LabelFields { name: "domain", names: &["primary_topic.domain.display_name"], rule: LabelRule::Value },
    ],
};

static PUBMED: Mapping = Mapping {
    name: "pubmed-jsonl",
    ids: &["pmid", "PMID"],
    title: plain(&["title", "article_title"]),
    abstract_text: TextFields { names: &["abstract"], rule: TextRule::Sections },
    labels: &[LabelFields { name: "mesh", names: &["mesh_terms", "mesh"], rule: LabelRule::MeshTerm }],
};

static SCIREPEVAL: Mapping = Mapping {
    name: "scirepeval",
    ids: &["doc_id", "paper_id", "corpus_id"],
    title: plain(&["title"]),
    abstract_text: plain(&["abstract"]),
    labels: &[
        LabelFields { name: "fos", names: &["labels_text"], rule: LabelRule::FirstItem },
        LabelFields { name: "mesh", names: &["descriptor"], rule: LabelRule::Value },
    ],
};

static SPECTER: Mapping = Mapping {
    name: "specter-metadata",
    ids: &[KEY, "paper_id"],
    title: plain(&["title"]),
    abstract_text: plain(&["abstract"]),
    labels: &[],
};

impl Schema {
    /// All schemas.
    pub const ALL: [Self; 6] =
        [Self::Arxiv, Self::S2ag, Self::Openalex, Self::PubmedJsonl, Self::Scirepeval, Self::SpecterMetadata];

    /// What the dump's files with the ending `.json` are.
    pub(super) fn json_files(self) -> Option<RowFormat> {
        match self {
            Self::Arxiv => Some(RowFormat::Jsonl),
            Self::SpecterMetadata => Some(RowFormat::JsonObject),
            _ => None,
        }
    }

    pub(super) fn mapping(self) -> &'static Mapping {
        match self {
            Self::Arxiv => &ARXIV,
            Self::S2ag => &S2AG,
            Self::Openalex => &OPENALEX,
            Self::PubmedJsonl => &PUBMED,
            Self::Scirepeval => &SCIREPEVAL,
            Self::SpecterMetadata => &SPECTER,
        }
    }

    /// Names that a label can be asked for by, beside the names of the dump's own fields.
    pub fn label_names(self) -> impl Iterator<Item = &'static str> {
        self.mapping().labels.iter().map(|label| label.name)
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.mapping().name)
    }
}

impl FromStr for Schema {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|schema| schema.mapping().name == name)
            .ok_or_else(|| Error::UnknownSchema { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_read_as_it_is_shown() {
        let names = Schema::ALL.map(|schema| schema.to_string()).join(", ");
        assert_eq!(names, KNOWN_SCHEMAS);
        for schema in Schema::ALL {
            assert_eq!(schema.to_string().parse::<Schema>().unwrap(), schema);
        }
        let error = "ArXiv".parse::<Schema>().unwrap_err();
        assert_eq!(error.to_string(), format!("schema `ArXiv` is unknown, expected one of {KNOWN_SCHEMAS}"));
        assert_eq!(Schema::Arxiv.label_names().collect::<Vec<_>>(), ["category", "archive"]);
    }
}
