//! Promise: engines for TensorRT are planned without a GPU for every batch that a run can make, built only by TensorRT
//! itself, kept under a name that all that decides them is part of, and removed when asked.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use common::{Workplace, minilm_bundle, tiny_bundle, tiny_reference_bundle};
use offprint::encode::{self, TokenBudget};
use offprint::model::Precision;
use offprint::runtime::ProviderChoice;
use offprint::runtime::tensorrt::{
    BatchShape, EngineSetting, EngineStore, EngineTarget, Gpu, PlanLimits, ShapeGuard, ShapeHistogram, plan_profiles,
};
use proptest::prelude::*;
use serde_json::Value;

/// Papers of one to forty words.
fn papers(rows: usize) -> String {
    let words = |row: usize| vec!["coral"; 1 + row * 7 % 40].join(" ");
    (0..rows).map(|row| format!("{{\"id\": \"p{row}\", \"title\": \"{} {row}\"}}\n", words(row))).collect()
}

fn place() -> Workplace {
    let place = Workplace::new();
    place.write("papers.jsonl", papers(300));
    place
}

fn planned(place: &Workplace, more: &[&str]) -> Value {
    let args = [&["engine", "plan", "--model", tiny_bundle(), "papers.jsonl", "--json"], more].concat();
    place.run(&args, 0).json()
}

/// Rows and columns of a shape.
fn shape(value: &Value) -> [u64; 2] {
    ["rows", "columns"].map(|side| value[side].as_u64().unwrap())
}

#[test]
fn a_plan_covers_every_length_and_says_what_the_provider_is_told() {
    let place = place();
    let plan = planned(&place, &["--max-batch-tokens", "2048"]);
    let longest = plan["limits"]["max_length"].as_u64().unwrap();
    let profiles = plan["profiles"].as_array().unwrap();
    // Batches are no narrower than 8 tokens, and their widths are multiples of it.
    let mut next = 8;
    for profile in profiles {
        let [rows, columns] = shape(&profile["min"]);
        assert_eq!((rows, columns), (1, next), "{plan:#}");
        let [rows, columns] = shape(&profile["max"]);
        assert_eq!(rows, (2048 / next.next_multiple_of(8).min(longest)).min(4_096));
        let tuned_for = shape(&profile["opt"])[1];
        assert!(tuned_for.is_multiple_of(8) || tuned_for == longest, "{plan:#}");
        next = columns + 1;
    }
    assert_eq!(next, longest + 1);
    assert!((1..=8).contains(&profiles.len()));
    assert_eq!((plan["corpus"]["rows"].as_u64(), plan["corpus"]["rejected"].as_u64()), (Some(300), Some(0)));
    assert!(plan["padding_share"].as_f64().unwrap() < 0.1);

    let options = plan["options"].as_array().unwrap();
    assert_eq!(options.len(), profiles.len());
    for (number, (told, profile)) in options.iter().zip(profiles).enumerate() {
        for (name, side) in [("min", "min"), ("opt", "opt"), ("max", "max")] {
            let [rows, columns] = shape(&profile[side]);
            let expected = format!("input_ids:{rows}x{columns},attention_mask:{rows}x{columns}");
            assert_eq!(told[format!("trt_profile_{name}_shapes")], expected);
        }
        let folder = PathBuf::from(told["trt_engine_cache_path"].as_str().unwrap());
        assert_eq!(folder, PathBuf::from(plan["folder"].as_str().unwrap()).join(format!("p{number}")));
        assert_eq!((&told["trt_fp16_enable"], &told["trt_engine_cache_enable"]), (&"0".into(), &"1".into()));
    }
    assert_eq!(planned(&place, &["--max-batch-tokens", "2048"]), plan, "the same each time");
    assert!(!place.path("cache/engines").exists(), "a plan keeps nothing");
}

