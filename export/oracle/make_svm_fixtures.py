"""Writes tests/data/heads/svm.safetensors: small labelled sets and what liblinear makes of them through scikit-learn.

    python export/oracle/make_svm_fixtures.py

Needs numpy, scikit-learn and safetensors; the versions used are written into the file. liblinear runs to a tolerance of
1e-11 in its dual solver on f64 rows. Everything is seeded: the same versions write the same bytes.
"""

import json
import warnings

import numpy as np
import sklearn
from safetensors.numpy import save_file
from sklearn.svm import LinearSVC, LinearSVR

from make_head_fixtures import HERE, VERSIONS, labelled_set

# Rows whose decision values are written.
ASKED = 20


def sets():
    """Rows and class numbers: usual ones, and those at the border of what can be fitted."""
    found = {
        "two": labelled_set(1, [120, 60], 0.7, 0.05),
        "nineteen": labelled_set(3, [16] * 19, 0.9, 0.04),
        "uneven": labelled_set(4, [150, 40, 8, 3], 0.8, 0.0),
        "separable": labelled_set(5, [30, 30, 30], 4.0, 0.0),
        "two_a_class": labelled_set(8, [2] * 6, 1.0, 0.0),
        "thousand_classes": labelled_set(9, [2] * 1000, 1.5, 0.0),
    }
    rows, labels = labelled_set(2, [40, 40, 40], 0.7, 0.05)
    found["by_1000"] = (rows * np.float32(1000), labels)
    found["duplicated"] = (np.concatenate([rows, rows[:60]]), np.concatenate([labels, labels[:60]]))
    idle = rows.copy()
    idle[:, 3], idle[:, 7] = 0.0, 0.5
    found["idle_columns"] = (idle, labels)
    rows, labels = found["thousand_classes"]
    found["thousand_classes"] = (rows[:, :6].copy(), labels)
    return found


# Set, loss, C, and what differs from scikit-learn's defaults.
CLASSES = [
    ("two", "squared_hinge", 1.0, {}),
    ("two", "hinge", 1.0, {}),
    ("two", "hinge", 100.0, {}),
    ("two", "squared_hinge", 0.01, {"fit_intercept": False}),
    ("two", "hinge", 1.0, {"intercept_scaling": 10.0}),
    ("two", "squared_hinge", 1.0, {"weighted": True}),
    ("two", "hinge", 1.0, {"weighted": True}),
    ("nineteen", "squared_hinge", 1.0, {}),
    ("nineteen", "hinge", 10.0, {"fit_intercept": False}),
    ("uneven", "squared_hinge", 10.0, {}),
    ("uneven", "hinge", 1.0, {}),
    ("separable", "squared_hinge", 1000.0, {}),
    ("separable", "hinge", 1000.0, {}),
    ("two_a_class", "squared_hinge", 1.0, {}),
    ("two_a_class", "hinge", 1.0, {}),
    ("thousand_classes", "squared_hinge", 1.0, {}),
    ("by_1000", "squared_hinge", 1e-6, {}),
    ("by_1000", "hinge", 1e-6, {}),
    ("duplicated", "hinge", 1.0, {}),
    ("duplicated", "squared_hinge", 1.0, {}),
    ("idle_columns", "hinge", 1.0, {}),
    ("idle_columns", "squared_hinge", 1.0, {}),
]

NUMBERS = [
    ("two", "epsilon_insensitive", 1.0, {}),
    ("two", "epsilon_insensitive", 100.0, {"epsilon": 0.1}),
    ("two", "squared_epsilon_insensitive", 1.0, {"epsilon": 0.1}),
    ("two", "squared_epsilon_insensitive", 10.0, {}),
    ("two", "epsilon_insensitive", 1.0, {"fit_intercept": False, "epsilon": 0.05}),
    ("two", "epsilon_insensitive", 1.0, {"weighted": True, "epsilon": 0.05}),
    ("nineteen", "epsilon_insensitive", 10.0, {"epsilon": 0.2}),
    ("duplicated", "epsilon_insensitive", 1.0, {}),
    ("by_1000", "squared_epsilon_insensitive", 1e-6, {}),
    ("idle_columns", "epsilon_insensitive", 1.0, {"epsilon": 0.1}),
]


def main():
    random = np.random.default_rng(11)
    tensors, fits = {}, []
    for name, (rows, labels) in sets().items():
        scale = 1000.0 if name == "by_1000" else 1.0
        numbers = rows.astype("f8") @ random.normal(size=rows.shape[1]) / scale + random.normal(size=len(rows)) * 0.3
        tensors[f"{name}.rows"] = rows
        tensors[f"{name}.labels"] = labels.astype("<u4")
        tensors[f"{name}.numbers"] = numbers.astype("<f8")
        tensors[f"{name}.weights"] = random.choice([0.0, 0.5, 1.0, 3.0], len(rows)).astype("<f8")
    for kind, cases in (("classes", CLASSES), ("numbers", NUMBERS)):
        for number, (name, loss, c, options) in enumerate(cases):
            rows = tensors[f"{name}.rows"].astype("f8")
            options = dict(options)
            weights = tensors[f"{name}.weights"] if options.pop("weighted", False) else None
            model = (LinearSVC if kind == "classes" else LinearSVR)(
                C=c, loss=loss, dual=True, tol=1e-11, max_iter=300_000, random_state=0, **options
            )
            with warnings.catch_warnings():
                # At this tolerance the solver may run to its last pass: as near as f64 gets.
                warnings.simplefilter("ignore")
                model.fit(rows, tensors[f"{name}.labels" if kind == "classes" else f"{name}.numbers"], weights)
            key = f"{kind}.{number}"
            decide = model.decision_function if kind == "classes" else model.predict
            if name != "thousand_classes":
                tensors[f"{key}.coefficients"] = np.atleast_2d(model.coef_).astype("<f8")
                tensors[f"{key}.intercepts"] = (np.zeros(len(np.atleast_2d(model.coef_))) + model.intercept_).astype("<f8")
            decisions = decide(rows[:3] if name == "thousand_classes" else rows[:ASKED])
            tensors[f"{key}.decisions"] = decisions.reshape(len(decisions), -1).astype("<f8")
            fits.append(
                {"set": name, "key": key, "kind": kind, "loss": loss, "c": c, "weighted": weights is not None}
                | {"epsilon": 0.0, "fit_intercept": True, "intercept_scaling": 1.0}
                | options
            )
    about = json.dumps({"versions": VERSIONS, "fits": fits})
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    path = HERE / "svm.safetensors"
    save_file(tensors, path, metadata={"about": about})
    print(f"wrote {path.name} ({path.stat().st_size} bytes), scikit-learn {sklearn.__version__}")


if __name__ == "__main__":
    main()
