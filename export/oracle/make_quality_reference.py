"""Writes tests/data/quality/reference.json: vectors of two encoders and how far apart numpy and scikit-learn find them.

    python export/oracle/make_quality_reference.py

Cosines by numpy in f64, their quantiles by `numpy.quantile` (linear), neighbours by scikit-learn's exact search by
cosine. Components are multiples of 1/1024, so that JSON holds them exactly. Seeded: the same versions write the same
bytes.
"""

import json
from pathlib import Path

import numpy as np
import sklearn
from sklearn.neighbors import NearestNeighbors

INTO = Path(__file__).resolve().parents[2] / "tests" / "data" / "quality"
ROWS, DIM, NEIGHBOURS = 60, 8, 10


def neighbours(rows):
    """The nearest others of each row, the nearest first."""
    found = NearestNeighbors(n_neighbors=NEIGHBOURS + 1, metric="cosine", algorithm="brute").fit(rows).kneighbors(rows)
    return [[other for other in others if other != row][:NEIGHBOURS] for row, others in enumerate(found[1])]


def main():
    random = np.random.default_rng(20260)
    original = np.round(random.normal(size=(ROWS, DIM)) * 1024) / 1024
    noise = random.normal(size=(ROWS, DIM)) * random.choice([0.0, 0.02, 0.3], size=(ROWS, 1))
    new = np.round((original + noise) * 1024) / 1024
    cosines = np.sum(original * new, axis=1) / (np.linalg.norm(original, axis=1) * np.linalg.norm(new, axis=1))
    here, there = neighbours(original), neighbours(new)
    kept = [len(set(one) & set(other)) for one, other in zip(here, there)]
    figures = {
        "cosine_min": cosines.min(),
        "cosine_1_percent": np.quantile(cosines, 0.01),
        "cosine_median": np.median(cosines),
        "cosine_mean": cosines.mean(),
        "max_delta": np.abs(original - new).max(),
        "neighbours_kept": sum(kept) / (ROWS * NEIGHBOURS),
        "first_neighbour_kept": np.mean([one[0] == other[0] for one, other in zip(here, there)]),
    }
    reference = {
        "versions": {"numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "original": original.tolist(),
        "new": new.tolist(),
        "figures": {name: float(value) for name, value in figures.items()},
    }
    INTO.mkdir(exist_ok=True)
    (INTO / "reference.json").write_text(json.dumps(reference, separators=(",", ":")) + "\n")
    print(reference["figures"])


if __name__ == "__main__":
    main()
