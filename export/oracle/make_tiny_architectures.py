"""Makes tests/data/tiny-architectures: two small random checkpoints of each architecture, with reference values from
transformers.

    python export/oracle/make_tiny_architectures.py [--into tests/data/tiny-architectures]

Seeded; needs torch, transformers, tokenizers, safetensors. Sizes are odd and differ from each other wherever they may;
between them the checkpoints have one layer and several, F32, F16 and BF16 weights, one safetensors file, several, and
`pytorch_model.bin`, whole and in several, each activation, and heads of each kind. Weights are exact in F16 and larger
than a fresh initialization's, so that every operator matters in the result.

`reference.safetensors` of each holds, for rows of several lengths (one of a single token), the ids and what torch
computes from them in f64: `cls`, `mean` and, where there is a head, `logits` and `probabilities`.
"""

import argparse
import copy
import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file

from make_tiny_bert import make_tokenizer, write_json

LENGTHS = [1, 2, 3, 7, 18]

ROPE = {"full_attention": {"rope_type": "default", "rope_theta": 250.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 30.0}}
# name, model type, class, config changes, how the weights are saved
CHECKPOINTS = [
    ("bert-a", "bert", "single", "f16", dict(type_vocab_size=1, num_hidden_layers=1, hidden_act="quick_gelu", id2label={0: "no", 1: "yes", 2: "maybe"})),
    ("bert-b", "bert", "bin", "f16", dict(type_vocab_size=2, hidden_act="silu", layer_norm_eps=1e-5, problem_type="multi_label_classification", id2label={0: "a", 1: "b", 2: "c", 3: "d", 4: "e"})),
    ("roberta-a", "roberta", "bin", "f32", dict(type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5, id2label={0: "x", 1: "y"})),
    ("roberta-b", "roberta", "shards", "bf16", dict(type_vocab_size=3, pad_token_id=0, num_hidden_layers=1, hidden_act="gelu_new", headless=True)),
    ("xlm-roberta-a", "xlm-roberta", "single", "f16", dict(type_vocab_size=1, pad_token_id=1, num_labels=1)),
    ("xlm-roberta-b", "xlm-roberta", "bin-shards", "f16", dict(type_vocab_size=1, pad_token_id=2, hidden_act="relu", headless=True)),
    ("distilbert-a", "distilbert", "single", "f16", dict(sinusoidal_pos_embds=True, n_layers=1, activation="gelu", id2label={0: "x", 1: "y", 2: "z"})),
    ("distilbert-b", "distilbert", "bin", "bf16", dict(n_layers=3, activation="relu", headless=True)),
    ("electra-a", "electra", "single", "f16", dict(embedding_size=10, id2label={0: "x", 1: "y", 2: "z"})),
    ("electra-b", "electra", "bin", "f16", dict(embedding_size=21, hidden_act="gelu_fast", headless=True)),
    ("mpnet-a", "mpnet", "single", "f16", dict(max_position_embeddings=160, longest=150, id2label={0: "x", 1: "y", 2: "z"})),
    ("mpnet-b", "mpnet", "bin", "bf16", dict(num_hidden_layers=1, relative_attention_num_buckets=40, headless=True)),
    ("albert-a", "albert", "single", "f16", dict(embedding_size=10, num_hidden_layers=3, problem_type="regression", num_labels=2)),
    ("albert-b", "albert", "shards", "f16", dict(embedding_size=21, num_hidden_layers=3, num_hidden_groups=2, inner_group_num=2, hidden_act="tanh", headless=True)),
    ("modernbert-a", "modernbert", "single", "f16", dict(num_hidden_layers=5, global_attn_every_n_layers=3, local_attention=7, global_rope_theta=900.0, local_rope_theta=60.0, max_position_embeddings=64, longest=40, older=True, id2label={0: "x", 1: "y", 2: "z"})),
    ("modernbert-b", "modernbert", "bin", "bf16", dict(num_hidden_layers=3, layer_types=["sliding_attention", "sliding_attention", "full_attention"], local_attention=4, rope_parameters=ROPE, norm_bias=True, attention_bias=True, mlp_bias=True, classifier_bias=True, norm_eps=1e-3, hidden_activation="silu", classifier_activation="relu", classifier_pooling="mean", problem_type="multi_label_classification", id2label={0: "x", 1: "y"})),
]
TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# Rotary positions turn pairs, so a head is even.
EVEN = dict(hidden_size=18, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3)
# What configs of ModernBERT held before transformers 5, and what they hold instead since.
SINCE = {"layer_types", "rope_parameters"}
SIZES = dict(hidden_size=21, num_hidden_layers=2, num_attention_heads=3, intermediate_size=34, max_position_embeddings=29)
OWN_NAMES = {
    "distilbert": dict(hidden_size="dim", num_hidden_layers="n_layers", num_attention_heads="n_heads", intermediate_size="hidden_dim")
}


