"""Writes tests/data/heads/: small labelled sets and what scikit-learn makes of them.

    python export/oracle/make_head_fixtures.py

Needs numpy, scikit-learn and safetensors; the versions used are written into the files. Coefficients come from
`LogisticRegression(solver="newton-cholesky", tol=1e-12)`, which ends at the optimum to about 1e-12; its default solver
stops 1e-2 away. Everything is seeded: the same versions write the same bytes.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import safetensors
import sklearn
from safetensors.numpy import save_file
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

HERE = Path(__file__).resolve().parents[2] / "tests" / "data" / "heads"
DIM = 24
VERSIONS = {"scikit-learn": sklearn.__version__, "numpy": np.__version__, "safetensors": safetensors.__version__}


def labelled_set(seed, counts, distance, noise):
    """Unit-norm f32 rows: one centre a class, a common mean, falling variances; a share of the labels is random."""
    random = np.random.default_rng(seed)
    spread = np.arange(1, DIM + 1) ** -0.5
    centres = random.normal(size=(len(counts), DIM)) * spread * distance
    labels = random.permutation(np.repeat(np.arange(len(counts)), counts))
    rows = centres[labels] + random.normal(size=DIM) * spread + random.normal(size=(len(labels), DIM)) * spread
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    wrong = random.random(len(labels)) < noise
    wrong[: len(counts)] = False
    labels = np.where(wrong, random.integers(0, len(counts), len(labels)), labels)
    return rows.astype("<f4"), labels


def fit(rows, labels, c):
    """scikit-learn's optimum, and proof that it is one."""
    rows = rows.astype("f8")
    model = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    with warnings.catch_warnings():
        # At this tolerance the last line search may find nothing left to gain.
        warnings.simplefilter("ignore")
        model.fit(rows, labels)
    return model


def write_fits():
    sets = {
        "two": (labelled_set(1, [120, 60], 0.7, 0.05), [0.1, 1.0, 100.0]),
        "three": (labelled_set(2, [80, 80, 80], 0.7, 0.05), [0.01, 1.0, 100.0]),
        "nineteen": (labelled_set(3, [16] * 19, 0.9, 0.04), [1.0, 30.0]),
        "uneven": (labelled_set(4, [150, 40, 8, 3], 0.8, 0.0), [1.0]),
        "separable": (labelled_set(5, [30, 30, 30], 4.0, 0.0), [1.0, 1000.0]),
    }
    rows, labels = sets["three"][0]
    sets["three_by_1000"] = ((rows * np.float32(1000), labels), [1e-6, 1e-4])
    tensors, fits = {}, []
    for name, ((rows, labels), grid) in sets.items():
        tensors[f"{name}.rows"] = rows
        tensors[f"{name}.labels"] = labels.astype("<u4")
        for number, c in enumerate(grid):
            model = fit(rows, labels, c)
            key = f"{name}.{number}"
            tensors[f"{key}.coefficients"] = model.coef_.astype("<f8")
            tensors[f"{key}.intercepts"] = model.intercept_.astype("<f8")
            tensors[f"{key}.probabilities"] = model.predict_proba(rows[:20].astype("f8")).astype("<f8")
            predicted = model.predict(rows.astype("f8"))
            f1 = metrics.f1_score(labels, predicted, average="macro")
            fits.append({"set": name, "key": key, "c": c, "classes": int(labels.max()) + 1, "f1_macro": f1})
    # One metadata key only: the writer puts several in an order of chance.
    about = json.dumps({"versions": VERSIONS, "fits": fits})
    # The writer takes memory as it lies: what scikit-learn keeps column by column has to be turned first.
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    save_file(tensors, HERE / "fits.safetensors", metadata={"about": about})


def write_foreign_head():
    """A head as another tool may write it: f32, no checksum, no convergence."""
    tensors = {
        "coefficients": np.array([[1.0, -2.0], [0.5, 0.25], [-1.5, 1.75]], dtype="<f4"),
        "intercepts": np.array([0.0, 1.0, -1.0], dtype="<f4"),
    }
    metadata = {
        "format": "1",
        "kind": "logistic",
        "labels": json.dumps(["art", "biology", "physics"]),
        "identity": json.dumps({"pooling": "mean"}),
        "template_or_field": "model-card",
        "metrics": "null",
        "c": "1",
        "created_by": "make_head_fixtures.py",
    }
    header = {"__metadata__": metadata}
    start = 0
    for name, tensor in tensors.items():
        end = start + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(tensor.tobytes() for tensor in tensors.values())
    (HERE / "foreign.head").write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_metrics():
    random = np.random.default_rng(6)
    cases = []
    for classes, rows, top in [(2, 50, 2), (3, 80, 3), (6, 40, 6), (5, 30, 3), (4, 1, 4)]:
        truth = random.integers(0, top, rows)
        predicted = np.where(random.random(rows) < 0.6, truth, random.integers(0, top, rows))
        probabilities = random.dirichlet(np.full(classes, 0.3), rows).astype("f4")
        probabilities[0] = np.eye(classes, dtype="f4")[(truth[0] + 1) % classes]
        every = list(range(classes))
        precision, recall, f1, support = metrics.precision_recall_fscore_support(
            truth, predicted, labels=every, zero_division=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss = metrics.log_loss(truth, probabilities, labels=every)
        cases.append(
            {
                "classes": classes,
                "truth": truth.tolist(),
                "predicted": predicted.tolist(),
                "probabilities": [[float(p) for p in row] for row in probabilities],
                "accuracy": metrics.accuracy_score(truth, predicted),
                "f1_macro": metrics.f1_score(truth, predicted, average="macro", zero_division=0),
                "precision": precision.tolist(),
                "recall": recall.tolist(),
                "f1": f1.tolist(),
                "support": support.tolist(),
                "confusion": metrics.confusion_matrix(truth, predicted, labels=every).tolist(),
                "log_loss": loss,
            }
        )
    text = json.dumps({"versions": VERSIONS, "cases": cases}, indent=None, separators=(",", ":"))
    (HERE / "metrics.json").write_text(text + "\n")


if __name__ == "__main__":
    HERE.mkdir(parents=True, exist_ok=True)
    write_fits()
    write_metrics()
    write_foreign_head()
    print("wrote", ", ".join(f"{path.name} ({path.stat().st_size} bytes)" for path in sorted(HERE.iterdir())))
