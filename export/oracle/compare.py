"""Compares `offprint embed` with transformers: 500 texts of the labelled sets, and every text that is hard to get right.

The token counts have to be equal and no normalized value may differ by more than 2e-6; exit 1 otherwise. Token ids
themselves are compared by the tests, on tests/data/minilm-reference. Runs once at the recipe's maximum length of 256 and
once at 512. Writes a JSON result to benches/results.

    .venv-oracle/bin/python export/oracle/compare.py --data folder
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import pyarrow.parquet
import torch
import transformers

import minilm

sys.path.insert(0, str(minilm.ROOT / "benches" / "side_by_side"))
import common  # noqa: E402

SETS = ["arxiv_cs_primary", "arxiv_cs_multilabel", "mag_paper_field_dev", "hoc", "stance_regression", "asreview_screening", "trec", "scicite", "goemotions", "cset_arxiv_dev"]
MAX_DIFFERENCE = 2e-6


def labelled_texts(data, count):
    """`count` texts, equally many of each set, chosen by hash: the same ones on every machine."""
    share = -(-count // len(SETS))
    texts = []
    for name in SETS:
        path = common.labelled_set(data, name)
        if path is None:
            common.fail(f"`{data}` has no set `{name}`", "name the folder of the labelled sets with `--data`")
        of_set = {common.plain_text(row) for row in common.read_rows(path)}
        chosen = sorted(of_set, key=lambda text: hashlib.sha256(text.encode()).digest())[:share]
        texts += [(f"{name} {at}", text) for at, text in enumerate(chosen)]
    return texts[:count]


def embed(arguments, bundle, texts, folder):
    """offprint's vectors and token counts, in the order of the texts."""
    corpus, out = folder / "corpus.jsonl", folder / "vectors.parquet"
    common.write_corpus(corpus, [text for _, text in texts])
    command = [arguments.program, "embed", "--model", bundle, "--text-field", "text", corpus, "-o", out]
    account, _, _ = common.run_measured([*command, "--no-cache", "--json", "--threads", arguments.threads], arguments.threads)
    if account["rows"] != len(texts) or account["rejected"]:
        common.fail(f"{account['rejected']} of {len(texts)} texts were rejected", "see the rejects file")
    table = pyarrow.parquet.read_table(out)
    if table["id"].to_pylist() != [str(at) for at in range(len(texts))]:
        common.fail("the output is not in the order of the input", "this is a bug in offprint")
    vectors = numpy.array(table["embedding"].to_pylist(), dtype=numpy.float32)
    return vectors, table["n_tokens"].to_pylist(), account


def compare(oracle, texts, max_length, vectors, counts):
    """Largest difference, worst cosine and unequal token counts, with the texts where they occur."""
    differences, cosines, unequal = [], [], []
    for (name, text), vector, count in zip(texts, vectors, counts):
        ids = oracle.ids(text, max_length)
        if len(ids) != count:
            unequal.append({"text": name, "offprint": count, "transformers": len(ids)})
        want, got = oracle.vector(ids).astype(numpy.float64), vector.astype(numpy.float64)
        differences.append(float(numpy.abs(want - got).max()))
        cosines.append(float(want @ got / (numpy.linalg.norm(want) * numpy.linalg.norm(got))))
    return {
        "max_length": max_length,
        "texts": len(texts),
        "max_abs_difference": max(differences),
        "largest_difference_at": texts[int(numpy.argmax(differences))][0],
        "cosine_min": min(cosines),
        "lowest_cosine_at": texts[int(numpy.argmin(cosines))][0],
        "unequal_token_counts": unequal,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(parser)
    parser.add_argument("--count", type=int, default=500, help="texts of the labelled sets (default 500)")
    arguments = parser.parse_args()
    if arguments.data is None:
        common.fail("no folder of labelled sets", "name it with `--data` or OFFPRINT_DATA")
    source = common.prepare(arguments)
    oracle = minilm.Oracle(source)
    hard = {case["name"]: minilm.text_of(case) for case in minilm.cases()}
    texts = labelled_texts(arguments.data, arguments.count) + list(hard.items())

    runs = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        long = folder / "bundle-512"
        subprocess.run([arguments.program, "export", "--model", source, "--max-length", "512", "-o", long], check=True, stdout=subprocess.DEVNULL)
        for bundle, max_length in [(common.BUNDLE, 256), (long, 512)]:
            vectors, counts, account = embed(arguments, bundle, texts, folder)
            runs.append(compare(oracle, texts, max_length, vectors, counts))
            run = runs[-1]
            print(f"max length {max_length}: {run['texts']} texts, max |difference| {run['max_abs_difference']:.2e} ({run['largest_difference_at']}), worst cosine {run['cosine_min']:.9f}, unequal token counts {len(run['unequal_token_counts'])}")
    passed = all(run["max_abs_difference"] <= MAX_DIFFERENCE and not run["unequal_token_counts"] for run in runs)
    result = {
        "what": "offprint's MiniLM vectors against transformers, fp32, normalized, one text at a time on the other side",
        "command": common.shown_command(),
        "machine": common.machine(),
        "threads": arguments.threads,
        "offprint": dict(common.program_version(arguments.program), provider=account["provider"]),
        "peer_versions": {"transformers": transformers.__version__, "torch": torch.__version__},
        "texts_sha256": hashlib.sha256("\0".join(text for _, text in texts).encode()).hexdigest(),
        "allowed": MAX_DIFFERENCE,
        "passed": passed,
        "runs": runs,
    }
    common.write_result(arguments.out or common.RESULTS / "minilm-parity.json", result)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
