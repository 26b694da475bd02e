//! The rows that a head is most wrong about: what somebody looks at to find wrong labels. Knows answers, no texts.
//! Invariant: the worst come first, of equals the first row; a row is there once.

use ndarray::{ArrayView1, ArrayView2};

use crate::heads::Targets;

/// A row that a head is wrong about.
#[derive(Debug, Clone, PartialEq)]
pub struct Mistake {
    /// Its number among the rows measured.
    pub row: usize,
    /// How wrong: how much more the given class's answer is than the right one's; the largest distance of a label's answer
    /// from its right side; the distance of a number.
    pub size: f64,
    /// What is given: a class or label number with its answer, or the number.
    pub given: GivenAnswer,
}

/// What a head gave that is wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GivenAnswer {
    /// A class with its answer, and that of the right one where the head knows it.
    Class {
        /// Its number.
        class: usize,
        /// Its answer.
        answer: f64,
        /// The right one's.
        right: Option<f64>,
    },
    /// A label that is given and wrong, or right and not given.
    Label {
        /// Its number.
        label: usize,
        /// Its answer.
        answer: f64,
        /// Whether it is right.
        is_right: bool,
    },
    /// A number.
    Number(f64),
}

/// The largest mistakes, `most` of them at most. `answers` are rows × labels of the head, `given` says of a row's answers
/// which labels they give; classes and labels of `truth` that have no column are those that the head doesn't know.
pub fn worst_mistakes(
    truth: &Targets,
    answers: ArrayView2<'_, f32>,
    given: &dyn Fn(ArrayView1<'_, f32>) -> Vec<usize>,
    most: usize,
) -> Vec<Mistake> {
    let rows = answers.rows().into_iter().enumerate();
    let mut mistakes: Vec<Mistake> = rows.filter_map(|(row, answers)| mistake(truth, (row, answers), given)).collect();
    mistakes.sort_by(|a, b| b.size.total_cmp(&a.size).then(a.row.cmp(&b.row)));
    mistakes.truncate(most);
    mistakes
}

fn mistake(
    truth: &Targets,
    (row, answers): (usize, ArrayView1<'_, f32>),
    given: &dyn Fn(ArrayView1<'_, f32>) -> Vec<usize>,
) -> Option<Mistake> {
    let answer = |column: usize| answers.get(column).map(|&answer| f64::from(answer));
    match truth {
        Targets::Classes { of, .. } => {
            let class = *given(answers).first()?;
            let (right, own) = (answer(of[row]), answer(class)?);
            let size = own - right.unwrap_or(0.0);
            (class != of[row]).then_some(Mistake { row, size, given: GivenAnswer::Class { class, answer: own, right } })
        }
        Targets::Labels { of, .. } => {
            let given = given(answers);
            let wrong = |label: &usize| given.contains(label) != of[row].contains(label);
            // A label counts by how far its answer is from the middle of the wrong side's.
            let far = |label: usize| {
                let answer = answer(label)?;
                let is_right = of[row].contains(&label);
                let size = if is_right { 1.0 - answer } else { answer };
                Some(Mistake { row, size, given: GivenAnswer::Label { label, answer, is_right } })
            };
            let wrong = (0..answers.len()).filter(wrong).filter_map(far);
            wrong.reduce(|worst, other| if other.size > worst.size { other } else { worst })
        }
        Targets::Numbers(numbers) => {
            let given = answer(0)?;
            let size = (given - numbers[[row, 0]]).abs();
            (size > 0.0).then_some(Mistake { row, size, given: GivenAnswer::Number(given) })
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_surest_wrong_answer_comes_first() {
        let most = |answers: ArrayView1<'_, f32>| {
            vec![(0..answers.len()).max_by(|&a, &b| answers[a].total_cmp(&answers[b])).unwrap()]
        };
        let truth = Targets::Classes { of: vec![0, 1, 1, 2], classes: 3 };
        let answers = array![[0.75, 0.25], [0.5, 0.25], [1.0, 0.0], [0.25, 0.5]];
        let worst = worst_mistakes(&truth, answers.view(), &most, 10);
        let places: Vec<(usize, f64)> = worst.iter().map(|mistake| (mistake.row, mistake.size)).collect();
        assert_eq!(places, [(2, 1.0), (3, 0.5), (1, 0.25)]);
        assert_eq!(worst[1].given, GivenAnswer::Class { class: 1, answer: 0.5, right: None }, "nobody knows class 2");
        assert_eq!(worst_mistakes(&truth, answers.view(), &most, 1).len(), 1);
    }

    #[test]
    fn labels_count_by_their_worst_side_and_numbers_by_distance() {
        let above = |answers: ArrayView1<'_, f32>| (0..answers.len()).filter(|&at| answers[at] >= 0.5).collect();
        let truth = Targets::Labels { of: vec![vec![0], vec![0, 1], vec![]], labels: 2 };
        let answers = array![[0.75, 0.25], [0.25, 0.0], [0.0, 0.625]];
        let worst = worst_mistakes(&truth, answers.view(), &above, 10);
        let label = |label, answer, is_right| GivenAnswer::Label { label, answer, is_right };
        let expected = [
            Mistake { row: 1, size: 1.0, given: label(1, 0.0, true) },
            Mistake { row: 2, size: 0.625, given: label(1, 0.625, false) },
        ];
        assert_eq!(worst, expected);
        let truth = Targets::Numbers(array![[1.0], [2.0], [3.0]]);
        let worst = worst_mistakes(&truth, array![[1.5], [2.0], [-1.0]].view(), &|_| Vec::new(), 10);
        let numbers: Vec<(usize, f64)> = worst.iter().map(|mistake| (mistake.row, mistake.size)).collect();
        assert_eq!(numbers, [(2, 4.0), (0, 0.5)]);
    }
}
