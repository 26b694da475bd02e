"""One peer encodes one corpus in a process of its own; prints what it took as one JSON object.

Each peer is used as its own documentation shows, and told the threads and the maximum length that all sides have.
`--prepare FOLDER` writes the exported model that the peer loads instead, and measures nothing.
"""

import argparse
import importlib.metadata
import json
import platform
import resource
import shutil
import sys
import time
from pathlib import Path


def torch_encoder(model, options):
    """sentence-transformers on torch."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(options.threads)
    return sentence_encoder(SentenceTransformer(model, device="cpu"), options)


def onnx_encoder(model, options):
    """sentence-transformers on ONNX Runtime, by its `backend="onnx"`."""
    import onnxruntime
    from sentence_transformers import SentenceTransformer

    session = onnxruntime.SessionOptions()
    session.intra_op_num_threads = options.threads
    arguments = {"provider": "CPUExecutionProvider", "session_options": session, "file_name": "onnx/model.onnx"}
    return sentence_encoder(SentenceTransformer(model, backend="onnx", device="cpu", model_kwargs=arguments), options)


def int8_encoder(model, options):
    """sentence-transformers on ONNX Runtime with the int8 model that its own function wrote."""
    import onnxruntime
    from sentence_transformers import SentenceTransformer

    session = onnxruntime.SessionOptions()
    session.intra_op_num_threads = options.threads
    arguments = {"provider": "CPUExecutionProvider", "session_options": session, "file_name": "onnx/model_qint8_avx512_vnni.onnx"}
    return sentence_encoder(SentenceTransformer(model, backend="onnx", device="cpu", model_kwargs=arguments), options)


def openvino_encoder(model, options):
    """sentence-transformers on OpenVINO, by its `backend="openvino"`, kept in fp32."""
    from sentence_transformers import SentenceTransformer

    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(options.threads)}
    arguments = {"device": "CPU", "ov_config": config, "file_name": "openvino/openvino_model.xml"}
    return sentence_encoder(SentenceTransformer(model, backend="openvino", device="cpu", model_kwargs=arguments), options)


def sentence_encoder(model, options):
    model.max_seq_length = options.max_length
    return lambda texts, batch_size: model.encode(texts, batch_size=batch_size, show_progress_bar=False)


def pools_first(model):
    """Whether the model's vectors are the states of the first token; else they are the mean."""
    stated = json.loads(Path(model, "1_Pooling", "config.json").read_text())
    return stated.get("pooling_mode_cls_token", stated.get("pooling_mode") == "cls")


def fastembed_encoder(model, options):
    """fastembed with the exported graph as a custom model."""
    import numpy
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model="local/encoder", pooling=PoolingType.CLS if pools_first(model) else PoolingType.MEAN, normalization=True,
        sources=ModelSource(hf="local/encoder"), dim=json.loads(Path(model, "config.json").read_text())["hidden_size"],
        model_file="onnx/model.onnx")
    encoder = TextEmbedding("local/encoder", specific_model_path=model, threads=options.threads, cuda=False)
    return lambda texts, batch_size: numpy.stack(list(encoder.embed(texts, batch_size=batch_size)))


def optimum_int8_encoder(model, options):
    """The same of the int8 model that optimum's own quantizer wrote."""
    return optimum_encoder(model, options, "model_quantized.onnx")


