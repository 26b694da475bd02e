"""Writes tests/data/heads/calibration.json: decision values and what scikit-learn makes of them.

    python export/oracle/make_calibration_fixtures.py

Needs numpy, scipy and scikit-learn; the versions used are written into the file. Probabilities come from
`CalibratedClassifierCV` around a classifier whose decision values are the rows that it is given, so that its own code
fits, applies and normalises the calibrators; of several labels each is calibrated by itself. scikit-learn stops the
sigmoid's fit early, so the same loss is also minimised to the end ("slopes", "intercepts"). Everything is seeded: the
same versions write the same bytes.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, precision_recall_curve

HERE = Path(__file__).resolve().parents[2] / "tests" / "data" / "heads" / "calibration.json"
VERSIONS = {"scikit-learn": sklearn.__version__, "numpy": np.__version__, "scipy": scipy.__version__}


class Plain(ClassifierMixin, BaseEstimator):
    """A classifier whose decision values are its rows."""

    def fit(self, rows, labels):
        self.classes_ = np.unique(labels)
        self.n_features_in_ = rows.shape[1]
        return self

    def decision_function(self, rows):
        return rows[:, 0] if len(self.classes_) == 2 else rows

    def predict(self, rows):
        decisions = self.decision_function(rows)
        return self.classes_[(decisions > 0).astype(int) if decisions.ndim == 1 else decisions.argmax(axis=1)]


def calibrated(method, decisions, labels, weights, asked):
    frozen = FrozenEstimator(Plain().fit(decisions, labels))
    model = CalibratedClassifierCV(frozen, method=method, ensemble=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(decisions, labels, sample_weight=weights)
    return model.calibrated_classifiers_[0].calibrators, model.predict_proba(asked)


def sigmoid_to_the_end(values, right, weights):
    """Platt's loss, minimised as far as f64 goes."""
    weights = np.ones(len(values)) if weights is None else weights
    with_label, without = weights[right].sum(), weights[~right].sum()
    target = np.where(right, (with_label + 1) / (with_label + 2), 1 / (without + 2))
    x = np.stack([values, np.ones_like(values)], axis=1)
    parameters = np.array([0.0, np.log((with_label + 1) / (without + 1))])

    def loss(parameters):
        z = x @ parameters
        return -(weights * (target * log_expit(z) + (1 - target) * log_expit(-z))).sum()

    for _ in range(200):
        p = expit(x @ parameters)
        gradient = x.T @ (weights * (p - target))
        hessian = (x.T * (weights * p * (1 - p))) @ x + 1e-14 * np.eye(2)
        step, share = np.linalg.solve(hessian, gradient), 1.0
        while share > 1e-12 and loss(parameters - share * step) > loss(parameters):
            share /= 2
        if share <= 1e-12:
            break
        parameters = parameters - share * step
    return parameters.tolist()


def case(name, decisions, labels, weights, asked):
    """`labels` are class numbers, or a 0/1 column for each label."""
    several = labels.ndim == 2
    columns = decisions.shape[1]
    right = labels == 1 if several or columns == 1 else labels[:, None] == np.arange(columns)
    right = right.reshape(len(decisions), columns)
    made = {"name": name, "decisions": decisions.tolist(), "asked": asked.tolist(), "task": "multilabel" if several else "classification"}
    made["labels"] = [np.flatnonzero(row).tolist() for row in labels] if several else labels.tolist()
    made["classes"] = columns if several or columns > 1 else 2
    made["weights"] = None if weights is None else weights.tolist()
    fits = [sigmoid_to_the_end(decisions[:, at], right[:, at], weights) for at in range(columns)]
    made["slopes"], made["intercepts"] = [fit[0] for fit in fits], [fit[1] for fit in fits]
    made["steps"] = []
    for at in range(columns):
        steps = IsotonicRegression(out_of_bounds="clip").fit(decisions[:, at], right[:, at].astype(float), weights)
        made["steps"].append({"at": steps.X_thresholds_.tolist(), "value": steps.y_thresholds_.tolist()})
    if several:
        parts = [
            [calibrated(method, decisions[:, [at]], labels[:, at], weights, asked[:, [at]])[1][:, 1] for at in range(columns)]
            for method in ["sigmoid", "isotonic"]
        ]
        made["sigmoid"], made["isotonic"] = [np.stack(part, axis=1).tolist() for part in parts]
        signs = np.where(right, 1.0, -1.0)
        row_weights = np.ones((len(decisions), 1)) if weights is None else weights[:, None]
        best = minimize_scalar(
            lambda log: -(row_weights * log_expit(np.exp(log) * decisions * signs)).sum(),
            bounds=(-10, 10),
            options={"xatol": 1e-12},
        )
        made["inverse_temperature"] = float(np.exp(best.x))
        made["temperature"] = expit(np.exp(best.x) * asked).tolist()
    else:
        for method in ["sigmoid", "isotonic", "temperature"]:
            calibrators, made[method] = calibrated(method, decisions, labels, weights, asked)
            made[method] = made[method].tolist()
        # Of two classes it scales both logits, -x and x.
        made["inverse_temperature"] = float(calibrators[0].beta_) * (2 if columns == 1 else 1)
    return made


