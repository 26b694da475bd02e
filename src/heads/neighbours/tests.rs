use std::sync::Mutex;

use ndarray::ArrayView2;

use super::*;
use crate::heads::fixture::{Fixture, drawn, farthest, unweighted as data};
use crate::heads::folds::stratified_folds;

/// Distances of scikit-learn come out of products and are good to some 1e-8; shares weighed by them to as much.
const SHARES: f64 = 1e-6;

fn kept(fitted: Fitted) -> Neighbours {
    match fitted.model {
        Model::Neighbours(kept) => kept,
        other => panic!("{other:?}"),
    }
}

#[test]
fn as_scikit_learn() {
    let fixture = Fixture::read("knn");
    let fits = fixture.fits();
    assert_eq!(fits.len(), 24);
    for about in fits {
        let text = |name: &str| about[name].as_str().unwrap().to_owned();
        let (key, set) = (text("key"), text("set"));
        let (rows, asked) = (fixture.rows(&format!("{set}.rows")), fixture.rows(&format!("{set}.asked")));
        let (matrix, asked) = (Matrix::of(rows.view()).unwrap(), Matrix::of(asked.view()).unwrap());
        let classes = about["classes"].as_u64().unwrap() as usize;
        let trainer = NeighbourTrainer {
            metric: if text("metric") == "cosine" { Metric::Cosine } else { Metric::L2 },
            weighting: if text("weighting") == "distance" { Weighting::Distance } else { Weighting::Uniform },
        };
        for task in ["classes", "labels", "numbers"] {
            let targets = fixture.targets(&set, task, classes);
            let fitted = trainer.fit(&data(&matrix, &targets), about["k"].as_f64().unwrap()).unwrap();
            let decisions = kept(fitted).decisions(&asked).unwrap();
            let shares = fixture.matrix(&format!("{key}.{task}")).unwrap();
            let wanted = match (task, classes) {
                ("numbers", _) => shares,
                ("classes", 2) => shares.map_axis(Axis(1), |share| share[1] - share[0]).insert_axis(Axis(1)),
                ("classes", _) => shares,
                _ => shares * 2.0 - 1.0,
            };
            // Numbers are some 2,000 large.
            let off = farthest(&decisions, &wanted) / if task == "numbers" { 1000.0 } else { 1.0 };
            assert!(off < SHARES, "{about}, {task}: off by {off:e}");
        }
    }
}

#[test]
fn a_path_is_the_fits_of_its_folds_on_any_number_of_threads() {
    let (rows, numbers, classes) = drawn((700, 6), 3);
    let matrix = Matrix::of(rows.view()).unwrap();
    let folds = stratified_folds(&classes, 3, 1).unwrap();
    let trainer = NeighbourTrainer { metric: Metric::Cosine, weighting: Weighting::Distance };
    let strengths = [5.0, 1.0, 40.0];
    for targets in [Targets::Numbers(numbers), Targets::Classes { of: classes, classes: 2 }] {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let seen = Mutex::new(vec![Array2::zeros((0, 0)); 9]);
            let take = |(fold, at): (usize, usize), decisions: ArrayView2<'_, f64>| {
                seen.lock().unwrap()[fold * 3 + at] = decisions.to_owned();
                Ok(())
            };
            pool.install(|| trainer.path(&data(&matrix, &targets), &folds, &strengths, &take)).unwrap();
            seen.into_inner().unwrap()
        };
        let decided = run(1);
        assert_eq!(decided, run(3));
        for (place, decisions) in decided.iter().enumerate() {
            let fold = &folds[place / 3];
            let (some, targets) = (Selection::new(&matrix, &fold.train), targets.select(&fold.train));
            let alone = kept(trainer.fit(&data(&some, &targets), strengths[place % 3]).unwrap());
            assert_eq!(decisions, alone.decisions(&Selection::new(&matrix, &fold.validation)).unwrap());
        }
    }
}

