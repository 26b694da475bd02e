"""Writes tests/data/heads/{ridge,elastic,knn}.safetensors: small sets and what scikit-learn makes of them.

    python export/oracle/make_ridge_knn_fixtures.py

Needs numpy, scikit-learn and safetensors; the versions used are written into the files. Everything is in f64 on f32 rows,
ridge by its direct solvers, the elastic net to a duality gap of 1e-14, neighbours by brute force. Everything is seeded:
the same versions write the same bytes.
"""

import json
from pathlib import Path

import numpy as np
import safetensors
import sklearn
from safetensors.numpy import save_file
from sklearn.linear_model import ElasticNet, Ridge, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

HERE = Path(__file__).resolve().parents[2] / "tests" / "data" / "heads"
DIM = 24
# Decision values of as many rows are kept.
DECIDED = 40
VERSIONS = {"scikit-learn": sklearn.__version__, "numpy": np.__version__, "safetensors": safetensors.__version__}


def draw(seed, count, classes, dim=DIM):
    """Unit-norm f32 rows with a common mean and falling variances, their classes, and two numbers that depend on them."""
    random = np.random.default_rng(seed)
    spread = np.arange(1, dim + 1) ** -0.5
    labels = random.permutation(np.arange(count) % classes)
    rows = (random.normal(size=(classes, dim)) * spread * 0.7)[labels]
    rows = rows + random.normal(size=dim) * spread + random.normal(size=(count, dim)) * spread
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows.astype("<f4")
    numbers = rows.astype("f8") @ random.normal(size=(dim, 2)) * 3 + [2000.0, -0.1]
    return rows, labels, numbers + random.normal(size=numbers.shape) * 0.3


def degenerate(rows):
    """A constant column, a column of zeros, two equal columns, and every row twice."""
    rows = rows.copy()
    rows[:, 3], rows[:, 5], rows[:, 7] = 0.25, 0.0, rows[:, 8]
    return np.concatenate([rows, rows])


def tags(labels, count):
    """Labels that each may be given, from classes: two that overlap, one for all rows, one for none."""
    return np.stack([labels == 0, labels != 1, np.ones(count), np.zeros(count)], axis=1).astype(int)


class File:
    def __init__(self, name):
        self.name, self.tensors, self.about, self.known = name, {}, [], set()

    def add(self, data, answers, **about):
        """One fit: `data` are named tensors of a set, `answers` those of the fit."""
        key = str(len(self.about))
        for name, tensor in data.items():
            self.tensors[f"{about['set']}.{name}"] = np.ascontiguousarray(tensor)
        for name, tensor in answers.items():
            self.tensors[f"{key}.{name}"] = np.ascontiguousarray(tensor, dtype="<f8")
        self.about.append({"key": key} | about)

    def write(self):
        about = json.dumps({"versions": VERSIONS, "fits": self.about})
        path = HERE / f"{self.name}.safetensors"
        save_file(self.tensors, path, metadata={"about": about})
        path.chmod(0o644)


def linear(model, rows):
    decisions = model.decision_function(rows) if hasattr(model, "decision_function") else model.predict(rows)
    count = np.atleast_2d(model.coef_).shape[0]
    intercepts = np.broadcast_to(model.intercept_, count)
    return {
        "coefficients": np.atleast_2d(model.coef_),
        "intercepts": intercepts,
        "decisions": decisions.reshape(len(rows), -1)[:DECIDED],
    }


def number_sets():
    rows, _, numbers = draw(1, 150, 3)
    weights = np.random.default_rng(2).integers(0, 4, 150) * 0.5
    wide, _, wide_numbers = draw(3, 12, 2)
    yield "numbers", {"rows": rows, "numbers": numbers}, [1e-3, 1.0, 100.0]
    yield "weighted", {"rows": rows, "numbers": numbers, "weights": weights}, [1.0]
    yield "wide", {"rows": wide, "numbers": wide_numbers}, [1e-2, 1.0]
    yield "wide_weighted", {"rows": wide, "numbers": wide_numbers, "weights": weights[:12] + 0.5}, [1.0]
    yield "degenerate", {"rows": degenerate(rows), "numbers": np.concatenate([numbers, numbers])}, [1e-2, 1.0]
    yield "by_1000", {"rows": rows * np.float32(1000), "numbers": numbers}, [1.0, 1e5]


