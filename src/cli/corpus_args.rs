//! Flags that say what a corpus is and which of its fields mean what; the same on every command that reads one.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::Result;
use clap::Args;
use offprint::paper::{self, Corpus, CorpusOptions, FieldMap, InputFormat, Schema, Shard};

use super::environment::is_typed;
use super::say::remark;
use super::user_error;

#[derive(Debug, Args)]
#[command(next_help_heading = "Corpus")]
pub(crate) struct CorpusArgs {
    /// Files (.jsonl, .ndjson, .csv, .tsv, each also .gz or .zst; .parquet), folders, globs, or - for standard input; read
    /// in the order given
    ///
    /// CSV and TSV have a header row and quotes as RFC 4180 has them. Of Parquet only the wanted columns are read. What
    /// comes through a pipe is told by its first bytes. A row above 64 MiB is rejected, and a packed file that unfolds to
    /// more than 500 times its size ends the run.
    #[arg(value_name = "CORPUS", required = true)]
    pub corpus: Vec<String>,

    /// The dump that the corpus is, whose fields are then known; the flags below win over it
    #[arg(long, value_name = "SCHEMA", long_help = SCHEMA_HELP)]
    pub schema: Option<Schema>,

    /// What inputs are whose name does not say it: jsonl, csv, tsv or parquet [default: told by the first bytes of a pipe]
    #[arg(long, value_name = "FORMAT")]
    pub input_format: Option<InputFormat>,

    /// Field with the paper's id [default: the first of doc_id, paper_id, corpus_id, corpusid, id; none: row:<n>]
    ///
    /// A name with points, paper.title, is the field title within paper (JSON objects, Parquet structs), unless a field
    /// is called paper.title; so in all flags that name a field.
    #[arg(long, value_name = "FIELD")]
    pub id_field: Option<String>,

    /// Field with the title [default: title]
    #[arg(long, value_name = "FIELD")]
    pub title_field: Option<String>,

    /// Field with the abstract [default: abstract]
    #[arg(long, value_name = "FIELD")]
    pub abstract_field: Option<String>,

    /// Field with a plain text, used as it is instead of title and abstract, without a template
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["title_field", "abstract_field"])]
    pub text_field: Option<String>,

    /// Field that says which part of a split a row belongs to [default: split]
    #[arg(long, value_name = "FIELD")]
    pub split_field: Option<String>,

    /// Read only the first N rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,

    /// Take only shard I of N (from 1/N to N/N): each row belongs to exactly one, by the hash of its id
    ///
    /// --limit counts rows before the shard is taken, so that N shards with one limit make the whole.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
}

const SCHEMA_HELP: &str = "\
The dump that the corpus is, whose fields are then known; the flags below win over it

  arxiv             arXiv metadata (Kaggle, .json or .jsonl): id, title and abstract, line breaks unfolded
                    labels: category (the first, cs.CL), archive (cs)
  s2ag              Semantic Scholar papers and abstracts: corpusid, title, abstract
                    labels: field (the first field of study)
  openalex          OpenAlex works: id, title or display_name, abstract_inverted_index as text
                    labels: topic, subfield, field, domain (of the primary topic)
  pubmed-jsonl      PubMed records: pmid, title or article_title, abstract as text or labelled sections
                    labels: mesh (the first term of mesh_terms)
  scirepeval        SciRepEval: doc_id, paper_id or corpus_id, title, abstract
                    labels: fos (the first of labels_text), mesh (descriptor), label
  specter-metadata  SPECTER's metadata.json, one object with a paper under each id

A label of these is named like a field (--schema arxiv --label category); so is every field of the dump itself.";

impl CorpusArgs {
    /// An error where there is no corpus, and a flag was typed that says something of one.
    pub(crate) fn refuse_without_corpus(&self, hint: &str) -> Result<()> {
        let flags = [
            ("--schema", self.schema.is_some()),
            ("--input-format", self.input_format.is_some()),
            ("--id-field", self.id_field.is_some()),
            ("--title-field", self.title_field.is_some()),
            ("--abstract-field", self.abstract_field.is_some()),
            ("--text-field", self.text_field.is_some()),
            ("--split-field", self.split_field.is_some()),
            ("--limit", self.limit.is_some()),
            ("--shard", self.shard.is_some()),
        ];
        match flags.iter().find(|(flag, given)| *given && is_typed(flag)) {
            Some((flag, _)) if self.corpus.is_empty() => {
                Err(user_error(format!("`{flag}` is given without a corpus"), hint))
            }
            _ => Ok(()),
        }
    }

    /// Opens the corpus; `labels` and `keep` are fields that the command itself asks for.
    pub(crate) fn open<'l>(
        &self,
        labels: impl IntoIterator<Item = &'l str>,
        keep: &[String],
    ) -> Result<Corpus, paper::Error> {
        self.open_with_adapters(labels, keep, None)
    }

    /// The same with a field that names the adapter of each row.
    pub(crate) fn open_with_adapters<'l>(
        &self,
        labels: impl IntoIterator<Item = &'l str>,
        keep: &[String],
        adapter_field: Option<&str>,
    ) -> Result<Corpus, paper::Error> {
        self.open_inputs(&self.corpus, labels, (keep, adapter_field))
    }

    /// Opens other inputs as a corpus with the same fields.
    pub(crate) fn open_inputs<'l>(
        &self,
        inputs: &[String],
        labels: impl IntoIterator<Item = &'l str>,
        (keep, adapter_field): (&[String], Option<&str>),
    ) -> Result<Corpus, paper::Error> {
        let fields = FieldMap {
            id: self.id_field.clone(),
            title: self.title_field.clone(),
            abstract_text: self.abstract_field.clone(),
            text: self.text_field.clone(),
            labels: labels.into_iter().map(str::to_owned).collect(),
            split: self.split_field.clone(),
            adapter: adapter_field.map(str::to_owned),
            keep: keep.to_vec(),
        };
        let options = CorpusOptions {
            fields,
            schema: self.schema,
            input_format: self.input_format,
            limit: self.limit,
            shard: self.shard,
        };
        if inputs.iter().any(|input| input == "-") && std::io::stdin().is_terminal() {
            remark("note: reading papers from the terminal; Ctrl-D ends them");
        }
        Corpus::open(inputs, options)
    }
}

/// The names of the files of a corpus, without the folders they lie in.
pub(crate) fn names_of(inputs: &[String]) -> String {
    let name = |input: &String| match Path::new(input).file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => input.clone(),
    };
    inputs.iter().map(name).collect::<Vec<_>>().join(" ")
}