def optimum_encoder(model, options, file_name="model.onnx"):
    """optimum's ONNX Runtime model with transformers' tokenizer: pooling and normalization as on model cards."""
    import numpy
    import onnxruntime
    from optimum.onnxruntime import ORTModelForFeatureExtraction
    from transformers import AutoTokenizer

    session = onnxruntime.SessionOptions()
    session.intra_op_num_threads = options.threads
    first = pools_first(model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    encoder = ORTModelForFeatureExtraction.from_pretrained(
        model, subfolder="onnx", file_name=file_name, provider="CPUExecutionProvider", session_options=session)

    def encode(texts, batch_size):
        rows = []
        for start in range(0, len(texts), batch_size):
            inputs = tokenizer(texts[start : start + batch_size], padding=True, truncation=True,
                               max_length=options.max_length, return_tensors="np")
            states = encoder(**inputs).last_hidden_state
            mask = inputs["attention_mask"][..., None].astype(numpy.float32)
            pooled = states[:, 0] if first else (states * mask).sum(1) / numpy.maximum(mask.sum(1), 1e-9)
            rows.append(pooled / numpy.linalg.norm(pooled, axis=1, keepdims=True))
        return numpy.concatenate(rows)

    return encode


# By name: the loader, and the packages whose versions are written down.
PEERS = {
    "sentence-transformers": (torch_encoder, ["sentence-transformers", "transformers", "torch"]),
    "sentence-transformers onnx": (onnx_encoder, ["sentence-transformers", "transformers", "optimum-onnx", "onnxruntime"]),
    "sentence-transformers openvino": (openvino_encoder, ["sentence-transformers", "transformers", "optimum-intel", "openvino"]),
    "fastembed": (fastembed_encoder, ["fastembed", "tokenizers", "onnxruntime"]),
    "optimum": (optimum_encoder, ["optimum-onnx", "transformers", "onnxruntime"]),
    "sentence-transformers int8": (int8_encoder, ["sentence-transformers", "transformers", "optimum-onnx", "onnxruntime"]),
    "optimum int8": (optimum_int8_encoder, ["optimum-onnx", "transformers", "onnxruntime"]),
}


def prepare(peer, model, folder, max_length):
    """Writes `model` as the peer's own exporter does; tokenizer_config.json names the maximum length for fastembed."""
    from sentence_transformers import SentenceTransformer

    backend = "openvino" if peer.endswith("openvino") else "onnx"
    options = {"export": True, "provider": "CPUExecutionProvider"} if backend == "onnx" else {"export": True}
    SentenceTransformer(model, backend=backend, device="cpu", model_kwargs=options).save_pretrained(folder)
    if peer.endswith("int8"):
        quantize(peer, folder)
    path = Path(folder, "tokenizer_config.json")
    config = json.loads(path.read_text())
    path.write_text(json.dumps(dict(config, model_max_length=max_length, max_length=max_length), indent=2))


def quantize(peer, folder):
    """Adds the int8 model of the peer, as its documentation makes it for processors with VNNI."""
    if peer.startswith("optimum"):
        from optimum.onnxruntime import ORTQuantizer
        from optimum.onnxruntime.configuration import AutoQuantizationConfig

        kind = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
        quantizer = ORTQuantizer.from_pretrained(Path(folder, "onnx"), file_name="model.onnx")
        quantizer.quantize(quantization_config=kind, save_dir=Path(folder, "onnx"))
    else:
        from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

        model = SentenceTransformer(folder, backend="onnx", device="cpu", model_kwargs={"file_name": "onnx/model.onnx"})
        export_dynamic_quantized_onnx_model(model, "avx512_vnni", folder)


def make_base(model, folder, first):
    """A checkpoint of BERT-base size with random weights (seed 0), and the tokenizer and modules of `model`, whose files all
    versions of sentence-transformers read; `first` pools the first token's states in the place of their mean."""
    import torch
    from transformers import BertConfig, BertModel

    base = Path(folder, "model")
    shutil.copytree(model, base, ignore=shutil.ignore_patterns("*.safetensors", "*.bin", "*.onnx"))
    torch.manual_seed(0)
    config = BertConfig()
    BertModel(config).save_pretrained(base)
    pooling = base / "1_Pooling" / "config.json"
    stated = json.loads(pooling.read_text())
    stated |= {"pooling_mode_cls_token": first, "pooling_mode_mean_tokens": not first}
    pooling.write_text(json.dumps(stated | {"word_embedding_dimension": config.hidden_size}))
    # What transformers reads of lengths beside its own config.
    sentences = base / "sentence_bert_config.json"
    lengths = json.loads(sentences.read_text())
    sentences.write_text(json.dumps(lengths | {"max_seq_length": config.max_position_embeddings}))


def agreement(vectors, other):
    """How near the peer's vectors are to those of the other side."""
    import numpy

    own, other = vectors.astype(numpy.float64), numpy.load(other).astype(numpy.float64)
    cosine = (own * other).sum(1) / (numpy.linalg.norm(own, axis=1) * numpy.linalg.norm(other, axis=1))
    return {
        "texts": len(own),
        "cosine_min": float(cosine.min()),
        "cosine_mean": float(cosine.mean()),
        "max_abs_difference": float(numpy.abs(own - other).max()),
    }


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", choices=PEERS)
    parser.add_argument("--model")
    parser.add_argument("--prepare")
    parser.add_argument("--make-base", help="write a checkpoint of BERT-base size into this folder and end")
    parser.add_argument("--first", action="store_true", help="with --make-base: pool the first token's states, not their mean")
    parser.add_argument("--agree", help="compare this .npy with that of --compare and end")
    parser.add_argument("--save", help="write the vectors of the last batch size to this .npy")
    parser.add_argument("--corpus")
    parser.add_argument("--limit", type=int, help="texts at most")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batch-sizes", help="each is timed in turn")
    parser.add_argument("--max-length", type=int)
    parser.add_argument("--compare", help="an .npy of the other side, compared after everything was measured")
    return parser.parse_args()


def main():
    options = parse()
    if options.make_base:
        make_base(options.model, options.make_base, options.first)
        return print("{}")
    if options.agree:
        import numpy

        return print(json.dumps(agreement(numpy.load(options.agree), options.compare)))
    if options.prepare:
        prepare(options.peer, options.model, options.prepare, options.max_length)
        return print("{}")
    load, packages = PEERS[options.peer]
    started = time.perf_counter()
    encode = load(options.model, options)
    loaded = time.perf_counter()
    with open(options.corpus, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines][: options.limit]
    # The first call builds what later ones reuse; it is not timed.
    encode(["one short text", "another one"], 2)
    seconds = {}
    for size in options.batch_sizes.split(","):
        start = time.perf_counter()
        vectors = encode(texts, int(size))
        seconds[size] = time.perf_counter() - start
    result = {
        "load_seconds": loaded - started,
        "seconds": seconds,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "versions": {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}},
    }
    if options.save:
        import numpy

        numpy.save(options.save, vectors)
    if options.compare:
        result["agreement"] = agreement(vectors, options.compare)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
