"""Makes tests/data/adapters: small random adapters for checkpoints of tests/data/tiny-architectures, with reference values
from the libraries that adapters are trained with.

    python export/oracle/make_adapters.py [--into tests/data/adapters] [--only NAME ...]

Needs a Python environment of its own with requirements-adapters.txt: the library `adapters` asks for an older transformers
than the other scripts here. Seeded. Bottleneck adapters are made by `adapters` (`add_adapter`, `save_adapter`), LoRA by peft
(`get_peft_model`, `save_pretrained`). Sizes are odd; between them the bottlenecks have one column and several, constant,
learnt and per-channel scales, each place of residuals and normalizations, blocks behind attention, behind the feed-forward
block and behind both, layers that are left out, and weights in both file formats.

`reference.safetensors` of each holds the ids of rows of several lengths (one of a single token) and what the library
computes from them in f64: `cls` and `mean`. `base.txt` names the checkpoint.
"""

import argparse
import json
import pathlib
import shutil
import warnings

import adapters
import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

TINY = pathlib.Path("tests/data/tiny-architectures")
NORMS = dict(mh_adapter=True, output_adapter=True, reduction_factor=5, non_linearity="gelu_new")
# name, base, config, keyword arguments of save_adapter
BOTTLENECKS = [
    ("bert-seq", "bert-b", adapters.SeqBnConfig(reduction_factor=4), {}),
    ("bert-by-layer", "bert-b", adapters.SeqBnConfig(reduction_factor={"0": 2.5, "default": 16}, non_linearity="gelu", scaling="learned"), dict(use_safetensors=True)),
    ("bert-double", "bert-b", adapters.DoubleSeqBnConfig(reduction_factor=3), {}),
    ("bert-left-out", "bert-b", adapters.SeqBnConfig(reduction_factor=7, leave_out=[0], scaling=0.5, non_linearity="tanh"), dict(use_safetensors=True)),
    ("bert-parallel", "bert-b", adapters.ParBnConfig(), {}),
    ("bert-plus", "bert-b", adapters.AdapterPlusConfig(reduction_factor=6, stochastic_depth=0.0), {}),
    ("bert-norms", "bert-b", adapters.BnConfig(**NORMS, original_ln_before=True, residual_before_ln=False, ln_before=True, ln_after=True, adapter_residual_before_ln=True), {}),
    ("bert-norms-behind", "bert-b", adapters.BnConfig(**NORMS, original_ln_before=True, residual_before_ln="post_add", ln_after=True), {}),
    ("bert-plain-sum", "bert-b", adapters.BnConfig(**NORMS, original_ln_before=False, residual_before_ln=False, original_ln_after=True), {}),
    ("roberta-seq", "roberta-a", adapters.SeqBnConfig(reduction_factor=2), {}),
    ("roberta-double", "roberta-a", adapters.DoubleSeqBnConfig(reduction_factor=0.75), dict(use_safetensors=True)),
    ("xlm-roberta-seq", "xlm-roberta-a", adapters.SeqBnConfig(reduction_factor=5), {}),
    ("distilbert-double", "distilbert-b", adapters.DoubleSeqBnConfig(reduction_factor=4, non_linearity="quick_gelu"), {}),
    ("electra-seq", "electra-b", adapters.SeqBnConfig(reduction_factor=3), {}),
]
# name, base, model class, config, keyword arguments of save_pretrained
LORAS = [
    ("lora-bert", "bert-b", "AutoModel", dict(r=3, lora_alpha=8, target_modules=["query", "value"], rank_pattern={"layer.1.attention.self.value": 2}, alpha_pattern={"layer.0.attention.self.query": 5}), {}),
    ("lora-bert-all", "bert-b", "AutoModelForSequenceClassification", dict(r=2, lora_alpha=3, target_modules="all-linear", use_rslora=True), {}),
    ("lora-modernbert", "modernbert-a", "AutoModel", dict(r=4, lora_alpha=4, target_modules=["Wqkv", "Wo", "Wi"], init_lora_weights="gaussian"), {}),
    ("lora-mpnet", "mpnet-a", "AutoModel", dict(r=1, lora_alpha=2, target_modules=["q", "k", "dense"]), {}),
]