#[test]
fn a_class_that_a_fold_lacks_is_never_decided_for() {
    let (rows, _, _) = drawn((8, 3), 7);
    let matrix = Matrix::of(rows.view()).unwrap();
    let folds = [Fold { train: vec![0, 1, 2, 3], validation: vec![4, 5] }];
    let take = |_: (usize, usize), decisions: ArrayView2<'_, f64>| {
        assert_eq!(decisions.column(1).to_vec(), [f64::NEG_INFINITY; 2]);
        assert_eq!(decisions.column(0).to_vec(), [0.5; 2]);
        Ok(())
    };
    let targets = Targets::Classes { of: vec![0, 2, 0, 2, 1, 1, 0, 2], classes: 3 };
    NeighbourTrainer::default().path(&data(&matrix, &targets), &folds, &[4.0], &take).unwrap();
}

#[test]
fn a_tie_of_two_classes_is_the_first() {
    let rows = ndarray::arr2(&[[0.0_f32], [1.0]]);
    let targets = Targets::Classes { of: vec![1, 0], classes: 2 };
    let kept = Neighbours::new(rows, targets, 2, NeighbourTrainer::default()).unwrap();
    let decided = kept.decisions(&Matrix::new(&[0.2], (1, 1)).unwrap()).unwrap();
    assert_eq!(decided, ndarray::arr2(&[[0.0]]));
    assert_eq!((kept.count(), kept.rows().nrows(), kept.targets().rows()), (2, 2, 2));
    assert_eq!(kept.options(), NeighbourTrainer::default());
}

#[test]
fn what_cannot_be_fitted_or_asked_is_refused() {
    let (rows, _, classes) = drawn((20, 3), 13);
    let matrix = Matrix::of(rows.view()).unwrap();
    let targets = Targets::Classes { of: classes.clone(), classes: 2 };
    let trainer = NeighbourTrainer::default();
    let fit = |strength| trainer.fit(&data(&matrix, &targets), strength).unwrap_err().to_string();
    assert_eq!(fit(0.0), "n_neighbors is 0, expected a whole number from 1 to the 20 rows");
    assert_eq!(fit(2.5), "n_neighbors is 2.5, expected a whole number from 1 to the 20 rows");
    assert_eq!(fit(21.0), "n_neighbors is 21, expected a whole number from 1 to the 20 rows");
    assert_eq!(fit(f64::NAN), "n_neighbors is NaN, expected a whole number from 1 to the 20 rows");
    let weighted = LabelledRows { weights: Some(&[1.0; 20]), ..data(&matrix, &targets) };
    assert_eq!(trainer.fit(&weighted, 1.0).unwrap_err().to_string(), "a head of kind `knn` cannot weigh rows");
    let same = Array2::from_elem((20, 3), 0.1_f32);
    let error = trainer.fit(&data(&Matrix::of(same.view()).unwrap(), &targets), 1.0).unwrap_err();
    assert!(matches!(error, Error::IdenticalRows { rows: 20 }));
    let folds = [Fold { train: (0..4).collect(), validation: (4..20).collect() }];
    let error = trainer.path(&data(&matrix, &targets), &folds, &[1.0, 5.0], &|_, _| Ok(())).unwrap_err();
    assert_eq!(error.to_string(), "fold 1 of 1 could not be fitted with n_neighbors = 5");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "n_neighbors is 5, expected a whole number from 1 to the 4 rows");

    let kept = kept(trainer.fit(&data(&matrix, &targets), 3.0).unwrap());
    let error = kept.decisions(&Matrix::new(&[0.0; 4], (1, 4)).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "rows have 4 dimensions, the head was trained on 3");
    let error = kept.decisions(&Matrix::new(&[0.0, f32::INFINITY, 0.0], (1, 3)).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "row 0 has inf in column 1, expected finite numbers");
    assert!(Neighbours::new(rows.clone(), Targets::Labels { of: vec![vec![4]; 20], labels: 3 }, 1, trainer).is_err());
}
