//! How title and abstract become one text. Four renderings are in use for the same models and differ where a field is
//! missing, so each has a name; the rendered text, not the name, is what embeddings are kept by.
//!
//! Sources, read in their code: `model-card` in the cards of SPECTER, SciNCL and SPECTER2; `scirepeval` in SciRepEval's
//! `evaluation/eval_datasets.py`; `s2-timo` in `specter2_0/timo/interface.py`; `specter-script` in SPECTER's
//! `scripts/embed_papers_hf.py`. None and the empty text are the same to all of them.

use std::fmt;
use std::str::FromStr;

use super::PaperText;
use super::error::Error;

/// Names for messages.
pub(super) const KNOWN_TEMPLATES: &str = "`model-card`, `scirepeval`, `s2-timo`, `specter-script`";
/// Placeholders for messages.
pub(super) const KNOWN_PLACEHOLDERS: &str = "`{title}`, `{abstract}`, `{sep}`";

/// A rendering of title and abstract. Written as its name or, if it is the user's own, as its text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Template {
    /// `title + sep + abstract`; without an abstract the separator stays.
    #[default]
    ModelCard,
    /// The fields that are not empty, joined by ` sep `, with white space stripped at both ends.
    SciRepEval,
    /// `title sep abstract`; without an abstract the title alone.
    S2Timo,
    /// `title abstract`, without a separator token; without an abstract the space stays.
    SpecterScript,
    /// The user's own.
    Custom(CustomTemplate),
}

/// A template with placeholders, checked when it was read.
///
/// A missing field renders as nothing and takes the `{sep}` beside it along (the one before it, else the one behind
/// it), with the spaces around that. `{{` and `}}` are braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomTemplate {
    source: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Title,
    Abstract,
    Sep,
    Text(String),
}

/// A paper's text as the tokenizer gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Byte offset in `text` at which the title ends; 0 for a plain text or a missing title.
    pub title_end: usize,
    /// There is a title and no abstract, or nothing but white space in it.
    pub title_only: bool,
    /// There is no text, or nothing but white space.
    pub empty: bool,
}

impl Template {
    /// The text that stands for a paper; `sep` is the tokenizer's separator token. A plain text stays as it is.
    pub fn render(&self, text: &PaperText, sep: &str) -> Rendered {
        let (title, abstract_text) = match text {
            PaperText::Plain(text) => {
                let empty = text.trim().is_empty();
                return Rendered { text: text.clone(), title_end: 0, title_only: false, empty };
            }
            PaperText::TitleAbstract { title, abstract_text } => {
                (title.as_deref().unwrap_or(""), abstract_text.as_deref().unwrap_or(""))
            }
        };
        let (text, title_end) = match self {
            Self::ModelCard => (format!("{title}{sep}{abstract_text}"), title.len()),
            Self::SciRepEval => joined(title, sep, abstract_text),
            Self::S2Timo if abstract_text.is_empty() => (title.to_owned(), title.len()),
            Self::S2Timo => (format!("{title} {sep} {abstract_text}"), title.len()),
            Self::SpecterScript => (format!("{title} {abstract_text}"), title.len()),
            Self::Custom(template) => template.render(title, sep, abstract_text),
        };
        let (no_title, no_abstract) = (title.trim().is_empty(), abstract_text.trim().is_empty());
        Rendered { text, title_end, title_only: !no_title && no_abstract, empty: no_title && no_abstract }
    }
}

/// SciRepEval's joining and stripping; the title's end moves with what is stripped.
fn joined(title: &str, sep: &str, abstract_text: &str) -> (String, usize) {
    let whole = match (title.is_empty(), abstract_text.is_empty()) {
        (false, false) => format!("{title} {sep} {abstract_text}"),
        _ => format!("{title}{abstract_text}"),
    };
    let text = whole.trim_matches(is_python_space);
    let cut = whole.len() - whole.trim_start_matches(is_python_space).len();
    let title_end = title.len().saturating_sub(cut).min(text.len());
    (text.to_owned(), title_end)
}

/// White space as Python's `str.strip` has it: Unicode's, and the four information separators.
fn is_python_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

