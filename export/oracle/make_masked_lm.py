"""Makes tests/data/tiny-masked-lm: a small random checkpoint with a masked-LM head of each architecture, with what
transformers guesses for the masks of some texts.

    python export/oracle/make_masked_lm.py [--into tests/data/tiny-masked-lm]

Seeded; needs torch, transformers, tokenizers, safetensors. Between them the checkpoints have the last layer tied to the
word embeddings and one of its own, its bias under either name or none, embeddings narrower than the states, and F32, F16 and
BF16 weights. Weights are larger than a fresh initialization's, so that every operator matters in the result.

`reference.safetensors` of each holds `logits` [masks, vocabulary] of the masks of all texts in their order, in f64
arithmetic, stored as f32; `reference.json` the texts with the ids of their tokens and, for each mask, its place and the
five most probable pieces.
"""

import argparse
import copy
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file

from make_tiny_architectures import ROPE, TYPES, make_config, random_model
from make_tiny_bert import make_tokenizer, write_json

TEXTS = [
    "the [MASK] of a galaxy",
    "[MASK]",
    "we show a [MASK] model for protein [MASK] in the [MASK], and a star; the cell of the graph",
]
TOP = 5

# name, model type, dtype, what is done to the stored tensors, config changes
CHECKPOINTS = [
    ("bert", "bert", "f32", "as saved", dict()),
    ("bert-untied", "bert", "f16", "decoder bias only", dict(tie_word_embeddings=False, hidden_act="silu", layer_norm_eps=1e-5)),
    ("roberta", "roberta", "f16", "as saved", dict(type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5, hidden_act="relu")),
    ("xlm-roberta", "xlm-roberta", "bf16", "all", dict(type_vocab_size=1, pad_token_id=1)),
    ("distilbert", "distilbert", "f16", "as saved", dict(activation="relu")),
    ("electra", "electra", "f16", "as saved", dict(embedding_size=10, hidden_act="relu")),
    ("mpnet", "mpnet", "bf16", "as saved", dict()),
    ("albert", "albert", "f16", "as saved", dict(embedding_size=10, num_hidden_layers=3)),
    ("modernbert", "modernbert", "f16", "as saved", dict(num_hidden_layers=4, local_attention=6, rope_parameters=ROPE)),
    ("modernbert-untied", "modernbert", "bf16", "all", dict(tie_word_embeddings=False, num_hidden_layers=3, local_attention=4, rope_parameters=ROPE, norm_bias=True, attention_bias=True, mlp_bias=True, classifier_bias=True, hidden_activation="silu", classifier_activation="relu")),
    ("modernbert-no-decoder-bias", "modernbert", "f16", "as saved", dict(num_hidden_layers=2, local_attention=4, rope_parameters=ROPE, decoder_bias=False)),
]


def stored_tensors(model, which, dtype):
    """`as saved` leaves out what is tied, `all` stores it again, `decoder bias only` keeps one of the bias's two names."""
    tensors = {name: value.to(TYPES[dtype]).clone() for name, value in model.state_dict().items()}
    if which == "as saved":
        for name in model.all_tied_weights_keys:
            tensors.pop(name, None)
    if which == "decoder bias only":
        tensors.pop("cls.predictions.bias")
    return tensors


def reference(model, tokenizer):
    model = copy.deepcopy(model).double()
    rows, logits = [], []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        with torch.no_grad():
            scores = model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)).long()).logits[0]
        masks = []
        for place in [place for place, token in enumerate(ids) if token == tokenizer.token_to_id("[MASK]")]:
            logits.append(scores[place])
            best = torch.softmax(scores[place], -1).topk(TOP)
            pieces = [{"id": int(i), "piece": tokenizer.id_to_token(int(i)) or f"#{i}", "probability": float(p)} for p, i in zip(*best)]
            masks.append({"place": place, "fillings": pieces})
        rows.append({"text": text, "ids": ids, "masks": masks})
    return rows, torch.stack(logits)


def write(into, number):
    name, model_type, dtype, which, changes = CHECKPOINTS[number]
    model = random_model(transformers.AutoModelForMaskedLM, make_config(model_type, changes), 100 + number)
    folder = into / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = {key: value for key, value in model.config.to_diff_dict().items() if key not in ("transformers_version", "dtype")}
    config["architectures"] = [type(model).__name__]
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer_config.json", {"sep_token": "[SEP]"})
    save_file(stored_tensors(model, which, dtype), folder / "model.safetensors", metadata={"format": "pt"})
    loaded = transformers.AutoModelForMaskedLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    rows, logits = reference(loaded, make_tokenizer())
    write_json(folder / "reference.json", rows)
    save_file({"logits": logits.float().contiguous()}, folder / "reference.safetensors")
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=pathlib.Path, default=pathlib.Path("tests/data/tiny-masked-lm"))
    into = parser.parse_args().into
    for number in range(len(CHECKPOINTS)):
        write(into, number)
    make_tokenizer().save(str(into / "tokenizer.json"), pretty=False)


if __name__ == "__main__":
    main()