#[test]
fn a_plan_is_shown_to_people_as_a_table() {
    let place = place();
    let args = ["engine", "plan", "--model", tiny_bundle(), "papers.jsonl"];
    let said = place.run(&args, 0).stdout;
    for part in [
        "engines for ",
        " padded tokens a batch",
        "corpus: 300 papers, ",
        "tuned for",
        "folder: ",
        "every engine is told:",
    ] {
        assert!(said.contains(part), "expected {part:?} in:\n{said}");
    }
    assert!(said.contains("    trt_timing_cache_enable=1\n"), "{said}");
    assert!(said.contains("  engine 1:\n    trt_engine_cache_path="), "{said}");
}

#[test]
fn another_budget_another_model_and_another_corpus_get_other_names() {
    let place = place();
    let folder = |plan: &Value| plan["folder"].as_str().unwrap().to_owned();
    let first = folder(&planned(&place, &[]));
    assert_ne!(folder(&planned(&place, &["--max-batch-tokens", "4096"])), first);
    assert_ne!(folder(&planned(&place, &["--max-engines", "1"])), first);
    let other = tiny_reference_bundle("cls");
    let args = ["engine", "plan", "--model", &other, "papers.jsonl", "--json"];
    let plan = place.run(&args, 0).json();
    assert_ne!(folder(&plan), first);
    let name = |path: &str| PathBuf::from(path).file_name().unwrap().to_string_lossy().into_owned();
    assert_ne!(name(&folder(&plan))[..12], name(&first)[..12], "the graph's hash comes first");
}

#[test]
fn what_no_engine_can_be_planned_for_is_refused() {
    let place = place();
    let refused = |more: &[&str], parts: &[&str]| {
        let args = [&["engine", "plan", "--model", tiny_bundle(), "papers.jsonl"], more].concat();
        let said = place.run(&args, 2);
        said.expect(parts);
        assert!(said.stdout.is_empty(), "{}", said.stdout);
    };
    refused(
        &["--provider", "cuda"],
        &["error: engines are TensorRT's, got `--provider cuda`", "  hint: leave `--provider` out"],
    );
    refused(&["--provider", "tensorrt:x"], &["error: `tensorrt` has devices 0, 1 and so on, got `x`"]);
    refused(&["--max-batch-tokens", "1"], &["error: `--max-batch-tokens 1` is below the longest input"]);
    refused(&["--max-engines", "9"], &["error: invalid value '9' for '--max-engines <N>'"]);
    refused(&["--ort-lib", "nowhere.so"], &["error: no ONNX Runtime library at `"]);
    place.write("empty.jsonl", "");
    place
        .run(&["engine", "plan", "--model", tiny_bundle(), "empty.jsonl"], 2)
        .expect(&["error: the corpus holds no rows"]);
    place.write("bad.jsonl", "{\"id\": 1, \"title\": \"fine\"}\n{\"id\": 2, \"title\": 3}\n");
    let said = place.run(&["engine", "plan", "--model", tiny_bundle(), "bad.jsonl"], 0).stdout;
    assert!(said.contains("  left out: 1 row that cannot be used\n"), "{said}");
}

/// `engine build` with the fp32 graph of the tests, as far as it goes.
fn build(place: &Workplace, more: &[&str]) -> common::Said {
    let args = [&["engine", "build", "--model", tiny_bundle(), "papers.jsonl"], more].concat();
    let output = place.command(&args).env("NVIDIA_TF32_OVERRIDE", "0").output().unwrap();
    common::Said::new(output, 2)
}