def randomize(model, is_added, seed):
    """Large weights, so that every operator matters in the result."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if is_added(name):
                is_norm = "norm" in name and name.endswith("weight") or name.endswith("scaling")
                values = torch.randn(weight.shape, generator=generator) * 0.3 + float(is_norm)
                weight.copy_(values.to(torch.bfloat16))


def reference(model, rows):
    """Each row alone; the model is in f64 afterwards."""
    whole = model.get_base_model() if isinstance(model, peft.PeftModel) else model
    encoder = getattr(whole, whole.base_model_prefix, whole).double().eval()
    found = {"cls": [], "mean": []}
    for ids in rows:
        with torch.no_grad():
            inputs = {"input_ids": ids[None], "attention_mask": torch.ones_like(ids)[None]}
            states = encoder(**inputs).last_hidden_state[0]
        found["cls"].append(states[0])
        found["mean"].append(states.mean(0))
    return {name: torch.stack(values).float().contiguous() for name, values in found.items()}


def base_model(base, family="AutoModel"):
    # The reference is made in f64 of weights that every format holds exactly.
    model = getattr(transformers, family).from_pretrained(TINY / base, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def check_base(base, saved, rows):
    """The checkpoint without an adapter must be to this transformers what it is to the one that its reference is from."""
    values = reference(base_model(base), rows)
    worst = max(float((values[name] - saved[name]).norm() / saved[name].norm()) for name in values)
    assert worst < 1e-6, f"{base}: {worst:.1e}"


def write_reference(folder, base, model):
    saved = load_file(TINY / base / "reference.safetensors")
    rows = [row.long() for row in saved["ids"].split(saved["lengths"].tolist())]
    check_base(base, saved, rows)
    values = {**reference(model, rows), "ids": saved["ids"], "lengths": saved["lengths"]}
    save_file(values, folder / "reference.safetensors")
    (folder / "base.txt").write_text(base + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)


def write_bottleneck(folder, base, config, saving, seed):
    model = base_model(base)
    adapters.init(model)
    model.add_adapter("tiny", config=config)
    model.set_active_adapters("tiny")
    randomize(model, lambda name: ".adapters.tiny." in name, seed)
    model.save_adapter(str(folder), "tiny", **saving)
    for head in folder.glob("*head*"):
        head.unlink()
    path = folder / "adapter_config.json"
    # Where the base model lay is not what the adapter is.
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_name": base}, indent=1, sort_keys=True) + "\n")
    write_reference(folder, base, model)


def write_lora(folder, base, family, config, saving, seed):
    model = peft.get_peft_model(base_model(base, family), peft.LoraConfig(**config))
    randomize(model, lambda name: "lora_" in name, seed)
    model.save_pretrained(folder, **saving)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    saved = {**json.loads(path.read_text()), "base_model_name_or_path": base}
    saved = {name: sorted(value) if name == "target_modules" and isinstance(value, list) else value for name, value in saved.items()}
    path.write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n")
    write_reference(folder, base, model)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=pathlib.Path, default=pathlib.Path("tests/data/adapters"))
    parser.add_argument("--only", nargs="*", default=[])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    makers = [(name, write_bottleneck, rest) for name, *rest in BOTTLENECKS] + [(name, write_lora, rest) for name, *rest in LORAS]
    for seed, (name, write, rest) in enumerate(makers):
        if arguments.only and name not in arguments.only:
            continue
        folder = arguments.into / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write(folder, *rest, seed)
        print(name, sum(file.stat().st_size for file in folder.iterdir()), "bytes", flush=True)


if __name__ == "__main__":
    main()
