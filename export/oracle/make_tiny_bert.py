"""Makes tests/data/tiny-bert: two random BERT checkpoints of odd sizes, with reference vectors from transformers.

    python export/oracle/make_tiny_bert.py [--into tests/data/tiny-bert]

Seeded; needs torch, transformers, tokenizers, safetensors. The two differ in everything that an exporter may get wrong:

  cls/   names begin with `bert.` and a task head lies beside them, F32, GELU, no sentence-transformers files
  mean/  LayerNorm weights are called gamma and beta, BF16, tanh GELU, encoder in a subfolder, Pooling and Normalize
         modules, a max length, a tokenizer that asks for truncation and padding (to be ignored)

Weights are larger than a fresh initialization's, so that every operator matters in the result. `reference.json` holds,
for each text, the ids of transformers' tokenizer and the vector that torch computes from them in f64.
"""

import argparse
import json
import pathlib
import string

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = "the of a and in graph neural paper papers learning protein cell star galaxy model for on with we show".split()
TEXTS = [
    "",
    "a",
    "Graph neural papers",
    "Protein learning in the cell [SEP] We show a model of the cell",
    "STAR, galaxy; and naïve graphs!",
    "héllo wörld 12345",
    "日本 galaxy 🚀 star",
    "unbelievably-hyphenated protein-protein interaction networks",
    " ".join(["we show papers of the galaxy"] * 12),
]


def make_tokenizer(truncate_to=None):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase, *string.digits, *".,;!-"]
    pieces += ["##" + letter for letter in string.ascii_lowercase + string.digits] + ["##s", "##ing"] + WORDS
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    if truncate_to:
        tokenizer.enable_truncation(truncate_to)
        tokenizer.enable_padding(length=truncate_to)
    return tokenizer


def make_model(seed, **sizes):
    torch.manual_seed(seed)
    config = transformers.BertConfig(vocab_size=make_tokenizer().get_vocab_size(), **sizes)
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            spread = 0.3 if weight.dim() == 2 else 0.2
            weight.copy_(torch.randn_like(weight) * spread + (1.0 if name.endswith("LayerNorm.weight") else 0.0))
    return model


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_encoder(folder, model, tokenizer, tensors, **tokenizer_config):
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        key: value
        for key, value in model.config.to_dict().items()
        if key.endswith(("_size", "_act", "_eps", "_embeddings")) or key.startswith("num_hidden") or key == "model_type"
    }
    config["num_attention_heads"] = model.config.num_attention_heads
    config["position_embedding_type"] = "absolute"
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer_config.json", tokenizer_config)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)


def write_reference(folder, model, pooling, normalize, max_length):
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=make_tokenizer(), pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    model = model.double()
    rows = []
    for text in TEXTS:
        ids = tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
        with torch.no_grad():
            states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        vector = states[0] if pooling == "cls" else states.mean(dim=0)
        vector = torch.nn.functional.normalize(vector, dim=0) if normalize else vector
        rows.append({"text": text, "ids": ids, "embedding": [float(f"{value:.9g}") for value in vector]})
    write_json(folder / "reference.json", {"pooling": pooling, "normalize": normalize, "rows": rows})


def make_cls(folder):
    model = make_model(
        11,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=37,
        hidden_act="gelu",
    )
    tensors = {f"bert.{name}": weight.contiguous() for name, weight in model.state_dict().items()}
    tensors["classifier.weight"] = torch.zeros(2, 24)
    write_encoder(folder, model, make_tokenizer(), tensors, sep_token="[SEP]", model_max_length=int(1e30))
    write_reference(folder, model, "cls", False, 37)


def make_mean(folder):
    model = make_model(
        12,
        hidden_size=20,
        num_hidden_layers=3,
        num_attention_heads=5,
        intermediate_size=36,
        max_position_embeddings=50,
        hidden_act="gelu_new",
        layer_norm_eps=1e-5,
    )
    model = model.to(torch.bfloat16).float()
    old_names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = {}
    for name, weight in model.state_dict().items():
        for new, old in old_names.items():
            name = name.replace(new, old)
        tensors[name] = weight.to(torch.bfloat16).contiguous()
    sep_token = {"content": "[SEP]", "__type": "AddedToken"}
    write_encoder(folder / "0_Transformer", model, make_tokenizer(6), tensors, sep_token=sep_token, model_max_length=50)
    write_json(folder / "0_Transformer" / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    modules = [("0_Transformer", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write_json(
        folder / "modules.json",
        [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in modules],
    )
    pooling = {"word_embedding_dimension": 20, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    write_json(folder / "1_Pooling" / "config.json", pooling)
    write_reference(folder, model, "mean", True, 32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=pathlib.Path, default=pathlib.Path("tests/data/tiny-bert"))
    into = parser.parse_args().into
    make_cls(into / "cls")
    make_mean(into / "mean")


if __name__ == "__main__":
    main()
