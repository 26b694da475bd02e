//! The rows that decide what is chosen: the `train` rows in folds, or the `dev` rows, if these are enough for it. Knows
//! trainers and folds.
//! Invariant: the same set and plan give the same folds, and no row is scored by a model that was fitted on it.

use std::collections::BTreeSet;

use ndarray::Axis;

use super::super::error::Error;
use super::super::selection::choose_strength_for;
use super::super::{
    ChosenStrength, Given, GroupGap, LearningCurve, LearningPoint, NestedEstimate, Rule, Scale, Scorer, Search,
    choose_strength, group_gap, learning_curve, nested_estimate,
};
use super::{FitPlan, SHARES, draws};
use crate::heads::{
    self, ClassWeights, DEV, FitError, Fitted, Fold, FoldError, FoldPlan, LabelledRows, MissingClass, Rows, Selection,
    TRAIN, Targets, TrainingSet, class_weights, missing_classes,
};

/// Folds where nobody says how many.
const FOLDS: usize = 5;

/// Rows with folds.
pub(super) struct Bench {
    /// Numbers of the rows in the set: the `train` rows, and the `dev` rows behind them where these decide.
    pub numbers: Vec<usize>,
    /// What is right for them.
    pub targets: Targets,
    /// Of a fit: the rows' own times those of their classes.
    weights: Option<Vec<f64>>,
    /// The rows' own alone.
    own: Option<Vec<f64>>,
    folds: Vec<Fold>,
    /// What decides, in words.
    pub on: String,
    groups: Option<Vec<Option<String>>>,
    names: Option<Vec<Option<String>>>,
    inner: usize,
    /// Whether anything asks for folds.
    wanted: bool,
}

impl Bench {
    pub fn new(set: &TrainingSet, plan: &FitPlan<'_>) -> Result<Self, Error> {
        let train = set.rows_of(TRAIN);
        let wanted = plan.strengths.len() > 1 || plan.answers.needs_rows() || plan.learning_curve || plan.nested;
        let wanted = wanted || plan.folds.is_some() || set.folds.is_some() || set.groups_in(&train) >= FOLDS;
        let by_dev = plan.folds.is_none() && set.folds.is_none();
        let mut dev: Vec<usize> = set.rows_of(DEV).into_iter().filter(|&row| by_dev && set.is_known(row)).collect();
        let targets = set.learnt(&train);
        let counts = !dev.is_empty() && plan.answers.needs_every_label();
        let lacking = if counts { lacking(&targets, &set.learnt(&dev)) } else { None };
        if lacking.is_some() {
            dev.clear();
        }
        let some = |names: &Option<Vec<Option<String>>>| {
            names.as_ref().map(|names| train.iter().map(|&row| names[row].clone()).collect::<Vec<_>>())
        };
        let mut bench = Self {
            targets,
            weights: weights_of(set, &train, plan.balanced)?,
            own: own_weights(set, &train),
            folds: Vec::new(),
            on: DEV.to_owned(),
            groups: some(&set.groups),
            names: some(&set.folds),
            inner: plan.folds.unwrap_or(FOLDS),
            numbers: train,
            wanted,
        };
        if !wanted {
            return Ok(bench);
        }
        if dev.is_empty() {
            (bench.folds, bench.on) = bench.parted(plan.seed)?;
            bench.on.extend(lacking);
        } else {
            let count = bench.numbers.len();
            bench.numbers.extend(&dev);
            bench.targets = set.learnt(&bench.numbers);
            bench.own = own_weights(set, &bench.numbers);
            // Rows that are only scored weigh nothing in a fit.
            bench.weights.iter_mut().for_each(|weights| weights.resize(count + dev.len(), 1.0));
            for names in [&mut bench.groups, &mut bench.names].into_iter().flatten() {
                names.resize(count + dev.len(), None);
            }
            bench.folds = vec![Fold { train: (0..count).collect(), validation: (count..count + dev.len()).collect() }];
        }
        Ok(bench)
    }

    /// The folds of the `train` rows, and what they are in words.
    fn parted(&self, seed: u64) -> Result<(Vec<Fold>, String), Error> {
        let folds = self.plan(seed).split(&self.targets)?;
        let count = folds.len();
        let on = match (&self.names, &self.groups) {
            (Some(_), _) => format!("{count} named folds of {TRAIN}"),
            (None, Some(_)) => format!("{count} folds of whole groups of {TRAIN}"),
            (None, None) => format!("{count}-fold on {TRAIN}"),
        };
        Ok((folds, on))
    }