#[test]
fn without_its_provider_a_build_ends_before_the_corpus_is_read() {
    let place = place();
    let args = ["engine", "build", "--model", tiny_bundle(), "papers.jsonl"];
    let output = place.command(&args).env_remove("NVIDIA_TF32_OVERRIDE").output().unwrap();
    common::Said::new(output, 2).expect(&["fp32", "TF32", "NVIDIA_TF32_OVERRIDE"]);
    let providers = place.run(&["doctor", "--json"], 0).json()["library"]["providers"].to_string();
    if providers.contains("Tensorrt") {
        println!("skipped: the ONNX Runtime of this machine has a TensorRT provider");
        return;
    }
    build(&place, &[]).expect(&[
        "error: the loaded ONNX Runtime at `",
        "has no `TensorrtExecutionProvider`",
        "  hint: `pip install 'onnxruntime-gpu",
    ]);
    assert!(!place.path("cache/engines").exists(), "nothing is left");
}

#[test]
fn with_its_provider_and_without_tensorrt_the_missing_library_is_named() {
    let Some(library) = std::env::var_os("OFFPRINT_ORT_GPU").filter(|path| !path.is_empty()) else {
        println!("skipped: OFFPRINT_ORT_GPU does not name the library of onnxruntime-gpu");
        return;
    };
    if Gpu::read(0).is_some() {
        println!("skipped: this machine has a GPU, on which engines would be built");
        return;
    }
    let place = place();
    let said = build(&place, &["--ort-lib", library.to_str().unwrap()]);
    said.expect(&["error: `TensorrtExecutionProvider` cannot be used: ", ".so", "  hint: "]);
    assert!(!place.path("cache/engines").exists(), "nothing is left");
}

/// Engines as TensorRT would leave them.
fn fill(place: &Workplace, graph: &str, engines: usize) -> EngineSetting {
    let limits = PlanLimits { max_length: 128, batch_tokens: 4_096, batch_rows: 4_096, step: 8, profiles: 8 };
    let plan = plan_profiles(&ShapeHistogram::default(), limits).unwrap();
    assert!(plan.profiles.len() >= 2);
    let setting = EngineSetting { graph: graph.repeat(16), precision: Precision::Fp16, takes_adapter: false, plan };
    let some = |text: &str| Some(text.to_owned());
    let target = EngineTarget { onnxruntime: some("1.31.1"), tensorrt: some("10.13.3"), architecture: some("sm90") };
    let store = EngineStore::in_cache(&place.path("cache"));
    let mut building = store.begin((&setting, &target), ("tiny", None)).unwrap();
    for _ in 0..engines {
        let Some(folder) = building.next_folder().unwrap() else { break };
        fs::write(folder.join("TRTKernel_sm90.engine"), vec![1; 1_000]).unwrap();
        building.built(Duration::from_secs(61)).unwrap();
    }
    setting
}

#[test]
fn engines_are_listed_and_removed() {
    let place = Workplace::new();
    assert!(place.run(&["engine", "list"], 0).stdout.ends_with("engines: empty\n"));
    fill(&place, "aaaa", 8);
    fill(&place, "bbbb", 1);
    let said = place.run(&["engine", "list"], 0).stdout;
    for part in [
        "  aaaaaaaaaaaa-",
        "-ort1.31.1-trt10.13.3-sm90\n    tiny, fp16, up to 128 tokens, 4,096 padded tokens a batch\n",
        "    unfinished: 1 of ",
        " engines, built in ",
    ] {
        assert!(said.contains(part), "expected {part:?} in:\n{said}");
    }
    let listed = place.run(&["engine", "list", "--json"], 0).json();
    let complete = |at: usize| listed["engines"][at]["complete"].as_bool().unwrap();
    assert_eq!((complete(0), complete(1), listed["engines"].as_array().unwrap().len()), (true, false, 2));

    place
        .run(&["engine", "prune"], 2)
        .expect(&["error: nothing was chosen to be removed", "  hint: name engines with"]);
    place.run(&["engine", "prune", "--engine", "zz"], 2).expect(&["have a name that begins with `zz`", "engine list"]);
    let dry = place.run(&["engine", "prune", "--unfinished", "--dry-run"], 0).stdout;
    assert!(
        dry.contains("would remove bbbbbbbbbbbb-") && dry.contains(" of tiny  ") && dry.contains("would go"),
        "{dry}"
    );
    let went = place.run(&["engine", "prune", "--unfinished", "--json"], 0).json();
    assert_eq!((went["removed"].as_array().unwrap().len(), went["dry_run"].as_bool()), (1, Some(false)));
    assert_eq!(place.run(&["engine", "list", "--json"], 0).json()["engines"].as_array().unwrap().len(), 1);
    let said = place.run(&["engine", "prune", "--keep-size", "0"], 0).stdout;
    assert!(said.contains("removed aaaaaaaaaaaa-") && said.contains(" went, 0 B stay"), "{said}");
    assert!(place.run(&["engine", "list"], 0).stdout.ends_with("engines: empty\n"));
}

