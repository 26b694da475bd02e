"""Writes tests/data/classify/: what transformers says of texts by fine-tuned classifiers, and measures of predictions
by scikit-learn and scipy.

    python export/oracle/make_classify_fixtures.py

Needs torch, transformers, numpy, scikit-learn and scipy; the versions used are written into the files. Everything is
seeded: the same versions write the same bytes.

`pipeline.json`: the answers of the text-classification pipeline of transformers for checkpoints of
tests/data/tiny-architectures: softmax, sigmoid or none by `problem_type`. Where a config has none and one label, the
pipeline would apply a sigmoid while the model itself takes it for a regression; there the pipeline is told so.

`measures.json`: cases with right and predicted answers, and the figures of both libraries.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import scipy
import sklearn
import torch
import transformers
from scipy import stats
from sklearn import metrics
from sklearn.preprocessing import MultiLabelBinarizer

DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
TINY = DATA / "tiny-architectures"
HERE = DATA / "classify"
MODELS = ["bert-a", "bert-b", "xlm-roberta-a", "albert-a", "distilbert-a"]
TEXTS = [
    "",
    "a",
    "Graph neural papers",
    "the star and the cell",
    "attention is all you need",
    "a survey of graph papers",
]


def loaded(name):
    """A checkpoint beside the tokenizer that all of them share."""
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

    tokens = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    model = AutoModelForSequenceClassification.from_pretrained(TINY / name).double().eval()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(TINY / "tokenizer.json"), **tokens)
    if getattr(model.config, "type_vocab_size", 0) < 2:
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return model, tokenizer


def answers(name):
    model, tokenizer = loaded(name)
    config = model.config
    if config.problem_type is None and config.num_labels == 1:
        config.problem_type = "regression"
    pipe = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)
    rows = []
    for text in TEXTS:
        with torch.no_grad():
            scores = {entry["label"]: entry["score"] for entry in pipe([text])[0]}
        rows.append([float(f"{scores[config.id2label[at]]:.9g}") for at in range(config.num_labels)])
    labels = [config.id2label[at] for at in range(config.num_labels)]
    return {"checkpoint": name, "problem_type": config.problem_type, "labels": labels, "rows": rows}


def write_pipeline():
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    found = {"versions": versions, "texts": TEXTS, "models": [answers(name) for name in MODELS]}
    (HERE / "pipeline.json").write_text(json.dumps(found, indent=1) + "\n")


def one_label_case(random, known, others, rows):
    names = [f"label {n}" for n in range(known)]
    truth = random.choice(names + [f"other {n}" for n in range(others)], rows)
    predicted = np.where(random.random(rows) < 0.6, truth, random.choice(names, rows))
    predicted = [name if name in names else "unknown" for name in predicted]
    return {
        "labels": names,
        "truth": truth.tolist(),
        "predicted": predicted,
        "accuracy": metrics.accuracy_score(truth, predicted),
        "f1_macro": metrics.f1_score(truth, predicted, average="macro", zero_division=0),
        "classes": sorted(set(truth) | set(predicted)),
        "f1": metrics.f1_score(truth, predicted, average=None, zero_division=0).tolist(),
        "confusion": metrics.confusion_matrix(truth, predicted).tolist(),
    }


def several_labels_case(random, known, others, rows):
    names = [f"label {n}" for n in range(known)]
    every = names + [f"other {n}" for n in range(others)]
    share = random.random(len(every)) * 0.6
    truth = [[name for name, p in zip(every, share) if random.random() < p] for _ in range(rows)]
    predicted = [[name for name in names if random.random() < (0.7 if name in row else 0.15)] for row in truth]
    binarizer = MultiLabelBinarizer().fit(truth + predicted)
    right, given = binarizer.transform(truth), binarizer.transform(predicted)
    averaged = {
        f"f1_{average}": metrics.f1_score(right, given, average=average, zero_division=0)
        for average in ("micro", "macro", "samples")
    }
    precision, recall, f1, support = metrics.precision_recall_fscore_support(right, given, zero_division=0)
    return {
        "labels": names,
        "truth": truth,
        "predicted": predicted,
        **averaged,
        "classes": binarizer.classes_.tolist(),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "support": support.tolist(),
    }


def numbers_case(truth, predicted):
    truth, predicted = np.asarray(truth, "f8"), np.asarray(predicted, "f4")
    with warnings.catch_warnings():
        # Constant numbers have no correlation, which scipy warns of.
        warnings.simplefilter("ignore")
        figures = {
            "r2": metrics.r2_score(truth, predicted.astype("f8")),
            "mae": metrics.mean_absolute_error(truth, predicted.astype("f8")),
            "rmse": metrics.root_mean_squared_error(truth, predicted.astype("f8")),
            "kendalltau": stats.kendalltau(truth, predicted).statistic,
            "pearson": stats.pearsonr(truth, predicted.astype("f8")).statistic if len(truth) > 1 else np.nan,
        }
    figures = {name: None if np.isnan(figure) else float(figure) for name, figure in figures.items()}
    return {"truth": truth.tolist(), "predicted": [float(value) for value in predicted], **figures}


def number_cases(random):
    years = random.integers(1990, 2026, 300)
    smooth = random.normal(size=101)
    return [
        numbers_case(years, years + random.normal(size=300) * 6),
        # Many ties on both sides.
        numbers_case(random.integers(0, 4, 250), random.integers(0, 3, 250)),
        numbers_case(smooth, 3 * smooth + random.normal(size=101)),
        numbers_case(smooth, -smooth),
        numbers_case([1, 2, 3, 4], [1, 2, 3, 4]),
        numbers_case([5, 5, 5], [1, 2, 3]),
        numbers_case([5, 5], [5, 5]),
        numbers_case([1, 2, 3], [7, 7, 7]),
        numbers_case([2], [3]),
        numbers_case([1e12, 1e12 + 1, 1e12 + 5], [0.5, 0.25, 0.75]),
    ]


def write_measures():
    random = np.random.default_rng(11)
    versions = {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__, "numpy": np.__version__}
    cases = {
        "versions": versions,
        "one_label": [one_label_case(random, *sizes) for sizes in [(3, 0, 60), (7, 2, 90), (2, 0, 1), (5, 5, 20)]],
        "several_labels": [
            several_labels_case(random, *sizes) for sizes in [(4, 0, 60), (9, 3, 80), (2, 0, 12), (6, 1, 3)]
        ],
        "numbers": number_cases(random),
    }
    (HERE / "measures.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    HERE.mkdir(parents=True, exist_ok=True)
    write_pipeline()
    write_measures()
    print("wrote", ", ".join(f"{path.name} ({path.stat().st_size} bytes)" for path in sorted(HERE.iterdir())))
