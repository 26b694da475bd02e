//! Sessions on graphs that compute what a reader can: those in tests/data/tiny-graph are described in the script beside them.

use super::*;
use crate::runtime::ProviderChoice;

/// The library of this machine; without one, a test that needs it says so and passes.
fn runtime() -> Option<OnnxRuntime> {
    match OnnxRuntime::load(None) {
        Ok(runtime) => Some(runtime),
        Err(error @ Error::LibraryNotFound { .. }) => {
            eprintln!("skipped: {error}; {}", error.hint().unwrap());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn options(graph: &str) -> SessionOptions {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny-graph");
    SessionOptions { graph: folder.join(graph), provider: ProviderChoice::Cpu.into(), threads: 2 }
}

fn batch(ids: &[i64], mask: &[i64], columns: usize) -> Batch {
    let rows = ids.len() / columns;
    Batch { ids: ids.to_vec(), mask: mask.to_vec(), rows, columns, adapters: Vec::new() }
}

#[test]
fn a_batch_gives_one_embedding_per_row_the_same_alone_and_padded() {
    let Some(runtime) = runtime() else { return };
    let mut session = EncoderSession::open(&runtime, &options("encoder.onnx")).unwrap();
    assert_eq!((session.provider(), session.dim()), ("CPUExecutionProvider", 4));
    let alone = session.run(&batch(&[3, 4, 4], &[1, 1, 1], 3)).unwrap();
    let padded = session.run(&batch(&[9, 0, 0, 0, 3, 4, 4, 0], &[1, 0, 0, 0, 1, 1, 1, 0], 4)).unwrap();
    assert_eq!((padded.rows, padded.dim), (2, 4));
    assert_eq!(padded.row(0), [9.0, 9.25, 9.5, 9.75]);
    assert_eq!(padded.row(1), alone.row(0));
    assert!((f64::from(alone.data[0]) - 11.0 / 3.0).abs() < 1e-6);
    let none = session.run(&batch(&[], &[], 1)).unwrap();
    assert_eq!((none.rows, none.dim, none.data.len()), (0, 4, 0));
}

#[test]
fn a_value_that_is_not_finite_is_an_error_that_names_its_row() {
    let Some(runtime) = runtime() else { return };
    let mut session = EncoderSession::open(&runtime, &options("log.onnx")).unwrap();
    let error = session.run(&batch(&[1, 1, 0, 0], &[1, 1, 1, 1], 2)).unwrap_err();
    let expected = "output `sentence_embedding` holds -inf at row 1, column 0 of a batch of 2: expected finite numbers";
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().is_some());
    assert!(session.run(&batch(&[1, 1], &[1, 1], 2)).is_ok());
}

#[test]
fn a_graph_that_is_no_encoder_is_refused_with_what_it_takes_and_gives() {
    let Some(runtime) = runtime() else { return };
    let open = |graph: &str| EncoderSession::open(&runtime, &options(graph)).unwrap_err().to_string();
    let inputs = open("no_mask.onnx");
    assert!(inputs.contains("takes `input_ids`: Tensor<i64>"), "{inputs}");
    assert!(inputs.ends_with("expected `input_ids` and `attention_mask`, int64 of shape [batch, sequence], both free"));
    let outputs = open("free_dim.onnx");
    assert!(outputs.contains("gives `sentence_embedding`: Tensor<f32>"), "{outputs}");
    assert!(outputs.ends_with("expected `sentence_embedding`, float32 of shape [batch, fixed length]"), "{outputs}");
    assert!(open("make.py").ends_with("make.py` could not be opened as a graph"));
    assert!(open("nowhere.onnx").starts_with("no graph at `"));
    let none = EncoderSession::open(&runtime, &SessionOptions { threads: 0, ..options("encoder.onnx") });
    assert_eq!(none.unwrap_err().to_string(), "a session needs at least 1 thread, got 0");
}

#[test]
fn what_onnx_runtime_refuses_keeps_its_reason() {
    let Some(runtime) = runtime() else { return };
    let mut session = EncoderSession::open(&runtime, &options("encoder.onnx")).unwrap();
    let error = session.run(&batch(&[99], &[1], 1)).unwrap_err();
    assert_eq!(error.to_string(), "a batch of 1 rows × 1 tokens could not be run");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("indices element out of data bounds"));
    let mut wide = EncoderSession::open(&runtime, &options("two_rows.onnx")).unwrap();
    let error = wide.run(&batch(&[1, 2], &[1, 1], 1)).unwrap_err();
    assert_eq!(error.to_string(), "output `sentence_embedding` has shape [4, 4], expected [2, 4]");
}

#[test]
fn one_batch_may_mix_adapters_and_a_session_may_have_one_for_all() {
    let Some(runtime) = runtime() else { return };
    let mut session = EncoderSession::open(&runtime, &options("adapters.onnx")).unwrap();
    assert!(session.takes_adapter());
    let without = batch(&[8, 0, 3, 5], &[1, 0, 1, 1], 2);
    let mixed = session.run(&Batch { adapters: vec![2, 0], ..without.clone() }).unwrap();
    assert_eq!(mixed.row(0), [8.0 * 9.0, 8.25 * 10.0, 8.5 * 11.0, 8.75 * 12.0]);
    assert_eq!(mixed.row(1), [4.0, 4.25 * 2.0, 4.5 * 3.0, 4.75 * 4.0]);
    let alone = session.run(&Batch { adapters: vec![2], ..batch(&[8], &[1], 1) }).unwrap();
    assert_eq!(alone.row(0), mixed.row(0));
    let error = session.run(&without).unwrap_err().to_string();
    assert_eq!(error, "a batch of 2 rows names 0 adapters, the graph takes 2");
    let error = session.run(&Batch { adapters: vec![3, 0], ..without.clone() }).unwrap_err();
    assert_eq!(error.to_string(), "a batch of 2 rows × 2 tokens could not be run", "there are three");
    let mut fixed = session.with_adapter(AdapterChoice::Fixed(0));
    assert_eq!(fixed.run(&without).unwrap().row(1), mixed.row(1));
    let mut plain = EncoderSession::open(&runtime, &options("encoder.onnx")).unwrap();
    assert!(!plain.takes_adapter());
    let error = plain.run(&Batch { adapters: vec![0, 0], ..without }).unwrap_err().to_string();
    assert_eq!(error, "a batch of 2 rows names 2 adapters, the graph takes 0");
    let error = EncoderSession::open(&runtime, &options("adapter_table.onnx")).unwrap_err().to_string();
    assert!(error.ends_with("[batch, sequence], both free; `adapter`, int64 of shape [batch]"), "{error}");
}

#[test]
fn sessions_live_side_by_side_and_on_other_threads() {
    let Some(runtime) = runtime() else { return };
    let run = |id: i64| {
        let mut session = EncoderSession::open(&runtime, &options("encoder.onnx")).unwrap();
        std::thread::spawn(move || session.run(&batch(&[id], &[1], 1)).unwrap().data[0])
    };
    let runs: Vec<_> = (0..4).map(run).collect();
    let values: Vec<f32> = runs.into_iter().map(|run| run.join().unwrap()).collect();
    assert_eq!(values, [0.0, 1.0, 2.0, 3.0]);
}