impl CustomTemplate {
    fn parse(source: &str) -> Result<Self, Error> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut characters = source.char_indices().peekable();
        let lone = |brace, at| Error::LoneBrace { template: source.to_owned(), brace, at };
        while let Some((at, character)) = characters.next() {
            let doubled = matches!(character, '{' | '}') && characters.next_if(|next| next.1 == character).is_some();
            match character {
                '{' if !doubled => {
                    let end = source[at..].find('}').ok_or_else(|| lone('{', at))? + at;
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text)));
                    }
                    pieces.push(placeholder(source, &source[at + 1..end])?);
                    while characters.next_if(|next| next.0 <= end).is_some() {}
                }
                '}' if !doubled => return Err(lone('}', at)),
                _ => text.push(character),
            }
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        if !pieces.iter().any(|piece| matches!(piece, Piece::Title | Piece::Abstract)) {
            return Err(Error::NoFieldInTemplate { template: source.to_owned() });
        }
        Ok(Self { source: source.to_owned(), pieces })
    }

    fn render(&self, title: &str, sep: &str, abstract_text: &str) -> (String, usize) {
        let dropped = self.dropped(title.is_empty(), abstract_text.is_empty());
        let (mut text, mut title_end) = (String::new(), 0);
        for (piece, _) in self.pieces.iter().zip(dropped).filter(|(_, dropped)| !dropped) {
            match piece {
                Piece::Title => {
                    text.push_str(title);
                    title_end = text.len();
                }
                Piece::Abstract => text.push_str(abstract_text),
                Piece::Sep => text.push_str(sep),
                Piece::Text(fixed) => text.push_str(fixed),
            }
        }
        let title_end = if title.is_empty() { 0 } else { title_end };
        (text, title_end)
    }

    /// For each piece, whether it goes because of a missing field.
    fn dropped(&self, no_title: bool, no_abstract: bool) -> Vec<bool> {
        let mut dropped = vec![false; self.pieces.len()];
        for at in 0..self.pieces.len() {
            let missing = match self.pieces[at] {
                Piece::Title => no_title,
                Piece::Abstract => no_abstract,
                Piece::Sep | Piece::Text(_) => false,
            };
            if !missing {
                continue;
            }
            let before = self.sep_beside(at, &dropped, |at| at.checked_sub(1));
            let sep = before.or_else(|| self.sep_beside(at, &dropped, |at| Some(at + 1)));
            if let Some(sep) = sep {
                let first = if sep > 0 && self.is_space(sep - 1) { sep - 1 } else { sep };
                let last = if self.is_space(sep + 1) { sep + 1 } else { sep };
                dropped[first..=last].fill(true);
            }
        }
        dropped
    }

    /// The nearest separator in one direction with nothing but white space between.
    fn sep_beside(&self, at: usize, dropped: &[bool], step: impl Fn(usize) -> Option<usize>) -> Option<usize> {
        let mut at = step(at)?;
        while self.is_space(at) {
            at = step(at)?;
        }
        (self.pieces.get(at) == Some(&Piece::Sep) && !dropped[at]).then_some(at)
    }

    fn is_space(&self, at: usize) -> bool {
        matches!(self.pieces.get(at), Some(Piece::Text(text)) if text.trim().is_empty())
    }
}

fn placeholder(template: &str, name: &str) -> Result<Piece, Error> {
    match name {
        "title" => Ok(Piece::Title),
        "abstract" => Ok(Piece::Abstract),
        "sep" => Ok(Piece::Sep),
        _ => Err(Error::UnknownPlaceholder { template: template.to_owned(), placeholder: name.to_owned() }),
    }
}

impl FromStr for Template {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "model-card" => Ok(Self::ModelCard),
            "scirepeval" => Ok(Self::SciRepEval),
            "s2-timo" => Ok(Self::S2Timo),
            "specter-script" => Ok(Self::SpecterScript),
            _ if text.contains(['{', '}']) => CustomTemplate::parse(text).map(Self::Custom),
            _ => Err(Error::UnknownTemplate { template: text.to_owned() }),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ModelCard => "model-card",
            Self::SciRepEval => "scirepeval",
            Self::S2Timo => "s2-timo",
            Self::SpecterScript => "specter-script",
            Self::Custom(template) => &template.source,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paper(title: Option<&str>, abstract_text: Option<&str>) -> PaperText {
        PaperText::TitleAbstract { title: title.map(str::to_owned), abstract_text: abstract_text.map(str::to_owned) }
    }

    fn text(template: &str, title: Option<&str>, abstract_text: Option<&str>) -> String {
        template.parse::<Template>().unwrap().render(&paper(title, abstract_text), "[SEP]").text
    }

    /// Each column is what the source named in the module's text gives for the same fields.
    #[test]
    fn the_four_named_templates_differ_as_their_sources_do() {
        let names = ["model-card", "scirepeval", "s2-timo", "specter-script"];
        let cases = [
            ((Some("T"), Some("A")), ["T[SEP]A", "T [SEP] A", "T [SEP] A", "T A"]),
            ((Some("T"), None), ["T[SEP]", "T", "T", "T "]),
            ((Some("T"), Some("")), ["T[SEP]", "T", "T", "T "]),
            ((None, Some("A")), ["[SEP]A", "A", " [SEP] A", " A"]),
            ((None, None), ["[SEP]", "", "", " "]),
            (
                (Some(" T\u{1c}"), Some("\u{1f} ")),
                [" T\u{1c}[SEP]\u{1f} ", "T\u{1c} [SEP]", " T\u{1c} [SEP] \u{1f} ", " T\u{1c} \u{1f} "],
            ),
        ];
        for ((title, abstract_text), expected) in cases {
            assert_eq!(names.map(|name| text(name, title, abstract_text)), expected, "{title:?} {abstract_text:?}");
        }
    }

