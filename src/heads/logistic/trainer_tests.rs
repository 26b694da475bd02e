//! Fits with weights, labels and degenerate rows against scikit-learn's (tests/data/heads/logistic.safetensors), and what
//! a path gives.

use std::sync::Mutex;

use ndarray::{Array2, Axis, array};
use safetensors::{Dtype, SafeTensors};

use super::super::error::{Error, FoldError};
use super::super::folds::{Fold, stratified_folds};
use super::super::rows::Matrix;
use super::super::trainer::{Fitted, LabelledRows, Model, Targets, Trainer};
use super::{LogisticSolver, LogisticTrainer};

struct Fixture {
    bytes: Vec<u8>,
}

impl Fixture {
    fn open() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/heads/logistic.safetensors");
        Self { bytes: std::fs::read(path).unwrap() }
    }

    fn numbers(&self, name: &str) -> Option<Array2<f64>> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = tensors.tensor(name).ok()?;
        let data = tensor.data();
        let values: Vec<f64> = match tensor.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect(),
            Dtype::F64 => data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            Dtype::U32 => data.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b).into()).collect(),
            other => panic!("{other}"),
        };
        let columns = tensor.shape().get(1).copied().unwrap_or(1);
        Some(Array2::from_shape_vec((tensor.shape()[0], columns), values).unwrap())
    }

    fn set(&self, name: &str, classes: usize) -> Set {
        let rows = self.numbers(&format!("{name}.rows")).unwrap().mapv(|value| value as f32);
        let labels = self.numbers(&format!("{name}.labels")).unwrap();
        let targets = if name == "labels" {
            let given = |row: ndarray::ArrayView1<'_, f64>| (0..row.len()).filter(|&label| row[label] > 0.0).collect();
            Targets::Labels { of: labels.rows().into_iter().map(given).collect(), labels: labels.ncols() }
        } else {
            Targets::Classes { of: labels.iter().map(|&label| label as usize).collect(), classes }
        };
        let weights = self.numbers(&format!("{name}.weights")).map(|weights| weights.into_raw_vec_and_offset().0);
        Set { rows, targets, weights }
    }
}

struct Set {
    rows: Array2<f32>,
    targets: Targets,
    weights: Option<Vec<f64>>,
}

