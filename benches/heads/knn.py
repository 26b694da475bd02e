"""Nearest neighbours and ridge against scikit-learn: the same rows, in alternation, one thread and then all cores.

    cargo build --release --bench heads_knn
    python benches/heads/knn.py --program target/release/deps/heads_knn-* --out benches/results/heads-knn.json

Each fit (of neighbours: fit and answers) is a process of its own on either side and is timed without reading the rows.
Both sides see f32 rows, as embeddings are; `ridge_f64` gives scikit-learn f64 rows, which is the precision that ours
works in. Medians of `--rounds` count; processor seconds are beside them, since other work on the machine lengthens the
wall clock. What is compared: shares of equal answers of neighbours, coefficients of ridge relative to scikit-learn's
direct solution in f64, mean accuracy on a grid.

Rows are unit-norm f32 of 384 numbers: three centres a class, variances falling as 1/j, a common mean, 4 % of the labels
random.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from side_by_side import common  # noqa: E402

DIM = 384
GRID = [10.0**exponent for exponent in range(-4, 6)]
# What, rows, classes (0: numbers), rows to answer for, metric, strengths.
PROBLEMS = [
    ("knn", 2000, 19, 2000, "l2", [5]),
    ("knn", 20000, 19, 20000, "l2", [5]),
    ("knn", 20000, 19, 5000, "cosine", [5]),
    ("ridge", 2000, 19, 0, None, [1.0]),
    ("ridge", 20000, 19, 0, None, [1.0]),
    ("ridge_f64", 20000, 19, 0, None, [1.0]),
    ("ridge", 2000, 0, 0, None, [1.0]),
    ("ridge", 20000, 0, 0, None, [1.0]),
    ("ridge", 100000, 0, 0, None, [1.0]),
    ("ridge", 100000, 19, 0, None, [1.0]),
    ("ridge_grid", 20000, 19, 0, None, GRID),
]
FOLDS = 5


def rows_of(count, classes, seed):
    import numpy as np

    random = np.random.default_rng(7)
    spread = np.arange(1, DIM + 1) ** -0.5
    groups = max(classes, 2)
    middle = random.normal(size=(groups * 3, DIM)) * spread * 0.9
    common = random.normal(size=DIM) * spread
    slope = random.normal(size=DIM)
    random = np.random.default_rng(seed)
    labels = random.integers(0, groups, count)
    part = labels * 3 + random.integers(0, 3, count)
    rows = middle[part] + common + random.normal(size=(count, DIM)) * spread
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    wrong = random.random(count) < 0.04
    labels[wrong] = random.integers(0, groups, int(wrong.sum()))
    rows = rows.astype("<f4")
    if classes == 0:
        return rows, (rows @ slope + 0.3 * random.normal(size=count)).astype("<f8")
    return rows, labels.astype("<f8")


def model_of(request):
    from sklearn.linear_model import Ridge, RidgeClassifier
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier

    what, strength = request["what"], request["strengths"][0]
    if what == "knn":
        metric = "euclidean" if request["metric"] == "l2" else "cosine"
        return KNeighborsClassifier(n_neighbors=int(strength), algorithm="brute", metric=metric)
    if what == "ridge_grid":
        return GridSearchCV(RidgeClassifier(), {"alpha": request["strengths"]}, cv=FOLDS)
    return RidgeClassifier(alpha=strength) if request["classes"] else Ridge(alpha=strength)


def theirs(request):
    """One fit of scikit-learn in this process."""
    import numpy as np

    rows = np.fromfile(request["rows"], "<f4").reshape(request["shape"])
    targets = np.fromfile(request["targets"], "<f8")
    if request["classes"]:
        targets = targets.astype(int)
    if request["precise"]:
        rows = rows.astype("f8")
    asked = None
    if request["asked"]:
        asked = np.fromfile(request["asked"][0], "<f4").reshape(-1, DIM)
    model = model_of(request)
    start, busy = time.perf_counter(), time.process_time()
    model.fit(rows, targets)
    if asked is not None:
        out = model.predict_proba(asked)
    elif request["what"] == "ridge_grid":
        out = model.cv_results_["mean_test_score"]
    else:
        out = None
    seconds, processor = time.perf_counter() - start, time.process_time() - busy
    if out is None:
        out = np.concatenate([np.ravel(model.coef_), np.ravel(model.intercept_)])
    np.ascontiguousarray(out, dtype="<f8").tofile(request["out"])
    print(json.dumps({"seconds": seconds, "processor_seconds": processor}))


def ask(command, request, threads):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    text = json.dumps(request)
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        sys.exit(f"{command}: {done.stderr}")
    return json.loads(done.stdout)


def compared(what, ours, theirs):
    import numpy as np

    ours, theirs = (np.fromfile(path, "<f8") for path in (ours, theirs))
    if what == "knn":
        classes = 19
        ours, theirs = ours.reshape(-1, classes), theirs.reshape(-1, classes)
        same = np.all(np.abs(ours - theirs) < 1e-9, axis=1)
        return {"equal_shares": float(np.mean(same))}
    if what == "ridge_grid":
        return {"best_accuracy": [float(ours.max()), float(theirs.max())],
                "chosen": [GRID[int(ours.argmax())], GRID[int(theirs.argmax())]]}  # fmt: skip
    return {"relative_difference": float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))}


def measure(problem, program, folder, options):
    what, count, classes, asked_count, metric, strengths = problem
    rows, targets = rows_of(count, classes, 1)
    files = {name: str(folder / name) for name in ("rows", "targets", "asked", "ours", "theirs")}
    rows.tofile(files["rows"])
    targets.tofile(files["targets"])
    asked = None
    if asked_count:
        rows_of(asked_count, classes, 2)[0].tofile(files["asked"])
        asked = [files["asked"], asked_count]
    request = {
        "what": what.removesuffix("_f64"), "rows": files["rows"], "shape": [count, DIM], "targets": files["targets"],
        "classes": classes, "asked": asked, "metric": metric, "strengths": strengths, "folds": FOLDS,
    }  # fmt: skip
    own = {"precise": what.endswith("_f64")}
    results = []
    for threads in options.threads:
        runs = {"ours": [], "theirs": []}
        for _ in range(options.rounds):
            mine = request | {"threads": threads, "out": files["ours"]}
            runs["ours"].append(ask([program], mine, threads))
            other = request | own | {"out": files["theirs"]}
            runs["theirs"].append(ask([sys.executable, __file__, "--theirs"], other, threads))
        result = {"what": what, "rows": count, "classes": classes, "asked": asked_count, "metric": metric,
                  "threads": threads, "runs": runs}  # fmt: skip
        for name in ("seconds", "processor_seconds"):
            middle = {side: statistics.median(run[name] for run in runs[side]) for side in runs}
            result[name] = middle | {"ratio": middle["theirs"] / middle["ours"]}
        # Single precision leaves scikit-learn's own ridge some 1e-5 off: judged by its solution in f64.
        if what == "ridge":
            ask([sys.executable, __file__, "--theirs"], request | own | {"precise": True, "out": files["theirs"]}, threads)
        result["agreement"] = compared(request["what"], files["ours"], files["theirs"])
        results.append(result)
        shown = {key: value for key, value in result.items() if key != "runs"}
        print(json.dumps(shown), file=sys.stderr)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", help="the built benchmark program")
    parser.add_argument("--out", help="the results file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, os.cpu_count()])
    parser.add_argument("--only", help="problems whose name starts so")
    parser.add_argument("--theirs", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.theirs:
        return theirs(json.load(sys.stdin))
    import numpy
    import sklearn

    problems = [problem for problem in PROBLEMS if problem[0].startswith(options.only or "")]
    results, load = [], [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder:
        for problem in problems:
            results += measure(problem, options.program, Path(folder), options)
    load.append(os.getloadavg()[0])
    about = {
        "load_before_and_after": load,
        "machine": common.machine(),
        "command": common.shown_command(),
        "versions": {"scikit-learn": sklearn.__version__, "numpy": numpy.__version__, "python": platform.python_version()},
        "rounds": options.rounds,
    }
    Path(options.out).write_text(json.dumps(about | {"results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