    fn plan(&self, seed: u64) -> FoldPlan<'_> {
        match (&self.names, &self.groups) {
            (Some(names), _) => FoldPlan::Named(names),
            (None, Some(groups)) => FoldPlan::Groups { groups, folds: self.inner, seed },
            (None, None) => FoldPlan::Shuffled { folds: self.inner, seed },
        }
    }

    pub fn data<'a>(&'a self, rows: &'a dyn Rows) -> LabelledRows<'a> {
        LabelledRows { rows, targets: &self.targets, weights: self.weights() }
    }

    pub fn weights(&self) -> Option<&[f64]> {
        self.weights.as_deref()
    }

    /// What rows count where no class is to count more than it occurs: in what is settled on those that were left out.
    pub fn own_weights(&self) -> Option<&[f64]> {
        self.own.as_deref()
    }

    /// Refuses folds whose training rows cannot be divided again, where a nested estimate is asked for.
    pub fn check_nested(&self, plan: &FitPlan<'_>) -> Result<(), Error> {
        if !plan.nested {
            return Ok(());
        }
        let inner = self.plan(plan.seed);
        for (index, fold) in self.folds.iter().enumerate() {
            let divided = inner.split_within(&self.targets, &fold.train).and_then(|folds| {
                folds.iter().enumerate().try_for_each(|(index, fold)| fold.check(index, self.targets.rows()))
            });
            divided.map_err(|source| Error::InnerFolds {
                fold: index + 1,
                folds: self.folds.len(),
                source: Box::new(source),
            })?;
        }
        Ok(())
    }

    pub fn missing(&self) -> Vec<MissingClass> {
        missing_classes(&self.targets, &self.folds)
    }

    /// Scores of all strengths; none where nothing asks for them.
    pub fn choose(&self, data: &LabelledRows<'_>, plan: &FitPlan<'_>) -> Result<Option<ChosenStrength>, Error> {
        let search =
            Search { folds: &self.folds, strengths: plan.strengths, objective: plan.objective, rule: plan.rule };
        // A group gap compares them, too.
        let needs_rows = plan.answers.needs_rows() || self.groups.is_some();
        self.wanted.then(|| choose_strength_for(needs_rows, plan.trainer, data, &search)).transpose()
    }

    /// The head's own fit, on the `train` rows alone.
    pub fn fit(
        &self,
        set: &TrainingSet,
        (train, rows): (&[usize], &dyn Rows),
        (plan, strength): (&FitPlan<'_>, f64),
    ) -> Result<Fitted, Error> {
        let targets = set.learnt(train);
        let weights = self.weights().map(|weights| &weights[..train.len()]);
        let selected = Selection::new(rows, train);
        Ok(plan.trainer.fit(&LabelledRows { rows: &selected, targets: &targets, weights }, strength)?)
    }

    /// Shares with fewer rows than neighbours are asked for have no point.
    pub fn learning_curve(
        &self,
        data: &LabelledRows<'_>,
        (plan, strength): (&FitPlan<'_>, f64),
    ) -> Result<Vec<LearningPoint>, Error> {
        let (folds, objective, seed) = (&self.folds, plan.objective, plan.seed);
        let mut points = Vec::with_capacity(SHARES.len());
        for share in SHARES {
            let shares = &[share];
            match learning_curve(plan.trainer, data, &LearningCurve { folds, strength, shares, objective, seed }) {
                Ok(point) => points.extend(point),
                Err(error) if is_of_too_few_rows(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(points)
    }

    pub fn nested(&self, data: &LabelledRows<'_>, plan: &FitPlan<'_>) -> Result<NestedEstimate, Error> {
        let search =
            Search { folds: &self.folds, strengths: plan.strengths, objective: plan.objective, rule: plan.rule };
        nested_estimate(plan.trainer, data, &search, &self.plan(plan.seed))
    }

    /// What folds of whole groups lose against folds that part them: the same rows decided by models that had seen others
    /// of their group, and by models that had not.
    pub fn gap(
        &self,
        data: &LabelledRows<'_>,
        (plan, chosen): (&FitPlan<'_>, &ChosenStrength),
    ) -> Result<Option<GroupGap>, Error> {
        if self.groups.is_none() || self.names.is_some() || self.folds.len() < 2 {
            return Ok(None);
        }
        let parting = FoldPlan::Shuffled { folds: self.folds.len(), seed: plan.seed }.split(&self.targets)?;
        let strengths = [chosen.strength()];
        let search = Search { folds: &parting, strengths: &strengths, objective: plan.objective, rule: Rule::Best };
        let seen = choose_strength(plan.trainer, data, &search)?.out_of_fold;
        let unseen = &chosen.out_of_fold;
        let scale = Scale::of(plan.trainer.kind());
        let truth = self.targets.select(&unseen.rows);
        let scorer = |decisions| Scorer::new(plan.objective, &truth, Given::Decisions(decisions, scale));
        // Both sides score every row of the bench, in its order.
        let seen = seen.decisions.select(Axis(0), &unseen.rows);
        let gap = group_gap(&scorer(seen.view())?, &scorer(unseen.decisions.view())?, true, &draws(plan.seed));
        gap.map(Some)
    }
}

/// Whether a fit had fewer rows than neighbours.
fn is_of_too_few_rows(error: &Error) -> bool {
    match error {
        Error::Head(heads::Error::Folds(FoldError::Fit { source, .. })) => is_neighbour_count(source),
        Error::Head(error) => is_neighbour_count(error),
        _ => false,
    }
}

fn is_neighbour_count(error: &heads::Error) -> bool {
    matches!(error, heads::Error::Fit(FitError::NeighbourCount { .. }))
}

/// That `dev` has no row of some labels of `train`, in words.
fn lacking(train: &Targets, dev: &Targets) -> Option<String> {
    let all = labels_of(train);
    let lacking = all.difference(&labels_of(dev)).count();
    (lacking > 0).then(|| format!(" ({DEV} lacks {lacking} of {} labels)", all.len()))
}

/// The classes or labels that any row has.
fn labels_of(targets: &Targets) -> BTreeSet<usize> {
    match targets {
        Targets::Classes { of, .. } => of.iter().copied().collect(),
        Targets::Labels { of, .. } => of.iter().flatten().copied().collect(),
        Targets::Numbers(_) => BTreeSet::new(),
    }
}

/// Weights of the rows, as a field says them.
fn own_weights(set: &TrainingSet, rows: &[usize]) -> Option<Vec<f64>> {
    set.weights.as_ref().map(|weights| rows.iter().map(|&row| weights[row]).collect())
}

/// Weights of the rows, times those of their classes.
fn weights_of(set: &TrainingSet, rows: &[usize], balanced: bool) -> Result<Option<Vec<f64>>, Error> {
    let own = own_weights(set, rows);
    if !balanced {
        return Ok(own);
    }
    Ok(Some(class_weights(&set.learnt(rows), &ClassWeights::Balanced, own.as_deref())?))
}
