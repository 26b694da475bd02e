//! Twins that were planted are found, and nothing else.

use super::*;
use crate::heads::{Matrix, Random};

const DIM: usize = 24;

/// Rows in all directions; of these the cosine of any two is far from 1.
fn directions(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..count * DIM).map(|_| random.below(2001) as f32 / 1000.0 - 1.0).collect()
}

struct Set {
    values: Vec<f32>,
    ids: Vec<String>,
    parts: Vec<Option<String>>,
    texts: Vec<u64>,
}

impl Set {
    /// 1,500 train, 300 dev and 300 test rows, 10 of no part.
    fn new() -> Self {
        let part = |row: usize| match row {
            0..300 => Some("test"),
            300..600 => Some("dev"),
            600..2100 => Some("train"),
            _ => None,
        };
        Self {
            values: directions(2110, 1),
            ids: (0..2110).map(|row| format!("paper {row}")).collect(),
            parts: (0..2110).map(|row| part(row).map(str::to_owned)).collect(),
            texts: (0..2110).collect(),
        }
    }

    /// Makes a row a copy of another, `length` times as long and `other` away in its first number.
    fn copy(&mut self, (from, to): (usize, usize), length: f32, other: f32) {
        for at in 0..DIM {
            self.values[to * DIM + at] = self.values[from * DIM + at] * length;
        }
        self.values[to * DIM] += other;
    }

    fn find(&self, options: &LeakOptions) -> Leaks {
        let rows = Matrix::new(&self.values, (self.ids.len(), DIM)).unwrap();
        let (ids, parts) = (&self.ids, &self.parts);
        find_leaks(&LeakRows { rows: &rows, ids, parts, texts: Some(&self.texts) }, options).unwrap()
    }
}

fn pair<'a>(leaks: &'a Leaks, earlier: &str, later: &str) -> &'a LeaksOfParts {
    leaks.pairs.iter().find(|pair| pair.earlier == earlier && pair.later == later).unwrap()
}

#[test]
fn planted_twins_are_counted_and_listed() {
    let mut set = Set::new();
    set.copy((2000, 7), 1.0, 0.0);
    set.copy((1999, 8), 3.0, 0.0);
    set.copy((650, 9), 1.0, 0.2);
    set.copy((700, 10), 0.5, 2.0);
    set.copy((301, 11), 1.0, 0.01);
    set.copy((2105, 12), 1.0, 0.0);
    set.texts[13] = set.texts[601];
    let leaks = set.find(&LeakOptions::default());
    let names: Vec<(&str, &str)> =
        leaks.pairs.iter().map(|pair| (pair.earlier.as_str(), pair.later.as_str())).collect();
    assert_eq!(names, [("train", "dev"), ("train", "test"), ("dev", "test")]);
    let test = pair(&leaks, "train", "test");
    // The row of no part is no twin, nor is the one at another angle.
    assert_eq!((test.rows, test.exact, test.compared, test.near), (300, 2, 298, 2));
    let twins: Vec<(&str, &str)> = test.twins.iter().map(|twin| (twin.later.as_str(), twin.earlier.as_str())).collect();
    let expected =
        [("paper 7", "paper 2000"), ("paper 13", "paper 601"), ("paper 8", "paper 1999"), ("paper 9", "paper 650")];
    assert_eq!(twins, expected);
    assert_eq!((test.twins[0].cosine, test.twins[1].cosine), (Some(1.0), None));
    assert!(test.twins[2].cosine.unwrap() > 0.999_999 && test.twins[3].cosine.unwrap() < 0.9999);
    assert_eq!((pair(&leaks, "train", "dev").near, pair(&leaks, "train", "dev").exact), (0, 0));
    assert_eq!(pair(&leaks, "dev", "test").near, 1);
    let exact = set.find(&LeakOptions { threshold: None, ..LeakOptions::default() });
    let test = pair(&exact, "train", "test");
    assert_eq!((exact.threshold, test.exact, test.compared, test.near), (None, 2, 0, 0));
    assert_eq!((test.twins.len(), test.drawn_from()), (2, None));
    assert_eq!((test.twins[0].later.as_str(), test.twins[1].later.as_str()), ("paper 7", "paper 13"));
}

