//! Flags that say what a corpus is and which of its fields mean what; the same on every command that reads one.

use clap::Args;
use offprint::paper::{Corpus, CorpusOptions, Error, FieldMap};

#[derive(Debug, Args)]
#[command(next_help_heading = "Corpus")]
pub(crate) struct CorpusArgs {
    /// Files (.jsonl, .ndjson, .csv, each also .gz), folders or globs, read in the order given
    #[arg(value_name = "CORPUS", required = true)]
    pub corpus: Vec<String>,

    /// Field with the paper's id [default: the first of doc_id, paper_id, corpus_id, corpusid, id; none: row:<n>]
    #[arg(long, value_name = "FIELD")]
    pub id_field: Option<String>,

    /// Field with the title
    #[arg(long, value_name = "FIELD", default_value = "title")]
    pub title_field: String,

    /// Field with the abstract
    #[arg(long, value_name = "FIELD", default_value = "abstract")]
    pub abstract_field: String,

    /// Field with a plain text, used as it is instead of title and abstract, without a template
    #[arg(long, value_name = "FIELD")]
    pub text_field: Option<String>,

    /// Field that says which part of a split a row belongs to
    #[arg(long, value_name = "FIELD", default_value = "split")]
    pub split_field: String,

    /// Read only the first N rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

impl CorpusArgs {
    /// Opens the corpus; `label` and `keep` are fields that the command itself asks for.
    pub(crate) fn open(&self, label: Option<&str>, keep: &[String]) -> Result<Corpus, Error> {
        let fields = FieldMap {
            id: self.id_field.clone(),
            title: self.title_field.clone(),
            abstract_text: self.abstract_field.clone(),
            text: self.text_field.clone(),
            label: label.map(str::to_owned),
            split: self.split_field.clone(),
            keep: keep.to_vec(),
        };
        Corpus::open(&self.corpus, CorpusOptions { fields, limit: self.limit })
    }
}
