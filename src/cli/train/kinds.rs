//! From the flags of a kind to its trainer and strengths. Knows flags and trainers, no rows. Invariant: a flag that was
//! typed and means nothing for the kind is refused, never passed over.

use anyhow::Result;
use offprint::heads::{
    ElasticNetTrainer, HeadKind, LogisticSolver, LogisticTrainer, Metric, NeighbourTrainer, RidgeTrainer, SvmLoss,
    SvmTrainer, Trainer, Weighting,
};
use offprint::model::Task;

use super::super::environment::is_typed;
use super::super::user_error;
use super::args::{KindArgs, KindName, LossName, MetricName, SolverName, TrainArgs, WeightsName};

/// The strength of elastic net where nobody says one: with scikit-learn's 1 no coefficient is left on rows of length 1.
const ELASTIC_NET_ALPHA: f64 = 0.001;

impl KindName {
    /// The kind that is fitted where nobody says one.
    pub(super) fn default_of(task: Task) -> Self {
        match task {
            Task::Classification | Task::Multilabel => Self::Logistic,
            Task::Regression => Self::Ridge,
        }
    }

    pub(super) fn kind(self) -> HeadKind {
        match self {
            Self::Logistic => HeadKind::Logistic,
            Self::Svm => HeadKind::Svm,
            Self::Ridge => HeadKind::Ridge,
            Self::ElasticNet => HeadKind::ElasticNet,
            Self::Knn => HeadKind::Neighbours,
        }
    }

    /// In words.
    pub(super) fn words(self, task: Task) -> &'static str {
        match (self, task) {
            (Self::Logistic, _) => "logistic regression",
            (Self::Svm, Task::Regression) => "linear support vector regression",
            (Self::Svm, _) => "linear support vectors",
            (Self::Ridge, Task::Regression) => "ridge regression",
            (Self::Ridge, _) => "ridge classifier",
            (Self::ElasticNet, _) => "elastic net",
            (Self::Knn, _) => "nearest neighbours",
        }
    }
}

/// Refuses a kind that the task has no heads of.
pub(super) fn check_task(kind: KindName, task: Task) -> Result<()> {
    if kind.kind().serves(task) {
        return Ok(());
    }
    let fit: Vec<String> = HeadKind::ALL
        .into_iter()
        .filter(|kind| kind.serves(task) && *kind != HeadKind::Linear)
        .map(|kind| format!("`{kind}`"))
        .collect();
    Err(user_error(
        format!("`--kind {}` cannot be fitted for {task}", kind.kind()),
        format!("kinds for {task} are {}; `--task` says what a head is for", fit.join(", ")),
    ))
}

/// What the head may be, before the labels have been seen: a kind that nobody named is one of the defaults.
pub(super) fn possible(args: &TrainArgs) -> Vec<KindName> {
    match (args.kind.kind, args.kind.task.task()) {
        (Some(kind), _) => vec![kind],
        (None, Some(task)) => vec![KindName::default_of(task)],
        (None, None) => vec![KindName::default_of(Task::Classification), KindName::default_of(Task::Regression)],
    }
}

/// Refuses flags that were typed for another kind than these, or for another task, as far as it is known.
pub(super) fn check_flags(kinds: &[KindName], task: Option<Task>) -> Result<()> {
    use KindName::{ElasticNet, Knn, Logistic, Ridge, Svm};
    let flags: [(&str, &[KindName]); 14] = [
        ("--solver", &[Logistic]),
        ("--loss", &[Svm]),
        ("--epsilon", &[Svm]),
        ("--c", &[Logistic, Svm]),
        ("--c-grid", &[Logistic, Svm]),
        ("--alpha", &[Ridge, ElasticNet]),
        ("--alpha-grid", &[Ridge, ElasticNet]),
        ("--l1-ratio", &[ElasticNet]),
        ("--neighbours", &[Knn]),
        ("--neighbours-grid", &[Knn]),
        ("--metric", &[Knn]),
        ("--weights", &[Knn]),
        ("--tolerance", &[Logistic, Svm, Ridge, ElasticNet]),
        ("--no-intercept", &[Logistic, Svm, Ridge, ElasticNet]),
    ];
    if let Some(task) = task.filter(|task| *task != Task::Regression && is_typed("--epsilon")) {
        let what = format!("`--epsilon` is how far a number may be off, and the task is {task}");
        return Err(user_error(what, "leave it out, or `--task regression`"));
    }
    let strange = |(flag, of): &&(&str, &[KindName])| is_typed(flag) && !kinds.iter().any(|kind| of.contains(kind));
    let Some((flag, of)) = flags.iter().find(strange) else { return Ok(()) };
    Err(user_error(
        format!("`{flag}` is about {}, and the head is to be {}", listed(of, "and"), listed(kinds, "or")),
        format!("leave it out, or choose `--kind {}`", of[0].kind()),
    ))
}

