//! Texts that are always at hand: made to try an encoder where no corpus is given. They are short and long, in several
//! scripts, with and without a separator, and the longest pass any maximum length. Knows no tokenizer and no corpus.

use super::science::SCIENCE;

/// The first of the texts are enough to see that a new encoder works, at little cost.
const FEW_TEXTS: usize = 6;

/// Whole texts, from none at all to an abstract.
const TEXTS: [&str; 26] = [
    "",
    "Offprints",
    "A short title[SEP]",
    "Coral bleaching under repeated heat waves[SEP]We follow forty reefs over nine summers and find that recovery slows.",
    "Sparse attention for long documents[SEP]Reading a whole paper at once costs quadratic time. We keep a window around \
     every token and a few global ones, and lose little accuracy on three benchmarks of scientific text.",
    "Δίκτυα, 神经网络 and naïve façades 🙂",
    " ",
    "x",
    "!?",
    "0.05",
    "p < 0.001 (n = 1,204; 95 % CI 1.7–2.9)",
    "[SEP]",
    "[SEP]An abstract that has lost its title is still worth reading.",
    "Pneumonoultramicroscopicsilicovolcanoconiosis",
    "On the growth of snow crystals",
    "Wissenschaftliche Veröffentlichungen in kleinen Städten[SEP]Wer schreibt, und wer liest?",
    "Une étude de la neige qui ne fond pas[SEP]Résumé à venir.",
    "深層学習による論文分類[SEP]表題と要旨だけから分野を当てる。",
    "التعلم العميق في علم الأحياء",
    "Структура белка и её предсказание[SEP]Краткий обзор методов за двадцать лет.",
    "CRISPR–Cas9, H₂O, α-helix, 10⁻⁹ m, E = mc², naïve Bayes",
    "Superconductivity near a quantum critical point[SEP]A metal that should not conduct well does. We cool it, press it, \
     and watch its resistance fall in a straight line over three decades of temperature.",
    "Who cites whom[SEP]Citations across forty fields form communities that follow departments rather than topics.",
    "Retraction notices and what they say[SEP]Most give a reason; one in five does not. We read four thousand of them.",
    "A survey of surveys[SEP]Reviews have doubled every nine years. We count how often a review cites a review, who \
     profits, and what a reader who has one evening should do about it.",
    "Wheat under drought[SEP]Roots of twelve old varieties reach deeper than those of twelve new ones; the yield of the \
     old ones falls less in a dry year and is lower in a wet one.",
];

/// Sentences that the long texts are put together from.
const SENTENCES: [&str; 12] = [
    "The sample was heated, weighed and left to cool under argon.",
    "No effect of age was found in either group.",
    "We thank two readers who disagreed with each other.",
    "Gradient descent finds a minimum whose curvature is small in most directions.",
    "Larvae settle where older shells have left calcium behind.",
    "If the field is weak, the second term vanishes and the first is known.",
    "Interviews were held in the language that the family speaks at home.",
    "Its spectrum shows a shoulder at 412 nm that grows with every cycle.",
    "The proof goes by induction on the number of crossings.",
    "Prices moved first, volumes followed after two days.",
    "Data, code and the maps of all sites can be had from the authors.",
    "Such a model predicts too much: it fits storms, tides and the noise of the gauge.",
];

/// Lengths of the texts made of [`SENTENCES`], in words, as far as a maximum length allows.
const WORDS: [usize; 12] = [12, 17, 31, 32, 33, 63, 64, 96, 127, 190, 256, 384];

/// Around 40 texts of very different lengths, each another. At least two have more words than `max_length`, so that an
/// encoder of that maximum length cuts them.
pub fn built_in_texts(max_length: usize) -> Vec<String> {
    let mut lengths: Vec<usize> = WORDS.into_iter().filter(|&words| words < max_length).collect();
    lengths.extend([max_length + 1, max_length + max_length / 2 + 2]);
    let long = lengths.into_iter().enumerate().map(|(start, words)| long_text(start, words));
    TEXTS.iter().map(|&text| text.to_owned()).chain(long).collect()
}

/// The texts on which two encoders are compared without a corpus: [`built_in_texts`] and a hundred about ten fields of
/// science, each another.
pub fn comparison_texts(max_length: usize) -> Vec<String> {
    let science = SCIENCE.iter().map(|&text| text.to_owned());
    built_in_texts(max_length).into_iter().chain(science).collect()
}

/// Six texts of very different lengths, the empty one included.
pub(super) fn few_texts() -> &'static [&'static str] {
    &TEXTS[..FEW_TEXTS]
}

/// `words` words, from sentence number `start` on, around and around.
fn long_text(start: usize, words: usize) -> String {
    let sentences = SENTENCES.iter().cycle().skip(start % SENTENCES.len());
    sentences.flat_map(|sentence| sentence.split(' ')).take(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_text_is_another_and_some_pass_the_maximum_length() {
        for max_length in [3, 24, 256, 512, 4_096] {
            let texts = built_in_texts(max_length);
            let different: HashSet<&String> = texts.iter().collect();
            assert_eq!(different.len(), texts.len(), "{max_length}");
            let words = |text: &String| text.split_whitespace().count();
            assert!(texts.iter().filter(|text| words(text) > max_length).count() >= 2, "{max_length}");
            assert!((28..=40).contains(&texts.len()), "{max_length}: {} texts", texts.len());
            let more = comparison_texts(max_length);
            assert_eq!(more.iter().collect::<HashSet<_>>().len(), texts.len() + 100, "{max_length}");
            assert!(few_texts().iter().zip(&texts).all(|(few, text)| few == text));
        }
    }
}