#[test]
fn what_is_near_is_what_every_pair_says() {
    let set = Set::new();
    let options = LeakOptions { threshold: Some(0.6), most_listed: 1000, ..LeakOptions::default() };
    let leaks = set.find(&options);
    let row = |row: usize| &set.values[row * DIM..(row + 1) * DIM];
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let cosine =
        |a: usize, b: usize| product(row(a), row(b)) / (product(row(a), row(a)) * product(row(b), row(b))).sqrt();
    let nearest = |later: usize| (600..2100).map(|earlier| cosine(later, earlier)).fold(-1.0, f64::max);
    let near = (0..300).filter(|&later| nearest(later) >= 0.6).count();
    let test = pair(&leaks, "train", "test");
    assert!(near > 10 && near < 290, "{near}");
    assert_eq!((test.near, test.twins.len()), (near, near));
    assert!(test.twins.is_sorted_by(|a, b| a.cosine >= b.cosine));
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(one_thread.install(|| set.find(&options)), leaks);
    let listed = set.find(&LeakOptions { most_listed: 3, ..options });
    assert_eq!(
        (pair(&listed, "train", "test").near, &pair(&listed, "train", "test").twins[..]),
        (near, &test.twins[..3])
    );
}

#[test]
fn of_too_many_products_some_rows_are_drawn() {
    let mut set = Set::new();
    (0..300).for_each(|row| set.copy((600 + row, row), 1.0, 0.01));
    // Three pairs of parts share them.
    let leaks = set.find(&LeakOptions { most_products: 3 * 1500 * 40, ..LeakOptions::default() });
    let test = pair(&leaks, "train", "test");
    assert_eq!((test.rows, test.compared, test.near, test.drawn_from()), (300, 40, 40, Some(300)));
    assert_eq!((pair(&leaks, "dev", "test").compared, pair(&leaks, "dev", "test").drawn_from()), (200, Some(300)));
    let all = set.find(&LeakOptions::default());
    assert!(all.pairs.iter().all(|pair| pair.drawn_from().is_none()));
}

#[test]
fn a_row_without_a_direction_is_near_nothing() {
    let mut set = Set::new();
    set.copy((600, 5), 0.0, 0.0);
    set.copy((600, 700), 0.0, 0.0);
    set.copy((600, 6), 0.0, 0.0);
    set.copy((600, 800), 0.0, 0.0);
    let leaks = set.find(&LeakOptions::default());
    // The same vector, but no angle.
    assert_eq!((pair(&leaks, "train", "test").exact, pair(&leaks, "train", "test").near), (2, 0));
    assert_eq!(pair(&leaks, "train", "dev").near, 0);
}

#[test]
fn what_is_not_one_for_each_row_is_refused() {
    let set = Set::new();
    let rows = Matrix::new(&set.values, (2110, DIM)).unwrap();
    let refused = |data: LeakRows<'_>, threshold: f64| {
        find_leaks(&data, &LeakOptions { threshold: Some(threshold), ..LeakOptions::default() })
            .unwrap_err()
            .to_string()
    };
    let (ids, parts) = (set.ids.as_slice(), set.parts.as_slice());
    let data = LeakRows { rows: &rows, ids, parts, texts: None };
    assert_eq!(refused(LeakRows { ids: &ids[1..], ..data }, 0.9), "got 2109 ids for 2110 rows");
    assert_eq!(refused(LeakRows { parts: &parts[1..], ..data }, 0.9), "got 2109 parts for 2110 rows");
    assert_eq!(refused(LeakRows { texts: Some(&[1]), ..data }, 0.9), "got 1 texts for 2110 rows");
    let expected = "1.01 is no cosine of near duplicates, expected above 0 and at most 1";
    assert_eq!(refused(data, 1.01), expected);
    assert!(find_leaks(&data, &LeakOptions { threshold: Some(1.0), ..LeakOptions::default() }).is_ok());
}
