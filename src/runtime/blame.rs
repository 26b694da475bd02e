//! What a failed run may be put down to: memory, a text of the batch, or neither of them.
//!
//! Owns the words by which a failed allocation is known. Knows nothing of what is done about it. Invariant: an error
//! that would meet every batch alike is never put down to a text.

use super::Error;

/// How a failed allocation is worded by ONNX Runtime and the libraries below it, in lower case. There is no error code
/// for it: the arena and CUDA report it as any other failure of an operator.
const OUT_OF_MEMORY: [&str; 9] = [
    // ONNX Runtime's arena: the device has no more to give, or the limit that was set for the arena is reached.
    "failed to allocate memory for requested buffer",
    "is smaller than requested bytes",
    // What is taken beside the arena: the C++ libraries of Linux and macOS, that of Windows.
    "bad_alloc",
    "bad allocation",
    // CUDA's runtime and driver, and TensorRT; OpenCL below OpenVINO; DirectML.
    "out of memory",
    "out_of_memory",
    "cl_out_of_",
    "not enough memory",
    // cuBLAS and cuDNN.
    "status_alloc_failed",
];

impl Error {
    /// Whether a batch could not be run for want of memory, so that a smaller one may do. A wording that is not known
    /// counts as another failure.
    pub fn is_out_of_memory(&self) -> bool {
        match self {
            Self::Run { source, .. } => speaks_of_memory(source.message()),
            Self::StubMemory { .. } => true,
            _ => false,
        }
    }

    /// Whether one text of the batch may have caused it, so that the others could be run without that one.
    pub fn may_be_of_a_text(&self) -> bool {
        matches!(
            self,
            Self::Run { .. }
                | Self::NotFinite { .. }
                | Self::StubFailure { .. }
                | Self::StubToken { .. }
                | Self::StubMemory { .. }
        )
    }
}

fn speaks_of_memory(message: &str) -> bool {
    let message = message.to_lowercase();
    OUT_OF_MEMORY.iter().any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_allocation_is_known_by_its_words() {
        for message in [
            "Non-zero status code returned while running Conv node. Name:'Conv_117' Status Message: bfc_arena.cc:358 \
             void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to allocate \
             memory for requested buffer of size 26216448",
            "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool) Available memory of 0 is smaller than requested \
             bytes of 268435456",
            "Non-zero status code returned while running FusedMatMul node. Name:'m' Status Message: bad allocation",
            "std::bad_alloc",
            "onnxruntime::CudaCall CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; expr=cudaMalloc(&p, size);",
            "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cublasCreate(&cublas_handle_);",
            "CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED ; GPU=0",
            "[GPU] clEnqueueNDRangeKernel, error code: -5 CL_OUT_OF_RESOURCES",
            "Exception(3) tid(9264) 8007000E Not enough memory resources are available to complete this operation.",
        ] {
            assert!(speaks_of_memory(message), "{message}");
        }
        for message in [
            "Non-zero status code returned while running Gather node. Name:'' Status Message: indices element out of \
             data bounds, idx=99 must be within the inclusive range [-32,31]",
            "invalid memory pattern",
            "std::out_of_range: vector::_M_range_check",
            "CUDA failure 700: an illegal memory access was encountered ; GPU=0",
            "",
        ] {
            assert!(!speaks_of_memory(message), "{message}");
        }
    }

    #[test]
    fn what_meets_every_batch_alike_is_put_down_to_no_text() {
        let not_finite = Error::NotFinite { output: "o".into(), value: f32::NAN, row: 1, column: 0, rows: 4 };
        assert!(not_finite.may_be_of_a_text() && !not_finite.is_out_of_memory());
        let memory = Error::StubMemory { tokens: 9, room: 8 };
        assert!(memory.may_be_of_a_text() && memory.is_out_of_memory());
        for error in [
            Error::OutputShape { output: "o".into(), got: vec![1], expected: [2, 4] },
            Error::OutputMissing { output: "o".into() },
            Error::BatchAdapters { rows: 1, got: 1, expected: 0 },
            Error::Threads { threads: 0 },
        ] {
            assert!(!error.may_be_of_a_text() && !error.is_out_of_memory(), "{error}");
        }
    }
}