impl Set {
    fn with<R>(&self, work: impl FnOnce(&LabelledRows<'_>) -> R) -> R {
        let rows = Matrix::of(self.rows.view()).unwrap();
        work(&LabelledRows { rows: &rows, targets: &self.targets, weights: self.weights.as_deref() })
    }

    fn fit(&self, c: f64, tolerance: f64) -> Result<Fitted, Error> {
        self.with(|data| LogisticTrainer { tolerance, ..LogisticTrainer::default() }.fit(data, c))
    }

    /// Without intercepts.
    fn fit_plainly(&self, (c, tolerance): (f64, f64), solver: LogisticSolver) -> Result<Fitted, Error> {
        let trainer = LogisticTrainer { solver, tolerance, fit_intercept: false, ..LogisticTrainer::default() };
        self.with(|data| trainer.fit(data, c))
    }

    fn path(&self, folds: &[Fold], grid: &[f64], solver: LogisticSolver) -> Result<Vec<Vec<Array2<f64>>>, Error> {
        self.path_of(folds, grid, LogisticTrainer { solver, ..LogisticTrainer::default() })
    }

    fn path_of(&self, folds: &[Fold], grid: &[f64], trainer: LogisticTrainer) -> Result<Vec<Vec<Array2<f64>>>, Error> {
        let found = Mutex::new(vec![vec![Array2::zeros((0, 0)); grid.len()]; folds.len()]);
        self.with(|data| {
            trainer.path(data, folds, grid, &|(fold, number), decisions| {
                found.lock().unwrap()[fold][number] = decisions.to_owned();
                Ok(())
            })
        })?;
        Ok(found.into_inner().unwrap())
    }
}

fn parts(fitted: &Fitted) -> (&Array2<f64>, &[f64]) {
    match &fitted.model {
        Model::Linear(model) => (&model.coefficients, &model.intercepts),
        #[allow(unreachable_patterns, reason = "other kinds of heads have other models")]
        _ => panic!("not linear"),
    }
}

fn relative(got: &Array2<f64>, want: &Array2<f64>) -> f64 {
    let norm = |a: &Array2<f64>| a.iter().map(|v| v * v).sum::<f64>().sqrt();
    norm(&(got - want)) / norm(want)
}

#[test]
fn weighted_and_degenerate_fits_are_scikit_learns() {
    let fixture = Fixture::open();
    let sets = [("weighted", 3, 2.0), ("weighted_two", 2, 5.0), ("duplicated", 3, 1.0), ("constant_columns", 3, 10.0)];
    for (name, classes, c) in
        sets.into_iter().chain([("offset", 3, 1.0), ("two_a_class", 20, 1.0), ("thousand", 1000, 1.0)])
    {
        let set = fixture.set(name, classes);
        let fitted = set.fit(c, 1e-6).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (coefficients, intercepts) = parts(&fitted);
        let error = relative(coefficients, &fixture.numbers(&format!("{name}.coefficients")).unwrap());
        assert!(error < 1e-5, "{name}: coefficients differ by a share of {error:.1e}");
        let rows = set.rows.mapv(f64::from);
        let intercepts = Array2::from_shape_vec((intercepts.len(), 1), intercepts.to_vec()).unwrap();
        let got = rows.dot(&coefficients.t()) + intercepts.t();
        let want = fixture.numbers(&format!("{name}.intercepts")).unwrap();
        let want = rows.dot(&fixture.numbers(&format!("{name}.coefficients")).unwrap().t()) + want.t();
        let error = (&got - &want).iter().fold(0.0, |max: f64, d| max.max(d.abs()));
        assert!(error < 1e-4, "{name}: decision values differ by {error:.1e}");
        let optimality = fitted.optimality.unwrap();
        assert!(optimality.reached <= 1e-6 && optimality.iterations > 0 && optimality.objective > 0.0, "{name}");
    }
}

#[test]
fn labels_are_fitted_each_by_itself() {
    let fixture = Fixture::open();
    let set = fixture.set("labels", 0);
    let fitted = set.fit(3.0, 1e-6).unwrap();
    let (coefficients, intercepts) = parts(&fitted);
    let want = fixture.numbers("labels.coefficients").unwrap();
    let error = relative(&coefficients.slice(ndarray::s![..4, ..]).to_owned(), &want);
    assert!(error < 1e-5, "{error:.1e}");
    for (got, want) in intercepts.iter().zip(&fixture.numbers("labels.intercepts").unwrap()) {
        assert!((got - want).abs() < 1e-4, "{got} for {want}");
    }
    // The label that no row has: no coefficients, and the odds ½ : (n + ½).
    let total: f64 = set.weights.unwrap().iter().sum();
    assert!(coefficients.row(4).iter().all(|&weight| weight == 0.0));
    assert!((intercepts[4] + ((total + 0.5) / 0.5).ln()).abs() < 1e-12);
}

#[test]
fn fits_without_intercepts_are_scikit_learns() {
    let fixture = Fixture::open();
    let check = |(name, set): (&str, &Set), c: f64, solver| {
        // Far from the origin, and not centred, f32 knows little of the differences of rows: the fused solver stops sooner.
        let tolerance = if name == "offset" && solver == LogisticSolver::Fused { 1e-4 } else { 1e-6 };
        let fitted = set.fit_plainly((c, tolerance), solver).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (coefficients, intercepts) = parts(&fitted);
        let want = fixture.numbers(&format!("{name}.without_intercept")).unwrap();
        assert!(intercepts[..want.nrows()].iter().all(|&intercept| intercept == 0.0), "{name}: {intercepts:?}");
        let coefficients = coefficients.slice(ndarray::s![..want.nrows(), ..]).to_owned();
        let error = relative(&coefficients, &want);
        assert!(error < 10.0 * tolerance, "{name}: coefficients differ by a share of {error:.1e}");
        let rows = set.rows.mapv(f64::from);
        let away = (rows.dot(&coefficients.t()) - rows.dot(&want.t())).iter().fold(0.0, |max: f64, d| max.max(d.abs()));
        assert!(away < 100.0 * tolerance, "{name}: decision values differ by {away:.1e}");
    };
    for (name, classes, c) in [
        ("weighted", 3, 2.0),
        ("weighted_two", 2, 5.0),
        ("duplicated", 3, 1.0),
        ("constant_columns", 3, 10.0),
        ("offset", 3, 1.0),
        ("two_a_class", 20, 1.0),
        ("labels", 0, 3.0),
    ] {
        let set = fixture.set(name, classes);
        check((name, &set), c, LogisticSolver::Fused);
        if set.weights.is_none() {
            check((name, &set), c, LogisticSolver::Linfa);
        }
    }
    let two = Set { weights: None, ..fixture.set("weighted_two", 2) };
    let fused = two.fit_plainly((5.0, 1e-6), LogisticSolver::Fused).unwrap();
    let linfa = two.fit_plainly((5.0, 1e-6), LogisticSolver::Linfa).unwrap();
    assert!(relative(parts(&linfa).0, parts(&fused).0) < 1e-5);
    assert_eq!(parts(&linfa).1, [0.0]);
    let with = two.fit(5.0, 1e-6).unwrap();
    assert!(relative(parts(&with).0, parts(&fused).0) > 1e-2 && parts(&with).1 != [0.0]);
}

#[test]
fn without_intercepts_rows_of_one_direction_are_told_apart_and_zeros_are_not() {
    let targets = Targets::Classes { of: vec![0, 1, 1], classes: 2 };
    for solver in [LogisticSolver::Fused, LogisticSolver::Linfa] {
        let same = Set { rows: Array2::from_elem((3, 2), 0.5), targets: targets.clone(), weights: None };
        let fitted = same.fit_plainly((1.0, 1e-6), solver).unwrap();
        let (coefficients, intercepts) = parts(&fitted);
        assert!(coefficients.iter().all(|&weight| weight > 0.05) && intercepts == [0.0], "{coefficients}");
        let error = Set { rows: Array2::zeros((3, 2)), ..same }.fit_plainly((1.0, 1e-6), solver).unwrap_err();
        assert_eq!(error.to_string(), "all 3 rows are the same vector, so nothing tells the classes apart");
    }
}

#[test]
fn a_path_without_intercepts_gives_what_single_fits_give() {
    let fixture = Fixture::open();
    for (name, classes) in [("weighted_two", 2), ("weighted", 3), ("labels", 0)] {
        let set = Set { weights: None, ..fixture.set(name, classes) };
        let half: Vec<usize> = (0..set.rows.nrows()).collect();
        let (train, validation) = half.split_at(set.rows.nrows() / 2);
        let fold = Fold { train: train.to_vec(), validation: validation.to_vec() };
        let part = Set { rows: set.rows.select(Axis(0), train), targets: set.targets.select(train), weights: None };
        let fitted = part.fit_plainly((1.0, 1e-6), LogisticSolver::Fused).unwrap();
        let want = set.rows.select(Axis(0), validation).mapv(f64::from).dot(&parts(&fitted).0.t());
        let found = Mutex::new(Array2::zeros((0, 0)));
        let trainer = LogisticTrainer { fit_intercept: false, ..LogisticTrainer::default() };
        set.with(|data| {
            trainer.path(data, &[fold], &[1.0], &|_, decisions| {
                *found.lock().unwrap() = decisions.to_owned();
                Ok(())
            })
        })
        .unwrap();
        let found = found.into_inner().unwrap();
        for (got, want) in found.iter().zip(&want).filter(|(got, _)| got.is_finite()) {
            assert!((got - want).abs() < 0.05, "{name}: {got} for {want}");
        }
    }
}

#[test]
fn a_path_gives_what_single_fits_give() {
    let fixture = Fixture::open();
    let grid = [10.0, 0.1];
    for (name, classes) in [("weighted", 3), ("weighted_two", 2), ("labels", 0)] {
        let set = fixture.set(name, classes);
        let folds: Vec<Fold> =
            stratified_folds(&(0..set.rows.nrows()).map(|row| row % 2).collect::<Vec<_>>(), 3, 1).unwrap();
        let found = set.path(&folds, &grid, LogisticSolver::Fused).unwrap();
        for (fold, found) in folds.iter().zip(&found) {
            for (&c, found) in grid.iter().zip(found) {
                let train = Set {
                    rows: set.rows.select(Axis(0), &fold.train),
                    targets: set.targets.select(&fold.train),
                    weights: set.weights.as_ref().map(|weights| fold.train.iter().map(|&row| weights[row]).collect()),
                };
                let fitted = train.fit(c, 1e-6).unwrap();
                let (coefficients, intercepts) = parts(&fitted);
                let rows = set.rows.select(Axis(0), &fold.validation).mapv(f64::from);
                let want = rows.dot(&coefficients.t()) + ndarray::ArrayView1::from(intercepts);
                assert_eq!(found.dim(), want.dim());
                for (got, want) in found.iter().zip(&want).filter(|(got, _)| got.is_finite()) {
                    assert!((got - want).abs() < 0.1 + 0.02 * want.abs(), "{name}, C = {c}: {got} for {want}");
                }
            }
        }
        if name == "labels" {
            assert!(found[0][0].column(4).iter().all(|&value| value == f64::NEG_INFINITY));
        }
    }
}

/// Few rows of many features, for which only the mean of the curvature is known: steps are far from Newton's, and strong
/// features make the last of them a bad measure of the rest.
#[test]
fn losses_on_a_path_are_near_those_of_certified_fits() {
    let (n, dim) = (400, 256);
    let noise = |row: usize, feature: usize| {
        let hash = (row * dim + feature + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (hash >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    let class = |row: usize| usize::from(noise(row, 0) + noise(row, 3) + 0.5 * noise(row, dim) > 0.0);
    // The rows, then zero and the unit vectors, whose decision values tell intercept and coefficients.
    let rows = Array2::from_shape_fn((n + 1 + dim, dim), |(row, feature)| match row.checked_sub(n + 1) {
        Some(unit) => f32::from(u8::from(unit == feature)),
        None if row == n => 0.0,
        None => (noise(row, feature) / (1.0 + feature as f64).sqrt()) as f32,
    });
    let of: Vec<usize> = (0..rows.nrows()).map(class).collect();
    let objective = |coefficients: &[f64], intercept: f64, c: f64| {
        let loss = |(row, class): (ndarray::ArrayView1<'_, f32>, &usize)| {
            let logit = intercept + row.iter().zip(coefficients).map(|(&x, w)| f64::from(x) * w).sum::<f64>();
            let wrong = if *class == 1 { -logit } else { logit };
            wrong.max(0.0) + (-wrong.abs()).exp().ln_1p()
        };
        let losses = rows.rows().into_iter().zip(&of).take(n).map(loss).sum::<f64>();
        (losses + coefficients.iter().map(|w| w * w).sum::<f64>() / (2.0 * c)) / n as f64
    };
    let grid = [0.01, 0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0];
    let fold = [Fold { train: (0..n).collect(), validation: (n..rows.nrows()).collect() }];
    let set = Set { rows: rows.clone(), targets: Targets::Classes { of: of.clone(), classes: 2 }, weights: None };
    let train = Set {
        rows: rows.slice(ndarray::s![..n, ..]).to_owned(),
        targets: Targets::Classes { of: of[..n].to_vec(), classes: 2 },
        weights: None,
    };
    // A tolerance below the default one is kept by the path, too.
    for (tolerance, allowed) in [(1e-3, 5e-5), (1e-5, 1e-8)] {
        let trainer = LogisticTrainer { tolerance, ..LogisticTrainer::default() };
        let path = &set.path_of(&fold, &grid, trainer).unwrap()[0];
        for (found, c) in path.iter().zip(grid) {
            let intercept = found[[0, 0]];
            let coefficients: Vec<f64> = found.column(0).iter().skip(1).map(|value| value - intercept).collect();
            let fitted = train.fit(c, 1e-5).unwrap();
            let (certified, intercepts) = parts(&fitted);
            let best = objective(certified.as_slice().unwrap(), intercepts[0], c);
            let gap = objective(&coefficients, intercept, c) - best;
            assert!((-1e-10..allowed).contains(&gap), "C = {c}, {tolerance}: {gap:.1e} nats a row above {best}");
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let fixture = Fixture::open();
    let mut set = fixture.set("weighted", 3);
    // More rows than one part has.
    let rows: Vec<usize> = (0..3000).map(|row| (row * 7) % set.rows.nrows()).collect();
    set = Set { rows: set.rows.select(Axis(0), &rows), targets: set.targets.select(&rows), weights: None };
    let folds = stratified_folds(&vec![0; 3000], 4, 2).unwrap();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| (set.fit(1.0, 1e-3).unwrap(), set.path(&folds, &[0.1, 1.0], LogisticSolver::Fused).unwrap()))
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn linfa_ends_where_the_fused_solver_does() {
    let fixture = Fixture::open();
    let set = Set { weights: None, ..fixture.set("weighted", 3) };
    let folds = stratified_folds(&(0..180).map(|row| row % 2).collect::<Vec<_>>(), 2, 1).unwrap();
    let fused = set.path(&folds, &[1.0], LogisticSolver::Fused).unwrap();
    let linfa = set.path(&folds, &[1.0], LogisticSolver::Linfa).unwrap();
    for (fused, linfa) in fused.iter().zip(&linfa) {
        let away = (&fused[0] - &linfa[0]).iter().fold(0.0, |max: f64, d| max.max(d.abs()));
        assert!(away < 0.1, "{away}");
    }
    let weighted = fixture.set("weighted", 3);
    let trainer = LogisticTrainer { solver: LogisticSolver::Linfa, ..LogisticTrainer::default() };
    let error = weighted.with(|data| trainer.fit(data, 1.0)).unwrap_err();
    assert_eq!(error.to_string(), "a head of kind `logistic (linfa)` cannot weigh rows");
    let labels = Set { weights: None, ..fixture.set("labels", 0) };
    let error = labels.with(|data| trainer.fit(data, 1.0)).unwrap_err();
    assert!(
        error.to_string().starts_with("a head of kind `logistic (linfa)` cannot be fitted for multilabel"),
        "{error}"
    );
}

#[test]
fn what_a_fold_lacks_is_never_decided_for() {
    let rows = Array2::from_shape_fn((12, 2), |(i, j)| ((i * 5 + j * 3) % 7) as f32);
    let fold = |train: &[usize]| Fold { train: train.to_vec(), validation: vec![10, 11] };
    let classes = |of: &[usize], classes| Targets::Classes { of: of.to_vec(), classes };
    let three = classes(&[0, 1, 0, 1, 0, 1, 2, 2, 2, 0, 1, 2], 3);
    for solver in [LogisticSolver::Fused, LogisticSolver::Linfa] {
        let set = Set { rows: rows.clone(), targets: three.clone(), weights: None };
        let found = set.path(&[fold(&[0, 1, 2, 3, 4]), fold(&[6, 7, 8])], &[1.0], solver).unwrap();
        assert!(found[0][0].column(2).iter().all(|&value| value == f64::NEG_INFINITY));
        assert!(found[0][0].column(0).iter().all(|value| value.is_finite()));
        assert_eq!(
            found[1][0],
            array![[f64::NEG_INFINITY, f64::NEG_INFINITY, 0.0], [f64::NEG_INFINITY, f64::NEG_INFINITY, 0.0]]
        );
        let two = classes(&[0, 1, 0, 1, 0, 1, 1, 1, 1, 0, 1, 1], 2);
        let set = Set { rows: rows.clone(), targets: two, weights: None };
        let found = set.path(&[fold(&[6, 7, 8]), fold(&[0, 2, 4])], &[1.0], solver).unwrap();
        assert_eq!((found[0][0][[0, 0]], found[1][0][[1, 0]]), (f64::INFINITY, f64::NEG_INFINITY));
    }
}

#[test]
fn weights_and_labels_that_make_no_problem_are_refused() {
    let rows = array![[0.0_f32, 1.0], [1.0, 0.0], [0.5, 0.5]];
    let refusal = |targets: Targets, weights: Option<&[f64]>| {
        let set = Set { rows: rows.clone(), targets, weights: weights.map(<[f64]>::to_vec) };
        set.fit(1.0, 1e-3).unwrap_err().to_string()
    };
    let classes = || Targets::Classes { of: vec![0, 1, 0], classes: 2 };
    assert_eq!(refusal(classes(), Some(&[1.0])), "got 1 weights for 3 rows");
    assert_eq!(refusal(classes(), Some(&[1.0, -1.0, 1.0])), "row 1 weighs -1, expected a finite number from 0");
    assert_eq!(refusal(classes(), Some(&[1.0, f64::NAN, 1.0])), "row 1 weighs NaN, expected a finite number from 0");
    assert_eq!(refusal(classes(), Some(&[0.0; 3])), "all 3 rows weigh 0");
    let one = "all 2 rows are of one class, a classifier needs two";
    assert_eq!(refusal(classes(), Some(&[1.0, 0.0, 1.0])), one);
    let labels = Targets::Labels { of: vec![vec![], vec![2], vec![0]], labels: 2 };
    assert_eq!(refusal(labels, None), "row 1 has label 2, expected a label below 2");
    let numbers = refusal(Targets::Numbers(array![[1.0], [2.0], [3.0]]), None);
    assert!(numbers.starts_with("a head of kind `logistic` cannot be fitted for regression: it tells"), "{numbers}");
}

#[test]
fn a_path_that_does_not_settle_names_fold_and_strength() {
    let fixture = Fixture::open();
    let set = fixture.set("weighted", 3);
    let folds = stratified_folds(&vec![0; set.rows.nrows()], 2, 1).unwrap();
    let trainer = LogisticTrainer { max_iterations: 1, ..LogisticTrainer::default() };
    let error = set.with(|data| trainer.path(data, &folds, &[100.0], &|_, _| Ok(()))).unwrap_err();
    assert_eq!(error.to_string(), "fold 1 of 2 could not be fitted with C = 100");
    assert_eq!(error.hint().unwrap(), "leave C = 100 and larger ones out of the grid");
    let Error::Folds(FoldError::Fit { source, .. }) = error else { panic!("not about a fold") };
    let text = source.to_string();
    assert!(
        text.starts_with("logistic fit with C = 100 did not settle: after 1 steps its loss may still fall by"),
        "{text}"
    );
    let none = set.with(|data| trainer.path(data, &[], &[1.0], &|_, _| Ok(()))).unwrap_err();
    assert_eq!(none.to_string(), "nothing to choose from: 1 values of C on 0 folds");
}