#[test]
fn abstracts_need_few_engines_and_are_near_to_what_those_are_tuned_for() {
    let Some(bundle) = minilm_bundle() else { return };
    let place = Workplace::new();
    // Like abstracts: 20 to 260 words, most of them around 130.
    let spread = |state: usize| (state.wrapping_mul(2_654_435_761) >> 7) % 120;
    let words = |row: usize| vec!["reef"; 20 + spread(row) + spread(row * 31 + 7)].join(" ");
    let line = |row: usize| format!("{{\"id\": \"p{row}\", \"title\": \"{row}\", \"abstract\": \"{}\"}}\n", words(row));
    place.write("papers.jsonl", (0..2_000).map(line).collect::<String>());
    let plan = place.run(&["engine", "plan", "--model", bundle, "papers.jsonl", "--json"], 0).json();
    println!("{} engines, {} octaves", plan["profiles"].as_array().unwrap().len(), plan["distance"]);
    assert!(plan["profiles"].as_array().unwrap().len() <= 6, "{plan:#}");
    assert!(plan["distance"].as_f64().unwrap() < 0.25, "{plan:#}");
    assert!(plan["reserve"].as_f64().unwrap() <= 4.0, "{plan:#}");
    assert_eq!(plan["limits"]["batch_tokens"], 16_384);
}

proptest! {
    #[test]
    fn every_batch_of_a_run_lies_in_one_profile(
        corpus in prop::collection::vec(0_usize..=512, 0..400),
        run in prop::collection::vec(0_usize..=512, 1..400),
        extra in 0_usize..20_000,
        window in 1_usize..400,
    ) {
        let budget = TokenBudget::new(512 + extra, 512).unwrap().on(ProviderChoice::TensorRt);
        let mut histogram = ShapeHistogram::default();
        let shapes = |lengths: &[usize]| -> Vec<BatchShape> {
            let of_window = |lengths: &[usize]| {
                let longest = |batch: &Vec<usize>| batch.iter().map(|&text| lengths[text]).max().unwrap();
                let plan = encode::plan(lengths, budget);
                let shape = |batch: &Vec<usize>| BatchShape::new(batch.len(), budget.columns(longest(batch)));
                plan.batches.iter().map(shape).collect::<Vec<_>>()
            };
            lengths.chunks(window).flat_map(of_window).collect()
        };
        shapes(&corpus).into_iter().for_each(|shape| histogram.add(shape));
        let plan = plan_profiles(&histogram, budget.limits(window, 8)).unwrap();
        let guard = ShapeGuard::new(plan.profiles.clone());
        // Of the corpus that was planned for, and of any other.
        for shape in shapes(&corpus).into_iter().chain(shapes(&run)) {
            let fitting = plan.profiles.iter().filter(|profile| profile.contains(shape)).count();
            prop_assert_eq!(fitting, 1, "{}", shape);
            prop_assert!(guard.place_of(shape).is_ok());
            // And what is left of a batch that was cut in two.
            prop_assert!(guard.place_of(BatchShape::new(shape.rows.div_ceil(2), shape.columns)).is_ok());
        }
        prop_assert!(guard.place_of(BatchShape::new(1, 513)).is_err());
    }
}