def write_ridge():
    file = File("ridge")
    for name, data, alphas in number_sets():
        rows = data["rows"].astype("f8")
        for alpha in alphas:
            for intercept in [True, False]:
                model = Ridge(alpha=alpha, fit_intercept=intercept, solver="svd")
                model.fit(rows, data["numbers"], sample_weight=data.get("weights"))
                file.add(data, linear(model, rows), set=name, task="numbers", alpha=alpha, intercept=intercept)
    for name, count, classes in [("two", 120, 2), ("three", 120, 3), ("uneven", 60, 9), ("pairs", 300, 150)]:
        rows, labels, _ = draw(10 + classes, count, classes)
        if name == "uneven":
            labels = np.minimum(labels, 2)
        data = {"rows": rows, "labels": labels.astype("<u4")}
        for alpha in [0.1, 10.0]:
            model = RidgeClassifier(alpha=alpha, solver="svd").fit(rows.astype("f8"), labels)
            answers = linear(model, rows.astype("f8"))
            file.add(data, answers, set=name, task="classes", alpha=alpha, intercept=True, classes=int(labels.max()) + 1)
    rows, labels, _ = draw(30, 100, 3)
    given = tags(labels, 100)
    model = Ridge(alpha=1.0, solver="svd").fit(rows.astype("f8"), 2 * given - 1)
    data = {"rows": rows, "given": given.astype("<u4")}
    file.add(data, linear(model, rows.astype("f8")), set="tags", task="labels", alpha=1.0, intercept=True)
    file.write()


def write_elastic():
    file = File("elastic")
    for name, data, alphas in number_sets():
        rows = data["rows"].astype("f8")
        for l1_ratio in [0.1, 0.5, 1.0]:
            for alpha in [1e-3, 1e-2] if name != "by_1000" else [1.0, 10.0]:
                for intercept in [True, False]:
                    # A gap that two equal columns leave open says nothing about either of them.
                    if name == "degenerate" and l1_ratio == 1.0:
                        continue
                    model = ElasticNet(
                        alpha=alpha, l1_ratio=l1_ratio, fit_intercept=intercept, tol=1e-14, max_iter=10**6
                    )
                    # One target at a time: scikit-learn gives several one stopping rule, but not one problem.
                    parts = []
                    for column in data["numbers"].T:
                        model.fit(rows, np.ascontiguousarray(column), sample_weight=data.get("weights"))
                        parts.append(linear(model, rows))
                    answers = {
                        "coefficients": np.concatenate([part["coefficients"] for part in parts]),
                        "intercepts": np.concatenate([part["intercepts"] for part in parts]),
                        "decisions": np.concatenate([part["decisions"] for part in parts], axis=1),
                    }
                    file.add(data, answers, set=name, alpha=alpha, l1_ratio=l1_ratio, intercept=intercept)
    file.write()


def write_knn():
    file = File("knn")
    for name, count, classes in [("two", 90, 2), ("five", 150, 5)]:
        rows, labels, numbers = draw(50 + classes, count + 40, classes)
        given = tags(labels, count + 40)
        train, asked = rows[:count].astype("f8"), rows[count:].astype("f8")
        data = {
            "rows": rows[:count], "asked": rows[count:], "numbers": numbers[:count],
            "labels": labels[:count].astype("<u4"), "given": given[:count].astype("<u4"),
        }  # fmt: skip
        for metric in ["l2", "cosine"]:
            for weighting in ["uniform", "distance"]:
                for k in [1, 5, 16]:
                    options = {"n_neighbors": k, "weights": weighting, "metric": metric, "algorithm": "brute"}
                    several = KNeighborsClassifier(**options).fit(train, given[:count])
                    # A label that all rows have, or none, has one column only.
                    shares = [
                        share[:, -1] if len(known) == 2 or known[0] == 1 else 0 * share[:, 0]
                        for share, known in zip(several.predict_proba(asked), several.classes_)
                    ]
                    answers = {
                        "classes": KNeighborsClassifier(**options).fit(train, labels[:count]).predict_proba(asked),
                        "labels": np.stack(shares, axis=1),
                        "numbers": KNeighborsRegressor(**options).fit(train, numbers[:count]).predict(asked),
                    }
                    about = {"metric": metric, "weighting": weighting, "k": k, "classes": classes}
                    file.add(data, answers, set=name, **about)
    file.write()


if __name__ == "__main__":
    write_ridge()
    write_elastic()
    write_knn()
