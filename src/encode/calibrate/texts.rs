//! The texts of a calibration: some that ranges are taken from, and others that show what a graph made with these ranges
//! loses. Invariant: no text is among both, and the same corpus gives the same texts whatever the order of its rows.

use std::collections::HashSet;

use super::Error;
use crate::cache::Key;
use crate::encode::{RowAdapters, comparison_texts, sample_papers};
use crate::paper::{Corpus, Label, Template};

/// Texts that ranges are taken from: what further ones add is little.
const OBSERVED: usize = 128;
/// Texts that are held out: one in a few hundred has to be the worst of a corpus by and large.
const HELD_OUT: usize = 192;
/// Different texts that a corpus has to have.
pub const LEAST_TEXTS: usize = 16;
/// Bytes of a text that are kept: more than any encoder reads.
const LONGEST: usize = 1 << 17;

/// A held-out text.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationText {
    /// As the tokenizer gets it.
    pub text: String,
    /// What the corpus says is right for it.
    pub label: Option<Label>,
}

/// The texts.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationTexts {
    /// Those that ranges are taken from.
    pub observed: Vec<String>,
    /// Those that a loss is measured on.
    pub held_out: Vec<CalibrationText>,
}

impl CalibrationTexts {
    /// Texts of `observed`, else built-in ones; those that are held out come from `held_out`, where there is such a
    /// corpus. Else they come from the same texts as the others, and built-in ones are among both: a corpus that is all
    /// of a kind would promise too much of other texts. Rendered by a template with its separator.
    ///
    /// # Errors
    /// A corpus that cannot be read to its end, or one with fewer than [`LEAST_TEXTS`] different texts.
    pub fn gather(
        (observed, held_out): (Option<&Corpus>, Option<&Corpus>),
        (template, sep): (&Template, &str),
        max_length: usize,
    ) -> Result<Self, Error> {
        let sample = |corpus: &Corpus, flag: &'static str, size: usize| {
            let papers = sample_papers(corpus, (template, sep), &RowAdapters::default(), size)?.papers;
            let texts: Vec<CalibrationText> = papers.into_iter().map(CalibrationText::cut).collect();
            if texts.len() < LEAST_TEXTS {
                return Err(Error::FewCalibrationTexts { flag, got: texts.len(), least: LEAST_TEXTS });
            }
            Ok(texts)
        };
        let others = held_out.map(|corpus| sample(corpus, "--check", HELD_OUT)).transpose()?;
        let beside = if others.is_some() { 0 } else { HELD_OUT };
        let built_in = || -> Vec<CalibrationText> {
            comparison_texts(max_length).into_iter().map(|text| CalibrationText { text, label: None }).collect()
        };
        let own = match observed {
            Some(corpus) => sample(corpus, "--calibrate", OBSERVED + beside)?,
            None => built_in(),
        };
        let Some(others) = others else {
            let own = Self::halved(own);
            return Ok(if observed.is_some() { own.mixed_with(Self::halved(built_in())) } else { own });
        };
        let observed: Vec<String> = own.into_iter().map(|own| own.text).collect();
        let seen: HashSet<Key> = observed.iter().map(|text| Key::of_text(text)).collect();
        let held_out: Vec<CalibrationText> =
            others.into_iter().filter(|other| !seen.contains(&Key::of_text(&other.text))).collect();
        if held_out.len() < LEAST_TEXTS {
            return Err(Error::FewHeldOutTexts { got: held_out.len(), least: LEAST_TEXTS });
        }
        Ok(Self { observed, held_out })
    }

    /// Every other text is held out, and where there are many, all beyond those that ranges need.
    fn halved(texts: Vec<CalibrationText>) -> Self {
        let observed = OBSERVED.min(texts.len() / 2);
        let (mut these, mut held_out) = (Vec::new(), Vec::new());
        for (at, text) in texts.into_iter().enumerate() {
            if at % 2 == 1 && these.len() < observed { these.push(text.text) } else { held_out.push(text) }
        }
        Self { observed: these, held_out }
    }

    /// With other texts among them, so that any first part of those held out has both.
    fn mixed_with(mut self, others: Self) -> Self {
        let own = self.observed.iter().chain(self.held_out.iter().map(|held_out| &held_out.text));
        let seen: HashSet<Key> = own.map(|text| Key::of_text(text)).collect();
        let is_new = |text: &str| !seen.contains(&Key::of_text(text));
        self.observed.extend(others.observed.into_iter().filter(|text| is_new(text)));
        let mut others = others.held_out.into_iter().filter(|other| is_new(&other.text));
        let mut held_out = Vec::new();
        for text in self.held_out {
            held_out.extend(others.next());
            held_out.push(text);
        }
        held_out.extend(others);
        Self { observed: self.observed, held_out }
    }

    /// BLAKE3 over all texts, each with its length before it.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for text in self.observed.iter().chain(self.held_out.iter().map(|held_out| &held_out.text)) {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

