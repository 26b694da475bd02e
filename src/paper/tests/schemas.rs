//! Rows as the dumps have them, through the schema that knows them.

use serde_json::json;

use super::super::{CorpusOptions, FieldMap, PaperText, Row, Schema};
use super::{Folder, open_with, papers};

/// Id, title, abstract and label of each row of a JSONL file, or the reason of its rejection.
fn read(schema: Schema, label: Option<&str>, lines: &[serde_json::Value]) -> Vec<String> {
    let folder = Folder::new();
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    let path = folder.write("x.jsonl", text.join("\n").as_bytes());
    let fields = FieldMap { labels: label.map(str::to_owned).into_iter().collect(), ..FieldMap::default() };
    let options = CorpusOptions { fields, schema: Some(schema), ..CorpusOptions::default() };
    let describe = |row| match row {
        Row::Rejected(rejection) => rejection.reason,
        Row::Paper(paper) => {
            let label = paper.label().map(str::to_owned);
            let PaperText::TitleAbstract { title, abstract_text } = paper.text else { panic!("a plain text") };
            let parts = [Some(paper.id), title, abstract_text, label];
            parts.map(|part| part.unwrap_or_else(|| "-".to_owned())).join(" | ")
        }
    };
    open_with(&[&path], options).unwrap().rows().map(|row| describe(row.unwrap())).collect()
}

#[test]
fn arxiv() {
    let rows = [
        json!({"id": "0704.0001", "submitter": "P", "title": "Calculation of cross sections at Tevatron and\n  LHC energies",
            "categories": "hep-ph hep-ex", "abstract": "  A fully differential\ncalculation.\n", "update_date": "2008-11-26"}),
        json!({"id": "0704.0002", "title": "Sparsity", "categories": "math.CO cs.CG", "abstract": null}),
        json!({"title": "No id", "categories": "math.CO"}),
        json!({"id": "0704.0004", "title": "T", "categories": ["math.CO"]}),
    ];
    let expected = [
        "0704.0001 | Calculation of cross sections at Tevatron and LHC energies | A fully differential calculation. | hep-ph",
        "0704.0002 | Sparsity | - | math.CO",
        "`id` is missing, expected an id",
        "`categories` is a list, expected a text of categories",
    ];
    assert_eq!(read(Schema::Arxiv, Some("category"), &rows), expected);
    assert!(read(Schema::Arxiv, Some("archive"), &rows)[1].ends_with("| math"));
    assert!(read(Schema::Arxiv, Some("categories"), &rows)[1].ends_with("| math.CO cs.CG"));
}

#[test]
fn s2ag() {
    let rows = [
        json!({"corpusid": 17, "title": "T", "abstract": "A", "s2fieldsofstudy":
            [{"category": "Medicine", "source": "external"}, {"category": "Biology", "source": "s2-fos-model"}]}),
        json!({"corpusid": 18, "title": "T", "s2fieldsofstudy": null}),
        json!({"corpusId": 19, "paperId": "ab", "title": "T", "fieldsOfStudy": ["Physics"]}),
        json!({"corpusid": 20, "title": "T", "s2fieldsofstudy": []}),
    ];
    let expected = ["17 | T | A | Medicine", "18 | T | - | -", "19 | T | - | Physics", "20 | T | - | -"];
    assert_eq!(read(Schema::S2ag, Some("field"), &rows), expected);
}

#[test]
fn openalex() {
    let topic = json!({"display_name": "Tides", "field": {"display_name": "Earth Science"}});
    let rows = [
        json!({"id": "https://openalex.org/W1", "title": "T", "display_name": "D", "primary_topic": topic,
            "abstract_inverted_index": {"sea": [1], "The": [0], "rises": [2_000_000_000_000_u64]}}),
        json!({"id": "https://openalex.org/W2", "title": null, "display_name": "D", "abstract_inverted_index": null,
            "primary_topic": null}),
        json!({"id": "https://openalex.org/W3", "title": "T", "abstract_inverted_index": {"a": "b"}}),
        json!({"id": "https://openalex.org/W4", "abstract_inverted_index": null}),
    ];
    let expected = [
        "https://openalex.org/W1 | T | The sea rises | Earth Science",
        "https://openalex.org/W2 | D | - | -",
        "`abstract_inverted_index` is an object, expected an object of words with lists of their positions",
        "the row has neither `title` or `display_name` nor `abstract_inverted_index`, expected one of them",
    ];
    assert_eq!(read(Schema::Openalex, Some("field"), &rows), expected);
    assert!(read(Schema::Openalex, Some("topic"), &rows)[0].ends_with("| Tides"));
}

#[test]
fn pubmed() {
    let rows = [
        json!({"pmid": "31", "article_title": "T", "mesh_terms": "D006801:Humans; D008297:Male",
            "abstract": [{"label": "AIM", "text": "To see."}, {"label": "RESULT", "text": "Seen."}]}),
        json!({"pmid": 32, "title": "T", "abstract": "One text.", "mesh_terms": ["Male"]}),
    ];
    let expected = ["31 | T | AIM: To see. RESULT: Seen. | Humans", "32 | T | One text. | Male"];
    assert_eq!(read(Schema::PubmedJsonl, Some("mesh"), &rows), expected);
}

#[test]
fn scirepeval_and_specter() {
    let rows = [
        json!({"corpus_id": 5, "title": "T", "abstract": "A", "labels": [16], "labels_text": ["Mathematics"]}),
        json!({"doc_id": "d", "title": "T", "abstract": null, "labels_text": []}),
    ];
    assert_eq!(read(Schema::Scirepeval, Some("fos"), &rows), ["5 | T | A | Mathematics", "d | T | - | -"]);
    let rows = [json!({"paper_id": "s", "title": "T", "abstract": "A", "year": 2017})];
    assert_eq!(read(Schema::SpecterMetadata, Some("year"), &rows), ["s | T | A | 2017"]);
}

#[test]
fn what_the_user_names_wins_over_the_schema() {
    let folder = Folder::new();
    let path = folder.write("x.jsonl", br#"{"id": "1", "doi": "10.1/x", "headline": "H\n h", "abstract": " A\n b"}"#);
    let fields = FieldMap { id: Some("doi".to_owned()), title: Some("headline".to_owned()), ..FieldMap::default() };
    let options = CorpusOptions { fields, schema: Some(Schema::Arxiv), ..CorpusOptions::default() };
    let corpus = open_with(&[&path], options).unwrap();
    let paper = papers(corpus.rows().map(Result::unwrap).collect()).remove(0);
    let text = PaperText::TitleAbstract { title: Some("H\n h".to_owned()), abstract_text: Some("A b".to_owned()) };
    assert_eq!((paper.id.as_str(), paper.text), ("10.1/x", text));
}

#[test]
fn a_schema_that_does_not_fit_names_the_fields_that_it_looked_for() {
    let folder = Folder::new();
    let path = folder.write("x.jsonl", br#"{"id": "1", "title": "T"}"#);
    let error = |schema, label: Option<&str>| {
        let fields = FieldMap { labels: label.map(str::to_owned).into_iter().collect(), ..FieldMap::default() };
        let options = CorpusOptions { fields, schema: Some(schema), ..CorpusOptions::default() };
        open_with(&[&path], options).unwrap_err().to_string()
    };
    let seen = "(1 rows looked at; fields seen: `id`, `title`)";
    assert_eq!(error(Schema::PubmedJsonl, None), format!("no row has a field `pmid` or `PMID` {seen}"));
    assert_eq!(error(Schema::Arxiv, Some("category")), format!("no row has a field `categories` {seen}"));
}