def calibrations():
    random = np.random.default_rng(11)
    cases = []

    def decided(rows, columns, noise, scale):
        truth = random.normal(size=(rows, columns))
        return truth, scale * (truth + noise * random.normal(size=(rows, columns)))

    for name, scale, weighted in [("two", 3.0, False), ("two_weighted", 0.2, True), ("two_large", 400.0, False)]:
        truth, decisions = decided(90, 1, 0.8, scale)
        weights = random.integers(0, 4, 90).astype(float) if weighted else None
        asked = scale * 2 * random.normal(size=(12, 1))
        cases.append(case(name, decisions, (truth[:, 0] > 0.3).astype(int), weights, asked))
    for name, columns, weighted in [("four", 4, False), ("four_weighted", 4, True), ("seven", 7, False)]:
        truth, decisions = decided(150, columns, 0.7, 4.0)
        weights = random.random(150) + 0.1 if weighted else None
        asked = 6 * random.normal(size=(12, columns))
        # A row that every class is far from.
        asked[0] = -300.0 - np.arange(columns)
        cases.append(case(name, decisions, truth.argmax(axis=1), weights, asked))
    truth, decisions = decided(120, 3, 0.7, 2.0)
    labels = (truth > [0.0, 0.8, 1.6]).astype(int)
    # Equal values, which isotonic regression takes as one.
    decisions = np.round(decisions, 1)
    cases.append(case("labels", decisions, labels, None, 3 * random.normal(size=(12, 3))))
    return cases


def at_best(points, score):
    return max(points, key=lambda point: (score(point), point["threshold"]))


def thresholds():
    """What the best thresholds reach, by going through all of them."""
    random = np.random.default_rng(12)
    cases = []
    for rows, digits, weighted in [(60, 9, False), (200, 1, False), (80, 2, True)]:
        truth = random.random(rows)
        answers = np.clip(np.round(0.6 * truth + 0.4 * random.random(rows), digits), 0, 1)
        right = (random.random(rows) < truth).astype(int)
        weights = random.integers(1, 4, rows).astype(float) if weighted else np.ones(rows)
        precision, recall, cuts = precision_recall_curve(right, answers, sample_weight=weights)
        positives = weights[right == 1].sum()
        points = []
        for p, r, cut in zip(precision, recall, cuts):
            hits = r * positives
            points.append({"threshold": cut, "precision": p, "recall": r, "f1": 2 * p * r / (p + r) if p + r else 0.0,
                           "missed": positives - hits, "wrong": hits * (1 / p - 1) if p else weights[answers >= cut].sum()})  # fmt: skip
        f1 = at_best(points, lambda point: point["f1"])
        cost = at_best(points, lambda point: -round(3 * point["missed"] + point["wrong"], 9))
        enough = [point for point in points if point["recall"] >= 0.8 - 1e-12]
        recalled = max(enough, key=lambda point: point["threshold"])
        sure = [point for point in points if point["precision"] >= 0.75]
        precise = min(sure, key=lambda point: point["threshold"])
        cases.append(
            {
                "answers": answers.tolist(),
                "right": right.tolist(),
                "weights": weights.tolist() if weighted else None,
                "f1": f1,
                "cost=3:1": cost,
                "recall=0.8": recalled,
                "precision=0.75": precise,
            }
        )
    return cases


def conformal():
    """The order statistic of 1 - p(right) that split conformal prediction takes."""
    random = np.random.default_rng(13)
    cases = []
    for rows, alpha in [(19, 0.1), (50, 0.1), (101, 0.25), (40, 0.05), (10, 0.05)]:
        answers = random.dirichlet([0.6] * 4, rows)
        classes = np.array([random.choice(4, p=row) for row in answers])
        scores = 1 - answers[np.arange(rows), classes]
        rank = int(np.ceil((rows + 1) * (1 - alpha) - 1e-9))
        least = None if rank > rows else float(1 - np.sort(scores)[rank - 1])
        cases.append({"answers": answers.tolist(), "classes": classes.tolist(), "alpha": alpha, "least": least})
    return cases


def reliability():
    random = np.random.default_rng(14)
    answers = random.random(300)
    right = random.random(300) < answers**1.5
    claimed = calibration_curve(right, answers, n_bins=10)
    return {
        "answers": answers.tolist(),
        "right": right.tolist(),
        "brier": brier_score_loss(right, answers),
        "shares": claimed[0].tolist(),
        "claimed": claimed[1].tolist(),
    }


if __name__ == "__main__":
    made = {"versions": VERSIONS, "calibrations": calibrations(), "thresholds": thresholds(), "conformal": conformal(), "reliability": reliability()}
    HERE.write_text(json.dumps(made, separators=(",", ":"), allow_nan=False) + "\n")
    print("wrote", HERE, HERE.stat().st_size, "bytes")
