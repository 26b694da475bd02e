"""Writes tests/data/heads/svm-lightning.safetensors: what sklearn-contrib-lightning makes of two of the sets of
make_svm_fixtures.py. Its support vectors have no intercept; published SciRepEval figures come from them.

    pip install numpy cython setuptools wheel scipy scikit-learn safetensors
    pip install --no-build-isolation sklearn-contrib-lightning
    python export/oracle/make_lightning_fixtures.py

Dual coordinate descent to a tolerance of 1e-7; the versions used are written into the file.
"""

import json
from importlib.metadata import version

import numpy as np
from lightning.classification import LinearSVC
from lightning.regression import LinearSVR
from safetensors.numpy import save_file

from make_svm_fixtures import ASKED, HERE, VERSIONS, sets

CASES = [
    ("two", "classes", "squared_hinge", 1.0, 0.0),
    ("two", "classes", "hinge", 1.0, 0.0),
    ("two", "classes", "squared_hinge", 100.0, 0.0),
    ("nineteen", "classes", "squared_hinge", 1.0, 0.0),
    ("nineteen", "classes", "hinge", 0.1, 0.0),
    ("two", "numbers", "epsilon_insensitive", 1.0, 0.0),
    ("nineteen", "numbers", "epsilon_insensitive", 1.0, 0.1),
]


def main():
    random = np.random.default_rng(12)
    tensors, fits = {}, []
    for name, (rows, labels) in sets().items():
        if name in ("two", "nineteen"):
            tensors[f"{name}.rows"] = rows
            tensors[f"{name}.labels"] = labels.astype("<u4")
            numbers = rows.astype("f8") @ random.normal(size=rows.shape[1]) + random.normal(size=len(rows)) * 0.3
            tensors[f"{name}.numbers"] = numbers.astype("<f8")
    for number, (name, kind, loss, c, epsilon) in enumerate(CASES):
        rows = tensors[f"{name}.rows"].astype("f8")
        options = {"C": c, "loss": loss, "tol": 1e-7, "max_iter": 20_000, "random_state": 0}
        if kind == "classes":
            model = LinearSVC(**options).fit(rows, tensors[f"{name}.labels"].astype("i8"))
            decisions = model.decision_function(rows[:ASKED])
        else:
            model = LinearSVR(epsilon=epsilon, fit_intercept=False, **options).fit(rows, tensors[f"{name}.numbers"])
            decisions = model.predict(rows[:ASKED])
        print(name, loss, c, flush=True)
        key = f"lightning.{number}"
        tensors[f"{key}.coefficients"] = np.atleast_2d(model.coef_).astype("<f8")
        tensors[f"{key}.intercepts"] = np.zeros(len(tensors[f"{key}.coefficients"]))
        tensors[f"{key}.decisions"] = np.asarray(decisions, "<f8").reshape(ASKED, -1)
        fits.append(
            {"set": name, "key": key, "kind": kind, "loss": loss, "c": c, "epsilon": epsilon}
            | {"weighted": False, "fit_intercept": False, "intercept_scaling": 1.0}
        )
    versions = VERSIONS | {"sklearn-contrib-lightning": version("sklearn-contrib-lightning")}
    about = json.dumps({"versions": versions, "fits": fits})
    path = HERE / "svm-lightning.safetensors"
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    save_file(tensors, path, metadata={"about": about})
    print(f"wrote {path.name} ({path.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