    #[test]
    fn a_missing_field_takes_its_separator_along() {
        let both = "{title}{sep}{abstract}";
        assert_eq!(text(both, Some("T"), Some("A")), "T[SEP]A");
        assert_eq!(text(both, Some("T"), None), "T");
        assert_eq!(text(both, None, Some("A")), "A");
        assert_eq!(text(both, None, None), "");
        let spaced = "{title} {sep} {abstract}";
        assert_eq!(text(spaced, Some("T"), Some("A")), "T [SEP] A");
        assert_eq!(text(spaced, Some("T"), Some("")), "T");
        assert_eq!(text(spaced, None, Some("A")), "A");
        let thrice = "{title} {sep} {abstract} {sep} {title}";
        assert_eq!(text(thrice, Some("T"), None), "T [SEP] T");
        assert_eq!(text(thrice, None, Some("A")), "A");
        assert_eq!(text("Title: {title}. {abstract}", Some("T"), None), "Title: T. ");
        assert_eq!(text("Title: {title}{sep}Abstract: {abstract}", Some("T"), None), "Title: T[SEP]Abstract: ");
        assert_eq!(text("{{{title}}}", Some("T"), None), "{T}");
    }

    #[test]
    fn title_end_and_flags_follow_the_fields() {
        let rendered = |template: &str, title, abstract_text| {
            let rendered = template.parse::<Template>().unwrap().render(&paper(title, abstract_text), "[SEP]");
            (rendered.text[..rendered.title_end].to_owned(), rendered.title_only, rendered.empty)
        };
        for name in ["model-card", "scirepeval", "s2-timo", "specter-script", "{title}{sep}{abstract}"] {
            assert_eq!(rendered(name, Some("Tä"), Some("A")), ("Tä".to_owned(), false, false), "{name}");
            assert_eq!(rendered(name, Some("Tä"), Some(" ")), ("Tä".to_owned(), true, false), "{name}");
            assert_eq!(rendered(name, None, Some("A")), (String::new(), false, false), "{name}");
            assert_eq!(rendered(name, Some(""), None), (String::new(), false, true), "{name}");
        }
        assert_eq!(rendered("{abstract}{sep}{title}", Some("T"), Some("A")).0, "A[SEP]T");
        assert_eq!(rendered("scirepeval", Some("  T  "), None).0, "T");
        let plain = Template::SciRepEval.render(&PaperText::Plain(" as it is ".to_owned()), "[SEP]");
        let expected = Rendered { text: " as it is ".to_owned(), title_end: 0, title_only: false, empty: false };
        assert_eq!(plain, expected);
        assert!(Template::ModelCard.render(&PaperText::Plain("\n".to_owned()), "[SEP]").empty);
    }

    #[test]
    fn names_and_texts_survive_the_round_trip() {
        for text in
            ["model-card", "scirepeval", "s2-timo", "specter-script", "{title} {sep} {abstract}", "{{{abstract}"]
        {
            assert_eq!(text.parse::<Template>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_template_that_cannot_work_is_refused_with_what_can() {
        let message = |text: &str| text.parse::<Template>().unwrap_err().to_string();
        assert_eq!(
            message("modelcard"),
            "template `modelcard` is unknown, expected `model-card`, `scirepeval`, `s2-timo`, `specter-script` or a text \
             with placeholders (`{title}`, `{abstract}`, `{sep}`)"
        );
        assert_eq!(
            message("{title} {year}"),
            "template `{title} {year}` has an unknown placeholder `{year}`, expected `{title}`, `{abstract}`, `{sep}`"
        );
        assert_eq!(message("{title} {sep"), "template `{title} {sep` has a lone `{` at byte 8");
        assert_eq!(message("ü} {title}"), "template `ü} {title}` has a lone `}` at byte 2");
        assert_eq!(message("{sep}"), "template `{sep}` has neither `{title}` nor `{abstract}`");
        assert!(message("").starts_with("template `` is unknown"));
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused_and_any_paper_renders(
            source in "[{}a-zü ]{0,12}|(\\{(title|abstract|sep)\\}| |x){0,8}",
            title in proptest::option::of("\\PC{0,8}| \u{1d}\t"),
            abstract_text in proptest::option::of("\\PC{0,8}"),
        ) {
            let custom = source.parse::<Template>();
            if let Ok(template) = &custom {
                prop_assert_eq!(template.to_string(), source);
            }
            let named = [Template::ModelCard, Template::SciRepEval, Template::S2Timo, Template::SpecterScript];
            for template in named.into_iter().chain(custom.ok()) {
                let text = paper(title.as_deref(), abstract_text.as_deref());
                let rendered = template.render(&text, "[SEP]");
                prop_assert!(rendered.text.is_char_boundary(rendered.title_end));
            }
        }
    }
}
