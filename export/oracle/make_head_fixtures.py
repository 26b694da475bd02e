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
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parents[2] / "tests" / "data" / "heads"
# Torch's vectors of nine texts by the checkpoint that the tests carry.
EMBEDDINGS = HERE.parent / "tiny-bert" / "cls" / "reference.json"
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


def write_head(name, tensors, **fields):
    """A head as another tool may write it: no checksum, no convergence."""
    order = ["format", "kind", "labels", "identity", "template_or_field", "metrics", "c", "created_by"]
    common = {"template_or_field": "template model-card", "identity": {}, "metrics": None}
    metadata = common | {"created_by": "make_head_fixtures.py"} | fields
    metadata = {key: metadata[key] for key in [*order, *fields] if key in metadata}
    header = {"__metadata__": {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}}
    start = 0
    for tensor_name, tensor in tensors.items():
        end = start + tensor.nbytes
        kind = {"<f4": "F32", "<f8": "F64"}[tensor.dtype.str]
        header[tensor_name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(np.ascontiguousarray(tensor).tobytes() for tensor in tensors.values())
    (HERE / name).write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_foreign_head():
    """Single-label, f32, of the first version of the format."""
    tensors = {
        "coefficients": np.array([[1.0, -2.0], [0.5, 0.25], [-1.5, 1.75]], dtype="<f4"),
        "intercepts": np.array([0.0, 1.0, -1.0], dtype="<f4"),
    }
    labels = ["art", "biology", "physics"]
    identity = {"pooling": "mean"}
    write_head(
        "foreign.head", tensors, format=1, kind="logistic", labels=labels, identity=identity, c=1,
        template_or_field="model-card",
    )  # fmt: skip


def linear(coefficients, intercepts):
    return {"coefficients": coefficients.astype("<f8"), "intercepts": np.atleast_1d(intercepts).astype("<f8")}


def write_tasks():
    """A head for each task, fitted around torch's vectors of the tests' checkpoint, and what scikit-learn answers."""
    texts = np.array([row["embedding"] for row in json.loads(EMBEDDINGS.read_text())["rows"]])
    random = np.random.default_rng(7)
    rows = texts[random.integers(0, len(texts), 400)] + random.normal(size=(400, DIM)) * 0.5
    rows = rows.astype("<f4")
    wide = rows.astype("f8")
    # The checkpoint's vectors are rounded to f32 as an encoder's are.
    asked = np.concatenate([rows[:40], texts.astype("<f4")])
    answers = {}

    def scores(outputs, noise):
        centred = wide - wide.mean(axis=0)
        return centred @ random.normal(size=(DIM, outputs)) / np.sqrt(DIM) + random.normal(size=(400, outputs)) * noise

    topic = fit(wide, scores(5, 0.5).argmax(axis=1), 0.1)
    labels = ["biology", "chemistry", "mathematics", "medicine", "physics"]
    write_head("topic.head", linear(topic.coef_, topic.intercept_), format=1, kind="logistic", labels=labels, c=0.1)
    answers["topic"] = topic.predict_proba(asked.astype("f8"))

    open_access = fit(wide, (scores(1, 0.5)[:, 0] > 0).astype(int), 0.1)
    tensors = linear(open_access.coef_, open_access.intercept_)
    write_head("open.head", tensors, format=1, kind="logistic", labels=["closed", "open"], c=0.1)
    answers["open"] = open_access.predict_proba(asked.astype("f8"))

    each = LogisticRegression(C=0.2, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    tags = OneVsRestClassifier(each).fit(wide, (scores(3, 0.5) > [0.0, 0.5, 1.0]).astype(int))
    tensors = linear(
        np.concatenate([one.coef_ for one in tags.estimators_]),
        np.concatenate([one.intercept_ for one in tags.estimators_]),
    )
    write_head(
        "tags.head", tensors, format=2, kind="logistic", task="multilabel", labels=["survey", "theory", "code"],
        thresholds=[0.35, 0.5, 0.8], c=0.2, license="CC0-1.0",
    )  # fmt: skip
    answers["tags"] = tags.predict_proba(asked.astype("f8"))

    targets = scores(2, 0.3) * [12.0, 4000.0] + [2001.5, 9000.0]
    scaler = StandardScaler().fit(targets)
    numbers = Ridge(alpha=2.0, solver="cholesky").fit(wide, scaler.transform(targets))
    write_head(
        "numbers.head", linear(numbers.coef_, numbers.intercept_), format=2, kind="linear", task="regression",
        labels=["year", "readers"], scaling={"mean": scaler.mean_.tolist(), "scale": scaler.scale_.tolist()},
    )  # fmt: skip
    answers["numbers"] = scaler.inverse_transform(numbers.predict(asked.astype("f8")))

    year = Ridge(alpha=2.0, solver="cholesky").fit(wide, targets[:, 0])
    tensors = linear(year.coef_[None], year.intercept_)
    write_head("year.head", tensors, format=2, kind="linear", task="regression", labels=["year"])
    answers["year"] = year.predict(asked.astype("f8"))[:, None]

    tensors = {"rows": asked} | {name: np.ascontiguousarray(answer, "<f8") for name, answer in answers.items()}
    save_file(tensors, HERE / "tasks.safetensors", metadata={"about": json.dumps({"versions": VERSIONS})})


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
    write_tasks()
    print("wrote", ", ".join(f"{path.name} ({path.stat().st_size} bytes)" for path in sorted(HERE.iterdir())))
