"""One peer encodes one corpus in a process of its own; prints what it took as one JSON object.

Each peer is used as its own documentation shows, and told the threads and the maximum length that all sides have.
`--prepare FOLDER` writes the exported model that the peer loads instead, and measures nothing.
"""

import argparse
import importlib.metadata
import json
import platform
import resource
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


def openvino_encoder(model, options):
    """sentence-transformers on OpenVINO, by its `backend="openvino"`, kept in fp32."""
    from sentence_transformers import SentenceTransformer

    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(options.threads)}
    arguments = {"device": "CPU", "ov_config": config, "file_name": "openvino/openvino_model.xml"}
    return sentence_encoder(SentenceTransformer(model, backend="openvino", device="cpu", model_kwargs=arguments), options)


def sentence_encoder(model, options):
    model.max_seq_length = options.max_length
    return lambda texts, batch_size: model.encode(texts, batch_size=batch_size, show_progress_bar=False)


def fastembed_encoder(model, options):
    """fastembed with the exported graph as a custom model."""
    import numpy
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model="local/minilm", pooling=PoolingType.MEAN, normalization=True, sources=ModelSource(hf="local/minilm"),
        dim=384, model_file="onnx/model.onnx")
    encoder = TextEmbedding("local/minilm", specific_model_path=model, threads=options.threads, cuda=False)
    return lambda texts, batch_size: numpy.stack(list(encoder.embed(texts, batch_size=batch_size)))


def optimum_encoder(model, options):
    """optimum's ONNX Runtime model with transformers' tokenizer: mean pooling and normalization as on the model card."""
    import numpy
    import onnxruntime
    from optimum.onnxruntime import ORTModelForFeatureExtraction
    from transformers import AutoTokenizer

    session = onnxruntime.SessionOptions()
    session.intra_op_num_threads = options.threads
    tokenizer = AutoTokenizer.from_pretrained(model)
    encoder = ORTModelForFeatureExtraction.from_pretrained(
        model, subfolder="onnx", provider="CPUExecutionProvider", session_options=session)

    def encode(texts, batch_size):
        rows = []
        for start in range(0, len(texts), batch_size):
            inputs = tokenizer(texts[start : start + batch_size], padding=True, truncation=True,
                               max_length=options.max_length, return_tensors="np")
            states = encoder(**inputs).last_hidden_state
            mask = inputs["attention_mask"][..., None].astype(numpy.float32)
            pooled = (states * mask).sum(1) / numpy.maximum(mask.sum(1), 1e-9)
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
}


def prepare(peer, model, folder, max_length):
    """Writes `model` as the peer's own exporter does; tokenizer_config.json names the maximum length for fastembed."""
    from sentence_transformers import SentenceTransformer

    backend = "openvino" if peer.endswith("openvino") else "onnx"
    options = {"export": True, "provider": "CPUExecutionProvider"} if backend == "onnx" else {"export": True}
    SentenceTransformer(model, backend=backend, device="cpu", model_kwargs=options).save_pretrained(folder)
    path = Path(folder, "tokenizer_config.json")
    config = json.loads(path.read_text())
    path.write_text(json.dumps(dict(config, model_max_length=max_length, max_length=max_length), indent=2))


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
    parser.add_argument("--peer", required=True, choices=PEERS)
    parser.add_argument("--model", required=True)
    parser.add_argument("--prepare")
    parser.add_argument("--corpus")
    parser.add_argument("--limit", type=int, help="texts at most")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batch-sizes", help="each is timed in turn")
    parser.add_argument("--max-length", type=int, required=True)
    parser.add_argument("--compare", help="an .npy of the other side, compared after everything was measured")
    return parser.parse_args()


def main():
    options = parse()
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
    if options.compare:
        result["agreement"] = agreement(vectors, options.compare)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