impl CalibrationText {
    fn cut((mut text, label): (String, Option<Label>)) -> Self {
        let end = text.floor_char_boundary(LONGEST);
        text.truncate(end);
        Self { text, label }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::paper::CorpusOptions;

    fn corpus(numbers: std::ops::Range<usize>) -> (tempfile::TempDir, Corpus) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("papers.jsonl");
        let lines = numbers.fold(String::new(), |mut text, n| {
            writeln!(text, r#"{{"id": "p{n}", "title": "paper {n}", "abstract": "x"}}"#).unwrap();
            text
        });
        std::fs::write(&path, lines).unwrap();
        let corpus = Corpus::open(&[path.display().to_string()], CorpusOptions::default()).unwrap();
        (folder, corpus)
    }

    fn gather(observed: Option<&Corpus>, held_out: Option<&Corpus>) -> Result<CalibrationTexts, Error> {
        CalibrationTexts::gather((observed, held_out), (&Template::ModelCard, "[SEP]"), 128)
    }

    fn apart(texts: &CalibrationTexts) {
        let both: HashSet<&String> =
            texts.observed.iter().chain(texts.held_out.iter().map(|held_out| &held_out.text)).collect();
        assert_eq!(both.len(), texts.observed.len() + texts.held_out.len());
    }

    #[test]
    fn no_text_is_on_both_sides() {
        let (_folder, large) = corpus(0..900);
        let (_other_folder, other) = corpus(400..700);
        let built_in = gather(None, None).unwrap();
        assert!((60..=70).contains(&built_in.observed.len()), "{}", built_in.observed.len());
        let alone = gather(Some(&large), None).unwrap();
        let [observed, held_out] = [built_in.observed.len(), built_in.held_out.len()];
        assert_eq!((alone.observed.len(), alone.held_out.len()), (128 + observed, 192 + held_out));
        let odd = |texts: &[CalibrationText]| texts.iter().filter(|text| built_in.held_out.contains(text)).count();
        assert_eq!((odd(&alone.held_out[..20]), odd(&alone.held_out)), (10, held_out));
        let both = gather(Some(&large), Some(&other)).unwrap();
        assert_eq!(both.observed.len(), 128);
        assert!((120..192).contains(&both.held_out.len()), "{}", both.held_out.len());
        let checked = gather(None, Some(&other)).unwrap();
        assert!(checked.observed.len() > 100 && checked.held_out.len() == 192);
        for texts in [&built_in, &alone, &both, &checked] {
            apart(texts);
        }
        assert_eq!(alone.hash(), gather(Some(&large), None).unwrap().hash());
        assert_ne!(alone.hash(), both.hash());
    }

    #[test]
    fn few_texts_are_too_few() {
        let (_folder, few) = corpus(0..16);
        let texts = gather(Some(&few), None).unwrap();
        let built_in = gather(None, None).unwrap();
        assert_eq!(texts.observed.len(), 8 + built_in.observed.len());
        assert_eq!(texts.held_out.len(), 8 + built_in.held_out.len());
        let (_folder, fewer) = corpus(0..15);
        let error = gather(Some(&fewer), None).unwrap_err();
        assert_eq!(error.to_string(), "`--calibrate` names 15 different texts, a calibration needs 16 or more");
        let error = gather(Some(&few), Some(&few)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "0 texts are left that the ranges were not taken from, a calibration needs 16 or more"
        );
        let (_folder, none) = corpus(0..0);
        assert!(matches!(gather(Some(&none), None), Err(Error::EmptyCorpus { .. })));
    }

    #[test]
    fn a_text_is_cut_where_no_encoder_reads_on() {
        let long = "é".repeat(LONGEST);
        let cut = CalibrationText::cut((long, None));
        assert_eq!(cut.text.len(), LONGEST);
        assert!(cut.text.chars().all(|character| character == 'é'));
    }
}