/// `a, b and c`.
fn listed(kinds: &[KindName], conjunction: &str) -> String {
    let names: Vec<String> = kinds.iter().map(|kind| kind.kind().to_string()).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {conjunction} {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// What fits a head of this kind.
pub(super) fn trainer(args: &TrainArgs, (kind, task): (KindName, Task)) -> Result<Box<dyn Trainer>> {
    let fit_intercept = !args.kind.no_intercept;
    let within = |default: f64| args.kind.tolerance.unwrap_or(default);
    Ok(match kind {
        KindName::Logistic => {
            let solver = match args.kind.solver {
                SolverName::Fused => LogisticSolver::Fused,
                SolverName::Linfa => LogisticSolver::Linfa,
            };
            let default = LogisticTrainer::default();
            Box::new(LogisticTrainer { solver, fit_intercept, tolerance: within(default.tolerance), ..default })
        }
        KindName::Svm => {
            let loss = args.kind.loss.map(|loss| match loss {
                LossName::Hinge => SvmLoss::Hinge,
                LossName::SquaredHinge => SvmLoss::SquaredHinge,
                LossName::Epsilon => SvmLoss::EpsilonInsensitive,
                LossName::SquaredEpsilon => SvmLoss::SquaredEpsilonInsensitive,
            });
            check_loss(args.kind.loss, task)?;
            let (epsilon, seed) = (args.kind.epsilon, args.selection.seed);
            let default = SvmTrainer::default();
            let tolerance = within(default.tolerance);
            Box::new(SvmTrainer { loss, epsilon, fit_intercept, seed, tolerance, ..default })
        }
        KindName::Ridge => {
            Box::new(RidgeTrainer { fit_intercept, tolerance: within(RidgeTrainer::default().tolerance) })
        }
        KindName::ElasticNet => {
            let (l1_ratio, default) = (args.kind.l1_ratio, ElasticNetTrainer::default());
            Box::new(ElasticNetTrainer { l1_ratio, fit_intercept, tolerance: within(default.tolerance), ..default })
        }
        KindName::Knn => Box::new(NeighbourTrainer {
            metric: match args.kind.metric {
                MetricName::Cosine => Metric::Cosine,
                MetricName::Euclidean => Metric::L2,
            },
            weighting: match args.kind.weights {
                WeightsName::Uniform => Weighting::Uniform,
                WeightsName::Distance => Weighting::Distance,
            },
        }),
    })
}

fn check_loss(loss: Option<LossName>, task: Task) -> Result<()> {
    let of_numbers = |loss| matches!(loss, LossName::Epsilon | LossName::SquaredEpsilon);
    match loss {
        Some(loss) if of_numbers(loss) != (task == Task::Regression) => {
            let (name, fit) = match loss {
                LossName::Hinge => ("hinge", "epsilon` or `squared-epsilon"),
                LossName::SquaredHinge => ("squared-hinge", "epsilon` or `squared-epsilon"),
                LossName::Epsilon => ("epsilon", "hinge` or `squared-hinge"),
                LossName::SquaredEpsilon => ("squared-epsilon", "hinge` or `squared-hinge"),
            };
            Err(user_error(format!("`--loss {name}` is no loss for {task}"), format!("choose `{fit}`")))
        }
        _ => Ok(()),
    }
}

/// Refuses a tolerance that nothing reaches, or that a head of zeros does.
pub(super) fn check_tolerance(args: &KindArgs) -> Result<()> {
    match args.tolerance.filter(|tolerance| !(*tolerance > 0.0 && *tolerance < 1.0)) {
        Some(tolerance) => Err(user_error(
            format!("`--tolerance` is {tolerance}, expected a number above 0 and below 1"),
            "0.001 is the default of logistic regression and support vectors",
        )),
        None => Ok(()),
    }
}

/// The strengths of this kind: one, or those of a grid.
pub(super) fn strengths(args: &KindArgs, kind: KindName) -> Result<Vec<f64>> {
    let whole = |numbers: &Vec<u32>| numbers.iter().map(|&number| f64::from(number)).collect::<Vec<f64>>();
    let (given, flag) = match kind {
        KindName::Logistic | KindName::Svm => match &args.c_grid {
            Some(grid) => (grid.clone(), "--c-grid"),
            None => (vec![args.c.unwrap_or(1.0)], "--c"),
        },
        KindName::Ridge | KindName::ElasticNet => match &args.alpha_grid {
            Some(grid) => (grid.clone(), "--alpha-grid"),
            None => {
                let default = if kind == KindName::Ridge { 1.0 } else { ELASTIC_NET_ALPHA };
                (vec![args.alpha.unwrap_or(default)], "--alpha")
            }
        },
        KindName::Knn => match &args.neighbours_grid {
            Some(grid) => (whole(grid), "--neighbours-grid"),
            None => (vec![f64::from(args.neighbours.unwrap_or(5))], "--neighbours"),
        },
    };
    let hint = match kind {
        KindName::Knn => "scikit-learn's default is 5",
        _ => "scikit-learn's default is 1",
    };
    match given.iter().find(|strength| !(strength.is_finite() && **strength > 0.0)) {
        Some(strength) => Err(user_error(format!("`{flag}` is {strength}, expected a positive number"), hint)),
        None => Ok(given),
    }
}
