"""Times logistic heads against scikit-learn in one run, in turn on the same rows, with equal threads.

    cargo build --release --bench heads_logistic
    python benches/heads/logistic.py --program target/release/deps/heads_logistic-* --out FILE.json

Needs numpy, scikit-learn and threadpoolctl. The sets are synthetic: unit-norm f32 rows of a power-law spectrum, three
centres a class, 4 % of the labels wrong. Each figure is the median of the rounds; wall and processor seconds are both
kept, because a busy machine spoils the first. For the grid the scores of both sides are kept, and how far each side's
decision values are from the optimum, by scikit-learn's tolerance: equal scores, and equal optimality.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from side_by_side import common  # noqa: E402

GRID = [float(c) for c in np.logspace(-2, 3, 10)]
NOISE = 0.04


def labelled_set(rows, dim, classes, seed=0):
    random = np.random.default_rng(seed)
    spread = (np.arange(1, dim + 1) ** -0.5).astype("f4")
    centres = random.normal(size=(classes * 3, dim)).astype("f4") * spread * 0.35
    # Turned at random: an encoder's features do not lie along the axes of its spectrum.
    turn = np.linalg.qr(random.normal(size=(dim, dim)))[0].astype("f4")
    labels = random.integers(0, classes, rows)
    x = np.empty((rows, dim), dtype="f4")
    for start in range(0, rows, 50_000):
        part = labels[start : start + 50_000]
        block = random.standard_normal((len(part), dim), dtype="f4") * spread
        block += centres[part * 3 + random.integers(0, 3, len(part))]
        x[start : start + len(part)] = (block / np.linalg.norm(block, axis=1, keepdims=True)) @ turn
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


def grid(ours, folder, x, labels, folds, rounds, tolerance):
    splits = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(folds.max() + 1)]
    mine, theirs = [], []
    for _ in range(rounds):
        mine.append(ours.ask("path " + ",".join(map(str, GRID))))
        model = LogisticRegressionCV(
            Cs=GRID, cv=splits, tol=tolerance, max_iter=5000, scoring="accuracy", refit=False, use_legacy_attributes=False
        )
        _, times = timed(lambda: model.fit(x, labels))
        theirs.append(times | {"scores": np.asarray(model.scores_)[:, 0].tolist(), "iterations": np.asarray(model.n_iter_).tolist()})
    result = {"grid": GRID, "folds": len(splits), "tolerance": tolerance, "ours": mine, "scikit-learn": theirs}
    result["largest difference of mean scores"] = float(np.abs(mean_scores(mine) - mean_scores(theirs)).max())
    result["same C"] = bool(mean_scores(mine).argmax() == mean_scores(theirs).argmax())
    result["distance"] = distances(ours, folder, x, splits, np.asarray(model.coefs_paths_)[:, 0])
    return result


def mean_scores(runs):
    """By C; every run of a side gives the same."""
    return np.mean(runs[0]["scores"], axis=0)


def distances(ours, folder, x, splits, paths):
    """How far the decision values of validation rows are from those of the optimum (certified fits of each fold and C):
    root mean square over that of the optimum's; median and largest of all folds and C. `paths`: folds × C × classes × (dim + 1).
    """
    ours.ask("decisions " + ",".join(map(str, GRID)))
    on_path, certified = (np.fromfile(Path(folder) / name, "<f4") for name in ["path", "certified"])
    found = {"ours": [], "scikit-learn": []}
    start = 0
    for fold, (_, validation) in enumerate(splits):
        for coefficients in paths[fold]:
            theirs = x[validation].astype("f8") @ coefficients[:, :-1].T + coefficients[:, -1]
            end = start + theirs.size
            best, own = (values[start:end].reshape(theirs.shape).astype("f8") for values in [certified, on_path])
            start = end
            for side, values in [("ours", own), ("scikit-learn", theirs)]:
                # A number that all classes share changes no probability.
                off = (values - best) - (values - best).mean(axis=1, keepdims=True)
                size = best - best.mean(axis=1, keepdims=True)
                found[side].append(float(np.sqrt((off**2).mean() / (size**2).mean())))
    assert start == len(certified) == len(on_path)
    return {side: {"median": float(np.median(cells)), "largest": max(cells)} for side, cells in found.items()}


def keep(report, name, result, out):
    line = name
    for side in ["ours", "scikit-learn"]:
        if result[side]:
            wall, processor = (statistics.median(run[key] for run in result[side]) for key in ["seconds", "processor_seconds"])
            result[f"{side} median"] = {"seconds": wall, "processor_seconds": processor}
            line += f" | {side} {wall:.3f} s ({processor:.3f} s processor)"
    for side, distance in result.get("distance", {}).items():
        line += f" | {side} {distance['median']:.1e} ({distance['largest']:.1e}) from the optimum"
    print(line, flush=True)
    report["results"][name] = result
    Path(out).write_text(json.dumps(report, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fits", default="", help="rows x classes, as 2000x2,20000x19")
    parser.add_argument("--alone", default="", help="the same, without scikit-learn")
    parser.add_argument("--c", type=float, default=1.0, help="C of the fits, not of the grid")
    parser.add_argument("--c-of-rows", type=int, help="C is --c for that many rows, and the less the more rows: the same objective a row")
    parser.add_argument("--grid", default="", help="the same, all folds and values of C")
    parser.add_argument("--tolerances", default="1e-4", help="scikit-learn's, for the grid: 1e-4,1e-6")
    parser.add_argument("--dim", type=int, default=384)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    report = {
        "machine": common.machine(),
        "command": common.shown_command(),
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
                        for tolerance in map(float, options.tolerances.split(",")):
                            result = grid(ours, folder, x, labels, folds, options.rounds, tolerance)
                            keep(report, f"grid {size}, tolerance {tolerance:g}", result, options.out)
                    else:
                        c = options.c * (options.c_of_rows / rows if options.c_of_rows else 1)
                        result = fit(ours, x, labels, c, options.rounds, kind == "fits")
                    result["peak_bytes"] = ours.close()
                if kind != "grid":
                    keep(report, f"{kind} {size}", result, options.out)


if __name__ == "__main__":
    main()
