"""Writes tests/data/heads/objectives.json: decision values with what scikit-learn's and scipy's metrics say of them.

    python export/oracle/make_objective_fixtures.py

Needs numpy, scipy and scikit-learn; the versions used are written into the file. Decision values have few digits, so
that many are equal. Everything is seeded: the same versions write the same bytes.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy import stats
from scipy.special import expit, softmax
from sklearn import metrics

OUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "heads" / "objectives.json"
VERSIONS = {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__, "numpy": np.__version__}


def of_answers(truth, given, classes):
    return {
        "accuracy": metrics.accuracy_score(truth, given),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, given),
        "f1_macro": metrics.f1_score(truth, given, average="macro"),
        "f1_micro": metrics.f1_score(truth, given, average="micro"),
        "f1_weighted": metrics.f1_score(truth, given, average="weighted"),
        "matthews_corrcoef": metrics.matthews_corrcoef(truth, given),
    }


def two_classes(random, rows, digits):
    truth = (random.random(rows) < 0.3).astype(int)
    logits = np.round(random.normal(size=rows) * 2 + truth * 1.5 - 1, digits)
    figures = of_answers(truth, (logits > 0).astype(int), 2)
    figures["log_loss"] = metrics.log_loss(truth, np.stack([expit(-logits), expit(logits)], 1), labels=[0, 1])
    figures["roc_auc"] = metrics.roc_auc_score(truth, logits)
    figures["average_precision"] = metrics.average_precision_score(truth, logits)
    return {"task": "classification", "classes": 2, "truth": truth.tolist(), "logits": logits[:, None].tolist(),
            "figures": figures}


def several_classes(random, rows, classes, digits):
    shares = np.arange(1, classes + 1) / np.arange(1, classes + 1).sum()
    truth = np.concatenate([np.arange(classes), random.choice(classes, rows - classes, p=shares)])
    logits = np.round(random.normal(size=(rows, classes)) * 2 + 2.5 * np.eye(classes)[truth], digits)
    probabilities = softmax(logits, 1)
    figures = of_answers(truth, logits.argmax(1), classes)
    figures["log_loss"] = metrics.log_loss(truth, probabilities)
    figures["roc_auc"] = metrics.roc_auc_score(truth, probabilities, multi_class="ovr", average="macro")
    figures["average_precision"] = metrics.average_precision_score(truth, probabilities, average="macro")
    return {"task": "classification", "classes": classes, "truth": truth.tolist(), "logits": logits.tolist(),
            "figures": figures}


def classes_that_are_missing():
    """One class is never right, one never given, one neither; of the figures those that scikit-learn has then."""
    truth = np.array([0, 0, 1, 1, 4, 4, 0, 1])
    given = np.array([0, 2, 1, 1, 0, 1, 0, 0])
    logits = np.eye(5)[given]
    with warnings.catch_warnings():
        # A class that is given but never right: it takes no part in balanced accuracy.
        warnings.simplefilter("ignore")
        figures = of_answers(truth, given, 5)
    figures["log_loss"] = metrics.log_loss(truth, softmax(logits, 1), labels=range(5))
    return {"task": "classification", "classes": 5, "truth": truth.tolist(), "logits": logits.tolist(),
            "figures": figures}


def label_sets(random, rows, labels, digits, absent):
    truth = (random.random((rows, labels)) < np.linspace(0.05, 0.5, labels)).astype(int)
    truth[:labels] |= np.eye(labels, dtype=int)
    truth[labels] = 0
    logits = np.round(random.normal(size=truth.shape) * 2 + 2 * truth - 1.2, digits)
    if absent:
        # A label that is neither right nor given.
        truth[:, 0], logits[:, 0] = 0, -1.0
    given = (logits > 0).astype(int)
    nan = {"zero_division": np.nan}
    figures = {
        "accuracy": metrics.accuracy_score(truth, given),
        "f1_macro": metrics.f1_score(truth, given, average="macro", **nan),
        "f1_micro": metrics.f1_score(truth, given, average="micro"),
        "f1_weighted": metrics.f1_score(truth, given, average="weighted", **nan),
        "log_loss": np.mean([metrics.log_loss(truth[:, k], np.stack([expit(-logits[:, k]), expit(logits[:, k])], 1),
                                              labels=[0, 1]) for k in range(labels)]),
    }
    right = truth[:, 1:] if absent else truth
    scores = logits[:, 1:] if absent else logits
    figures["roc_auc"] = metrics.roc_auc_score(right, scores, average="macro")
    figures["average_precision"] = metrics.average_precision_score(right, scores, average="macro")
    return {"task": "multilabel", "labels": labels, "truth": [np.flatnonzero(row).tolist() for row in truth],
            "logits": logits.tolist(), "figures": figures}


def numbers(random, rows, targets, digits, shift):
    truth = np.round(random.normal(size=(rows, targets)) * np.arange(1, targets + 1), digits) + shift
    given = np.round((truth - shift) * 0.7 + random.normal(size=truth.shape), digits) + shift
    columns = [(truth[:, k], given[:, k]) for k in range(targets)]
    figures = {
        "r2": metrics.r2_score(truth, given),
        "rmse": metrics.root_mean_squared_error(truth, given),
        "mae": metrics.mean_absolute_error(truth, given),
        "pearson": np.mean([stats.pearsonr(*column).statistic for column in columns]),
        "spearman": np.mean([stats.spearmanr(*column).statistic for column in columns]),
        "kendalltau": np.mean([stats.kendalltau(*column).statistic for column in columns]),
    }
    return {"task": "regression", "truth": truth.tolist(), "logits": given.tolist(), "figures": figures}


def curves(random):
    truth = (random.random(60) < 0.4).astype(int)
    scores = np.round(random.normal(size=60) + truth, 1)
    precision, recall, thresholds = metrics.precision_recall_curve(truth, scores)
    false_rate, rate, cuts = metrics.roc_curve(truth, scores, drop_intermediate=False)
    return {"truth": truth.tolist(), "scores": scores.tolist(), "precision": precision.tolist(),
            "recall": recall.tolist(), "thresholds": thresholds.tolist(), "false_positive_rate": false_rate.tolist(),
            "true_positive_rate": rate.tolist(), "cuts": cuts[1:].tolist()}


def main():
    random = np.random.default_rng(7)
    cases = {
        "two, many ties": two_classes(random, 200, 0),
        "two": two_classes(random, 150, 6),
        "three, many ties": several_classes(random, 120, 3, 0),
        "seven": several_classes(random, 150, 7, 4),
        "missing classes": classes_that_are_missing(),
        "labels": label_sets(random, 100, 6, 3, False),
        "labels, ties, one absent": label_sets(random, 80, 4, 0, True),
        "numbers": numbers(random, 120, 1, 8, 0.0),
        "numbers, ties": numbers(random, 150, 2, 0, 0.0),
        "years": numbers(random, 100, 1, 0, 2000.0),
    }
    for case in cases.values():
        case["figures"] = {name: float(figure) for name, figure in case["figures"].items()}
    text = json.dumps({"versions": VERSIONS, "cases": cases, "curves": curves(random)}, separators=(",", ":"))
    OUT.write_text(text.replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    main()
