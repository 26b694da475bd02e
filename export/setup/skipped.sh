#!/bin/sh
# Says before the tests what they will and will not cover. The tests skip by the same variables.
set -u
present() { printf '  %-22s %s\n' "$1" "$2"; }

echo "tests use:"
present "ONNX Runtime" "$ORT_DYLIB_PATH"
present "MiniLM weights" "$OFFPRINT_MINILM"
present "OpenVINO" "${OFFPRINT_OPENVINO:-none: the tests on it are skipped (make openvino-venv)}"
present "onnxruntime-gpu" "${OFFPRINT_ORT_GPU:-none: the refusals of CUDA and TensorRT are skipped (set OFFPRINT_ORT_GPU to its library)}"
if [ -n "${OFFPRINT_DATA:-}" ] && [ -d "$OFFPRINT_DATA" ]; then
    present "labelled sets" "$OFFPRINT_DATA"
else
    present "labelled sets" "none: the tests that need them are skipped (set OFFPRINT_DATA to their folder)"
fi
