"""Writes tests/data/heads/logistic.safetensors: weighted, multi-label and degenerate sets and scikit-learn's optima.

    python export/oracle/make_logistic_fixtures.py

Needs numpy, scikit-learn and safetensors; the versions used are written into the file. Coefficients come from
`LogisticRegression(solver="newton-cholesky", tol=1e-12)`, for a thousand classes from lbfgs at tol=1e-10; those of
`without_intercept` with `fit_intercept=False`. Everything is seeded: the same versions write the same bytes.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import safetensors
import sklearn
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression

OUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "heads" / "logistic.safetensors"
DIM = 16
VERSIONS = {"scikit-learn": sklearn.__version__, "numpy": np.__version__, "safetensors": safetensors.__version__}


def rows_of(random, labels, distance, dim=DIM):
    spread = np.arange(1, dim + 1) ** -0.5
    centres = random.normal(size=(labels.max() + 1, dim)) * spread * distance
    rows = centres[labels] + random.normal(size=dim) * spread + random.normal(size=(len(labels), dim)) * spread
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f4")


def classes(name, random):
    """Rows, labels, weights or None, C."""
    labels = random.permutation(np.repeat([0, 1, 2], [90, 60, 30]))
    rows = rows_of(random, labels, 0.7)
    if name == "weighted":
        return rows, labels, random.choice([0.0, 0.25, 1.0, 3.5], len(labels)), 2.0
    if name == "weighted_two":
        return rows, np.minimum(labels, 1), random.exponential(size=len(labels)), 5.0
    if name == "duplicated":
        return np.concatenate([rows] * 3), np.concatenate([labels] * 3), None, 1.0
    if name == "constant_columns":
        rows[:, 3], rows[:, 7] = 0.0, 0.75
        return rows, labels, None, 10.0
    if name == "offset":
        return rows + np.float32(100), labels, None, 1.0
    if name == "two_a_class":
        labels = np.repeat(np.arange(20), 2)
        return rows_of(random, labels, 1.0), labels, None, 1.0
    labels = np.repeat(np.arange(1000), 2)
    return rows_of(random, labels, 2.0, 8), labels, None, 1.0


def optimum(rows, labels, weights, c, intercept=True):
    many = labels.max() > 100
    solver = {"solver": "lbfgs", "tol": 1e-10} if many else {"solver": "newton-cholesky", "tol": 1e-12}
    model = LogisticRegression(C=c, max_iter=20000, fit_intercept=intercept, **solver)
    with warnings.catch_warnings():
        # At this tolerance the last line search may find nothing left to gain.
        warnings.simplefilter("ignore")
        return model.fit(rows.astype("f8"), labels, sample_weight=weights)


def main():
    tensors, fits = {}, []
    names = ["weighted", "weighted_two", "duplicated", "constant_columns", "offset", "two_a_class", "thousand"]
    for seed, name in enumerate(names):
        rows, labels, weights, c = classes(name, np.random.default_rng(seed))
        model = optimum(rows, labels, weights, c)
        tensors |= {f"{name}.rows": rows, f"{name}.labels": labels.astype("<u4")}
        if weights is not None:
            tensors[f"{name}.weights"] = weights.astype("<f8")
        tensors |= {f"{name}.coefficients": model.coef_, f"{name}.intercepts": model.intercept_}
        fits.append({"set": name, "c": c, "classes": int(labels.max()) + 1})
        if name != "thousand":
            tensors[f"{name}.without_intercept"] = optimum(rows, labels, weights, c, intercept=False).coef_

    random = np.random.default_rng(99)
    rows = rows_of(random, random.integers(0, 6, 200), 0.8)
    centred = rows - rows.mean(axis=0)
    given = centred @ random.normal(size=(DIM, 5)) + random.normal(size=(200, 5)) * 0.4 > [0.0, 0.3, 0.6, -0.3, 99.0]
    weights = random.choice([0.5, 1.0, 2.0], 200)
    tensors |= {"labels.rows": rows, "labels.labels": given.astype("<u4"), "labels.weights": weights}
    # The last label is given to no row: there is no optimum to compare with.
    models = [optimum(rows, given[:, label].astype(int), weights, 3.0) for label in range(4)]
    tensors["labels.coefficients"] = np.concatenate([model.coef_ for model in models])
    tensors["labels.intercepts"] = np.concatenate([model.intercept_ for model in models])
    models = [optimum(rows, given[:, label].astype(int), weights, 3.0, intercept=False) for label in range(4)]
    tensors["labels.without_intercept"] = np.concatenate([model.coef_ for model in models])

    # One metadata key only: the writer puts several in an order of chance.
    about = json.dumps({"versions": VERSIONS, "fits": fits, "labels": {"c": 3.0}})
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    save_file(tensors, OUT, metadata={"about": about})


if __name__ == "__main__":
    main()
