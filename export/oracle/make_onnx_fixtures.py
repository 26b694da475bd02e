"""Makes tests/data/onnx: small ONNX files as real exporters write them, with what onnxruntime and transformers compute.

    python export/oracle/make_onnx_fixtures.py [--into tests/data/onnx]

Seeded; needs torch, transformers, optimum with optimum-onnx, sentence-transformers, onnx, onnxruntime, onnxscript. One
folder for each layout: the ONNX file where its exporter puts it, config.json and what else lies beside it, and
`reference.json` with rows of token ids and, for each row alone, the values that onnxruntime computes from the file as it
is (pooled and scaled by numpy in f64) and those that transformers computes from the checkpoint. All of them share
`tests/data/tiny-architectures/tokenizer.json`, which tests put in its place. `weights/` holds the checkpoints' weights:
`states.safetensors` those of `optimum-states` and `half`, `classifier.safetensors` those of `optimum-classifier`.
"""

import argparse
import json
import pathlib
import shutil
import tempfile

import numpy
import onnx
import onnxruntime
import torch
import transformers
from optimum.exporters.onnx import main_export

LENGTHS = [2, 3, 7, 18]
VOCABULARY = 105
SIZES = dict(
    vocab_size=VOCABULARY,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=40,
    type_vocab_size=2,
    pad_token_id=0,
)
MODULES = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def checkpoint(kind, folder, tokenizer, **changes):
    """A random model of this class and its folder; weights are larger than fresh ones, so that every operator matters."""
    torch.manual_seed(7)
    model = kind(kind.config_class(**{**SIZES, **changes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((torch.randn_like(parameter) * 0.3 + (parameter.std(correction=0) == 0) * parameter).half().float())
    model.save_pretrained(folder)
    shutil.copy(tokenizer, folder / "tokenizer.json")
    special = dict(pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
    write_json(folder / "tokenizer_config.json", dict(tokenizer_class="PreTrainedTokenizerFast", model_max_length=32, **special))
    write_json(folder / "special_tokens_map.json", special)
    return model


def sentence_modules(folder, pooling):
    entries = [
        dict(idx=i, name=str(i), path=path, type=f"sentence_transformers.models.{kind}") for i, (kind, path) in enumerate(MODULES)
    ]
    write_json(folder / "modules.json", entries)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modes = {f"pooling_mode_{mode}": mode.startswith(pooling) for mode in ["cls_token", "mean_tokens", "max_tokens"]}
    write_json(folder / "1_Pooling/config.json", dict(word_embedding_dimension=SIZES["hidden_size"], **modes))
    (folder / "2_Normalize").mkdir(exist_ok=True)
    write_json(folder / "sentence_bert_config.json", dict(max_seq_length=24, do_lower_case=False))


def rows():
    generator = numpy.random.default_rng(11)
    return [generator.integers(5, VOCABULARY, length).tolist() for length in LENGTHS]


def feed(session, row):
    values = {"input_ids": row, "attention_mask": [1] * len(row), "token_type_ids": [0] * len(row)}
    kinds = {"tensor(int64)": numpy.int64, "tensor(int32)": numpy.int32}
    return {one.name: numpy.array([values[one.name]], kinds[one.type]) for one in session.get_inputs()}


def pooled(states, pooling, normalize):
    states = numpy.asarray(states, numpy.float64)
    vector = states[0, 0] if pooling == "cls" else states[0].mean(0)
    return (vector / numpy.linalg.norm(vector) if normalize else vector).tolist()


def reference(path, model, output, pooling, normalize):
    """Of each row: the embedding and, of a classifier, the logits, from the file and from the checkpoint."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = dict(rows=rows(), onnxruntime=dict(embedding=[], logits=[]), transformers=dict(embedding=[], logits=[]))
    encoder = getattr(model, model.base_model_prefix, model)
    names = [one.name for one in session.get_outputs()]
    for row in found["rows"]:
        values = dict(zip(names, session.run(None, feed(session, row))))
        with torch.no_grad():
            double = model.double()
            ids = torch.tensor([row])
            states = getattr(double, double.base_model_prefix, double)(ids).last_hidden_state
            found["transformers"]["embedding"].append(pooled(states, pooling, normalize))
            if "logits" in values:
                found["transformers"]["logits"].append(double(ids).logits[0].tolist())
        model.float()
        if "logits" in values:
            found["onnxruntime"]["logits"].append(values["logits"][0].astype(float).tolist())
        if output in values:
            ready = values[output].ndim == 2
            vector = values[output][0].astype(float).tolist() if ready else pooled(values[output], pooling, normalize)
            found["onnxruntime"]["embedding"].append(vector)
    return found


def traced(model, path, names=("input_ids", "attention_mask"), kind=torch.int64, output="last_hidden_state", free=True, **options):
    """As torch.onnx.export writes it, by tracing or from an exported program."""

    class Outputs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *values):
            return self.model(**dict(zip(names, values)))[output]

    values = [torch.ones(2, 9, dtype=kind) for _ in names]
    if options.get("dynamo"):
        batch, sequence = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("sequence", min=2, max=39)
        options["dynamic_shapes"] = (tuple({0: batch, 1: sequence} for _ in names),)
    else:
        free_axes = {name: {0: "batch", 1: "sequence"} for name in (*names, output)} if free else {}
        options.update(dynamic_axes=free_axes, opset_version=17)
    torch.onnx.export(Outputs().eval(), tuple(values), path, input_names=list(names), output_names=[output], **options)


def finish(folder, file, model, output="last_hidden_state", pooling="mean", normalize=False):
    """Keeps what a test needs of what an exporter wrote."""
    write_json(folder / "reference.json", reference(str(folder / file), model, output, pooling, normalize))
    kept = {"config.json", "tokenizer_config.json", "modules.json", "sentence_bert_config.json", "reference.json"}
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in kept and ".onnx" not in path.name:
            path.unlink()


def make(into, tokenizer, scratch):
    def fresh(name, kind, **changes):
        folder = into / name
        source = scratch / name
        folder.mkdir(parents=True)
        return folder, source, checkpoint(kind, source, tokenizer, **changes)

    def copy_small(source, folder):
        for name in ["config.json", "tokenizer_config.json"]:
            shutil.copy(source / name, folder / name)

    def optimum(source, folder, task, **options):
        main_export(str(source), folder, task=task, do_validation=False, no_post_process=True, **options)

    folder, source, model = fresh("optimum-states", transformers.BertModel)
    optimum(source, folder, "feature-extraction", library_name="transformers")
    finish(folder, "model.onnx", model)

    weights = into / "weights"
    weights.mkdir()
    shutil.copyfile(source / "model.safetensors", weights / "states.safetensors")

    # The same file, its weights in another one.
    split = into / "external-data"
    shutil.copytree(folder, split)
    whole = onnx.load(split / "model.onnx")
    (split / "model.onnx").unlink()
    options = dict(all_tensors_to_one_file=True, location="model.onnx_data", size_threshold=64)
    onnx.save_model(whole, str(split / "model.onnx"), save_as_external_data=True, **options)

    folder, source, model = fresh("optimum-sentence", transformers.BertModel)
    sentence_modules(source, "mean")
    optimum(source, folder, "feature-extraction", library_name="sentence_transformers")
    sentence_modules(folder, "mean")
    finish(folder, "model.onnx", model, "sentence_embedding", "mean", True)

    folder, source, model = fresh("sentence-transformers", transformers.BertModel)
    sentence_modules(source, "cls")
    from sentence_transformers import SentenceTransformer

    SentenceTransformer(str(source), backend="onnx", model_kwargs=dict(export=True)).save_pretrained(str(folder))
    sentence_modules(folder, "cls")
    finish(folder, "onnx/model.onnx", model, "last_hidden_state", "cls", True)

    labels = dict(id2label={0: "a", 1: "b", 2: "c"}, problem_type="multi_label_classification")
    folder, source, model = fresh("optimum-classifier", transformers.BertForSequenceClassification, **labels)
    optimum(source, folder, "text-classification", library_name="transformers")
    finish(folder, "model.onnx", model, pooling="cls")
    shutil.copyfile(source / "model.safetensors", weights / "classifier.safetensors")

    folder, source, model = fresh("torch-traced-int32", transformers.RobertaModel, pad_token_id=1, type_vocab_size=1)
    copy_small(source, folder)
    traced(model, folder / "encoder.onnx", kind=torch.int32, dynamo=False)
    finish(folder, "encoder.onnx", model)

    folder, source, model = fresh("torch-fixed", transformers.DistilBertModel, dim=16, n_layers=1, n_heads=2, hidden_dim=24)
    copy_small(source, folder)
    traced(model, folder / "encoder.onnx", free=False, dynamo=False)

    folder, source, model = fresh("torch-program", transformers.DistilBertModel, dim=16, n_layers=2, n_heads=2, hidden_dim=24)
    copy_small(source, folder)
    traced(model, folder / "encoder.onnx", dynamo=True, external_data=False)
    program = onnx.load(folder / "encoder.onnx")
    for node in program.graph.node:
        # Stack traces: four fifths of the file.
        del node.metadata_props[:]
    onnx.save(program, folder / "encoder.onnx")
    finish(folder, "encoder.onnx", model)

    folder, source, model = fresh("half", transformers.BertModel)
    copy_small(source, folder)
    traced(model.half(), folder / "encoder.onnx", dynamo=False)
    finish(folder, "encoder.onnx", model.float())


def main():
    root = pathlib.Path(__file__).resolve().parents[2] / "tests/data"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=pathlib.Path, default=root / "onnx")
    into = parser.parse_args().into
    shutil.rmtree(into, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        make(into, root / "tiny-architectures/tokenizer.json", pathlib.Path(scratch))


if __name__ == "__main__":
    main()
