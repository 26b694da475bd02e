"""Writes tests/data/heads/svm-lightning.safetensors: what sklearn-contrib-lightning makes of two of the sets of
make_svm_fixtures.py. Its support vectors have no intercept; published SciRepEval figures come from them.

    pip install numpy cython setuptools wheel scipy scikit-learn safetensors
    pip install --no-build-isolation sklearn-contrib-lightning
    python export/oracle/make_lightning_fixtures.py

Dual coordinate descent to a tolerance of 1e-7; the versions used are written into the file. Its LinearSVR is left out:
at tolerances from 1e-3 to 1e-7 it ends with an objective 12 % and more above what liblinear reaches on such rows.
"""

import json
from importlib.metadata import version

import numpy as np
from lightning.classification import LinearSVC
from safetensors.numpy import save_file

from make_svm_fixtures import ASKED, HERE, VERSIONS, sets

CASES = [
    ("two", "squared_hinge", 1.0),
    ("two", "hinge", 1.0),
    ("two", "squared_hinge", 100.0),
    ("nineteen", "squared_hinge", 1.0),
    ("nineteen", "hinge", 0.1),
]


def main():
    tensors, fits = {}, []
    for name, (rows, labels) in sets().items():
        if name in ("two", "nineteen"):
            tensors[f"{name}.rows"] = rows
            tensors[f"{name}.labels"] = labels.astype("<u4")
    for number, (name, loss, c) in enumerate(CASES):
        rows = tensors[f"{name}.rows"].astype("f8")
        options = {"C": c, "loss": loss, "tol": 1e-7, "max_iter": 20_000, "random_state": 0}
        model = LinearSVC(**options).fit(rows, tensors[f"{name}.labels"].astype("i8"))
        decisions = model.decision_function(rows[:ASKED])
        key = f"lightning.{number}"
        tensors[f"{key}.coefficients"] = np.atleast_2d(model.coef_).astype("<f8")
        tensors[f"{key}.intercepts"] = np.zeros(len(tensors[f"{key}.coefficients"]))
        tensors[f"{key}.decisions"] = np.asarray(decisions, "<f8").reshape(ASKED, -1)
        fits.append(
            {"set": name, "key": key, "kind": "classes", "loss": loss, "c": c, "epsilon": 0.0}
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
