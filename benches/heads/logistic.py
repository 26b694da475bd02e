"""Times logistic heads against scikit-learn in one run, in turn on the same rows, with equal threads.

    cargo build --release --bench heads_logistic
    python benches/heads/logistic.py --program target/release/deps/heads_logistic-* --out FILE.json

Needs numpy, scikit-learn and threadpoolctl. The sets are synthetic: unit-norm f32 rows of a power-law spectrum, three
centres a class, 4 % of the labels wrong. Each figure is the median of the rounds; wall and processor seconds are both
kept, because a busy machine spoils the first. `excess` is the objective (mean nats a row) above the best one seen.
"""

import argparse
import json
import platform
import statistics
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

GRID = [float(c) for c in np.logspace(-2, 3, 10)]
NOISE = 0.04


def labelled_set(rows, dim, classes, seed=0):
    random = np.random.default_rng(seed)
    spread = (np.arange(1, dim + 1) ** -0.5).astype("f4")
    centres = random.normal(size=(classes * 3, dim)).astype("f4") * spread * 0.35
    labels = random.integers(0, classes, rows)
    x = np.empty((rows, dim), dtype="f4")
    for start in range(0, rows, 50_000):
        part = labels[start : start + 50_000]
        block = random.standard_normal((len(part), dim), dtype="f4") * spread
        block += centres[part * 3 + random.integers(0, 3, len(part))]
        x[start : start + len(part)] = block / np.linalg.norm(block, axis=1, keepdims=True)
    wrong = random.random(rows) < NOISE
    labels = np.where(wrong, random.integers(0, classes, rows), labels)
    return x, labels


class Ours:
    """The Rust program with a set loaded."""

    def __init__(self, program, folder, x, labels, folds, classes, threads):
        files = [(x, "rows"), (labels.astype("<u4"), "labels"), (folds.astype("<u4"), "folds")]
        for values, name in files:
            values.tofile(Path(folder) / name)
        command = [program, *(str(Path(folder) / name) for _, name in files), str(x.shape[1]), str(classes), str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        """The most memory that it had at once, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        self.process.stdin.close()
        self.process.wait()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def timed(work):
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, {"seconds": time.perf_counter() - wall, "processor_seconds": time.process_time() - processor}


def objective(model, x, labels, c):
    """Mean nats a row, as scikit-learn writes it divided by C·n."""
    scores = x.astype("f8") @ model.coef_.astype("f8").T + model.intercept_.astype("f8")
    if scores.shape[1] == 1:
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    top = scores.max(axis=1)
    log_sum = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
    loss = np.mean(log_sum - scores[np.arange(len(x)), labels])
    return float(loss + (model.coef_.astype("f8") ** 2).sum() / (2 * c * len(x)))


def fit(ours, x, labels, c, rounds, with_theirs):
    mine, theirs = [], []
    for _ in range(rounds):
        answer = ours.ask(f"fit {c}")
        answer["objective"] = answer["optimality"]["objective"] / (c * len(labels))
        mine.append(answer)
        if with_theirs:
            model = LogisticRegression(C=c, max_iter=5000)
            _, times = timed(lambda: model.fit(x, labels))
            theirs.append(times | {"objective": objective(model, x, labels, c), "iterations": int(model.n_iter_.max())})
    return {"c": c, "ours": mine, "scikit-learn": theirs}


def grid(ours, x, labels, folds, rounds, tolerance):
    splits = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(folds.max() + 1)]
    mine, theirs = [], []
    for _ in range(rounds):
        mine.append(ours.ask("path " + ",".join(map(str, GRID))))
        model = LogisticRegressionCV(
            Cs=GRID, cv=splits, tol=tolerance, max_iter=5000, scoring="accuracy", refit=False, use_legacy_attributes=False
        )
        _, times = timed(lambda: model.fit(x, labels))
        theirs.append(times | {"scores": np.asarray(model.scores_).tolist(), "iterations": np.asarray(model.n_iter_).tolist()})
    return {"grid": GRID, "folds": int(folds.max()) + 1, "tolerance": tolerance, "ours": mine, "scikit-learn": theirs}


def summary(name, result):
    line = name
    for side in ["ours", "scikit-learn"]:
        if result[side]:
            wall, processor = (statistics.median(run[key] for run in result[side]) for key in ["seconds", "processor_seconds"])
            result[f"{side} median"] = {"seconds": wall, "processor_seconds": processor}
            line += f" | {side} {wall:.3f} s ({processor:.3f} s processor)"
    print(line, flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fits", default="", help="rows x classes, as 2000x2,20000x19")
    parser.add_argument("--alone", default="", help="the same, without scikit-learn")
    parser.add_argument("--grid", default="", help="the same, all folds and values of C")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="scikit-learn's, for the grid")
    parser.add_argument("--dim", type=int, default=384)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    report = {
        "machine": platform.processor() or platform.machine(),
        "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
        "threads": options.threads,
        "dim": options.dim,
        "results": {},
    }
    with threadpool_limits(options.threads):
        for kind in ["fits", "alone", "grid"]:
            for size in filter(None, getattr(options, kind).split(",")):
                rows, classes = map(int, size.split("x"))
                x, labels = labelled_set(rows, options.dim, classes)
                folds = np.zeros(rows, dtype=int)
                if kind == "grid":
                    splitter = StratifiedKFold(5, shuffle=True, random_state=0)
                    for number, (_, validation) in enumerate(splitter.split(x, labels)):
                        folds[validation] = number
                with tempfile.TemporaryDirectory() as folder:
                    ours = Ours(options.program, folder, x, labels, folds, classes, options.threads)
                    if kind == "alone":
                        # The rows are the program's alone: a million of them fill the memory.
                        x = x[:0]
                    if kind == "grid":
                        result = grid(ours, x, labels, folds, options.rounds, options.tolerance)
                    else:
                        result = fit(ours, x, labels, 1.0, options.rounds, kind == "fits")
                    result["peak_bytes"] = ours.close()
                report["results"][f"{kind} {size}"] = summary(f"{kind} {size}", result)
                Path(options.out).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