def make_config(model_type, changes):
    sizes = {OWN_NAMES.get(model_type, {}).get(name, name): value for name, value in SIZES.items()}
    if model_type == "modernbert":
        sizes.update(EVEN)
    options = {**sizes, "vocab_size": make_tokenizer().get_vocab_size() + 3, "pad_token_id": 0, **changes}
    return transformers.AutoConfig.for_model(model_type, **options)


def make_model(config, headless, seed):
    return random_model(transformers.AutoModel if headless else transformers.AutoModelForSequenceClassification, config, seed)


def random_model(family, config, seed):
    torch.manual_seed(seed)
    model = family.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            spread = 0.3 if weight.dim() == 2 else 0.2
            is_norm = "norm" in name.lower() and name.endswith("weight")
            # bf16 values of moderate size are exact in f16 as well
            weight.copy_((torch.randn_like(weight) * spread + float(is_norm)).to(torch.bfloat16))
    return model


def save_weights(folder, tensors, layout):
    """The four forms that checkpoints come in; `single` and `bin` are one file."""
    ending = "safetensors" if layout in ("single", "shards") else "bin"
    stem = "model" if ending == "safetensors" else "pytorch_model"

    def save(part, name):
        if ending == "safetensors":
            save_file({key: value.contiguous() for key, value in part.items()}, folder / name, metadata={"format": "pt"})
            (folder / name).chmod(0o644)
        else:
            torch.save(part, folder / name)

    if "shards" not in layout:
        return save(tensors, f"{stem}.{ending}")
    names = sorted(tensors)
    halves = [names[::2], names[1::2]]
    files = {f"{stem}-{number}-of-00002.{ending}": half for number, half in zip(("00001", "00002"), halves)}
    for file, half in files.items():
        save({name: tensors[name] for name in half}, file)
    weight_map = {name: file for file, half in files.items() for name in half}
    write_json(folder / f"{stem}.{ending}.index.json", {"metadata": {}, "weight_map": weight_map})


def activated(config, logits):
    kind = config.problem_type or ("regression" if config.num_labels == 1 else "single_label_classification")
    if kind == "regression":
        return None
    return torch.softmax(logits, -1) if kind == "single_label_classification" else torch.sigmoid(logits)


def rows_for(config, longest=None):
    """Ids without the padding id among them, except that one row spells it out."""
    generator = torch.Generator().manual_seed(5)
    rows = []
    for length in [*LENGTHS[:-1], longest or LENGTHS[-1]]:
        ids = torch.randint(5, config.vocab_size, (length,), generator=generator)
        if length == 7:
            ids[3] = config.pad_token_id
        rows.append(ids)
    return rows


def reference(model, rows):
    """What torch computes in f64, each row alone."""
    model = copy.deepcopy(model).double()
    base = getattr(model, model.base_model_prefix, model)
    found = {"cls": [], "mean": [], "logits": [], "probabilities": []}
    for ids in rows:
        inputs = {"input_ids": ids[None], "attention_mask": torch.ones_like(ids)[None]}
        with torch.no_grad():
            states = base(**inputs).last_hidden_state[0]
            found["cls"].append(states[0])
            found["mean"].append(states.mean(0))
            if base is not model:
                logits = model(**inputs).logits[0]
                found["logits"].append(logits)
                found["probabilities"].append(activated(model.config, logits))
    return {name: torch.stack(values) for name, values in found.items() if values and values[0] is not None}


def write(into, name, model_type, layout, dtype, changes, seed):
    changes = dict(changes)
    headless, longest, older = changes.pop("headless", False), changes.pop("longest", None), changes.pop("older", False)
    model = make_model(make_config(model_type, changes), headless, seed)
    folder = into / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = {key: value for key, value in model.config.to_diff_dict().items() if key not in ("transformers_version", "dtype")}
    config["architectures"] = [type(model).__name__]
    if older:
        config = {key: value for key, value in config.items() if key not in SINCE}
        config |= {key: changes[key] for key in ("global_attn_every_n_layers", "global_rope_theta", "local_rope_theta")}
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer_config.json", {"sep_token": "[SEP]"})
    tensors = {key: value.to(TYPES[dtype]) for key, value in model.state_dict().items()}
    save_weights(folder, tensors, layout)
    rows = rows_for(model.config, longest)
    values = {key: value.float().contiguous() for key, value in reference(model, rows).items()}
    values["ids"] = torch.cat(rows).to(torch.int16)
    values["lengths"] = torch.tensor([len(row) for row in rows], dtype=torch.int16)
    save_file(values, folder / "reference.safetensors")
    (folder / "reference.safetensors").chmod(0o644)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=pathlib.Path, default=pathlib.Path("tests/data/tiny-architectures"))
    into = parser.parse_args().into
    for seed, (name, model_type, layout, dtype, changes) in enumerate(CHECKPOINTS):
        write(into, name, model_type, layout, dtype, changes, seed)
    make_tokenizer().save(str(into / "tokenizer.json"), pretty=False)
    listing = {name: sum(file.stat().st_size for file in (into / name).iterdir()) for name, *_ in CHECKPOINTS}
    print(json.dumps(listing, indent=1), "bytes in all:", sum(listing.values()))


if __name__ == "__main__":
    main()
