//! Promise: the first usable provider of a list runs, each one passed over is named with its reason, and where none can the run
//! ends with all reasons; what a provider lacks is named as it was found by loading. Every account says which provider runs how
//! many nodes.
//!
//! The refusals of CUDA and TensorRT need the library of onnxruntime-gpu, which `OFFPRINT_ORT_GPU` names; no card.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use common::{Workplace, openvino_library, tiny_bundle};

const PAPERS: &str = "{\"id\": \"a\", \"title\": \"coral reefs\"}\n{\"id\": \"b\", \"title\": \"steel\"}\n";

fn place() -> Workplace {
    let place = Workplace::new();
    place.write("papers.jsonl", PAPERS);
    place
}

/// The library of onnxruntime-gpu; without one, a test that needs it says so and passes.
fn gpu_library() -> Option<String> {
    let named = std::env::var("OFFPRINT_ORT_GPU").ok().filter(|path| !path.is_empty());
    if named.is_none() {
        println!("skipped: OFFPRINT_ORT_GPU names no library of onnxruntime-gpu");
    }
    named
}

fn embed<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    [&["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.npy", "--no-cache"], flags].concat()
}

/// Whether the library that is found has a provider besides the CPU's.
fn has_others(place: &Workplace) -> bool {
    let library = place.run(&["doctor", "--json"], 0).json()["library"].clone();
    let others = library["providers"].as_array().unwrap().iter();
    let others =
        others.filter(|name| !["CPUExecutionProvider", "AzureExecutionProvider"].contains(&name.as_str().unwrap()));
    let count = others.count();
    if count > 0 {
        println!("skipped: the library that is found has more than the CPU provider");
    }
    count > 0
}

#[test]
fn the_first_usable_provider_runs_and_each_one_before_it_is_named() {
    let place = place();
    if has_others(&place) {
        return;
    }
    let said = place.run(&embed(&["--provider", "cuda:1,0,openvino,cpu", "--json"]), 0);
    said.expect(&[
        "warning: `--provider cuda:1,0` could not run the bundle; CPUExecutionProvider did: the loaded ONNX Runtime at `",
        "has no `CUDAExecutionProvider`",
        "warning: `--provider openvino` could not run the bundle; CPUExecutionProvider did: ",
    ]);
    let account = said.json();
    assert_eq!(account["provider"], "CPUExecutionProvider");
    let names: Vec<&str> =
        account["passed_over"].as_array().unwrap().iter().map(|passed| passed["provider"].as_str().unwrap()).collect();
    assert_eq!(names, ["cuda:1,0", "openvino"]);
    assert!(account["because"].is_null(), "it was named: {account}");
}

#[test]
fn where_none_can_be_used_the_run_ends_with_every_reason() {
    let place = place();
    if has_others(&place) {
        return;
    }
    let said = place.run(&embed(&["--provider", "openvino,cuda"]), 2);
    said.expect(&[
        "error: none of the providers that `--provider openvino,cuda` may take can be used",
        "  cause: `openvino`: the loaded ONNX Runtime at `",
        "  cause: `cuda`: the loaded ONNX Runtime at `",
        "  hint: `--provider cpu` is always there",
    ]);
    assert!(!place.path("x.npy").exists());
    let said = place.run(&embed(&["--provider", "openvino,cuda", "--fallback", "allow", "--json"]), 0);
    assert_eq!(said.json()["provider"], "CPUExecutionProvider");
}

#[test]
fn a_provider_of_another_system_says_where_it_is() {
    let place = place();
    if has_others(&place) {
        return;
    }
    for (name, provider, hint) in [
        ("coreml", "CoreMLExecutionProvider", "it is on macOS alone: `pip install onnxruntime` there"),
        ("DirectML", "DmlExecutionProvider", "it is on Windows alone: `pip install onnxruntime-directml` there"),
        (
            "cuda",
            "CUDAExecutionProvider",
            "`pip install 'onnxruntime-gpu[cuda,cudnn]'`, then name its library with `--ort-lib`",
        ),
    ] {
        let said = place.run(&embed(&["--provider", name]), 2);
        said.expect(&[
            "error: the loaded ONNX Runtime at `",
            &format!("has no `{provider}`"),
            &format!("  hint: {hint}"),
        ]);
    }
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_opened() {
    let place = place();
    for (flags, expected) in [
        (
            &["--provider", "gpu"][..],
            "error: execution provider `gpu` is not known, known are: auto, cpu, cuda, cuda:N",
        ),
        (&["--provider", "auto,cpu"], "error: `--provider auto` chooses by itself and stands alone"),
        (&["--provider", "cuda,1"], "error: `--provider` names a device `1` without its provider"),
        (&["--provider", "cuda:1,0,1"], "error: `--provider` names `cuda:1` twice"),
        (&["--provider", "cpu:0"], "error: `cpu` has no devices to choose from, got `0`"),
        (&["--provider-option", "use_tf32=1"], "can't be used: options are for a provider that `--provider` names"),
        (&["--provider", "cuda", "--provider-option", "use_tf32"], "can't be used: it is not `key=value`"),
        (&["--provider", "cpu", "--provider-option", "a=1"], "no provider that takes options is named"),
        (
            &["--provider", "cuda,cpu", "--provider-option", "use_tf32=1"],
            "error: provider option `use_tf32=1` may change numbers, and `--provider` names several that may run",
        ),
        (
            &["--provider", "tensorrt"],
            "error: the bundle computes in fp32, which `TensorrtExecutionProvider` cuts to TF32",
        ),
    ] {
        // There is no such library: opening anything would say so.
        let args = embed(&[flags, &["--ort-lib", "nowhere.so"]].concat());
        let mut command = place.offprint(&args);
        let said = common::Said::new(command.env_remove("NVIDIA_TF32_OVERRIDE").output().unwrap(), 2);
        said.expect(&[expected]);
        assert!(!said.stderr.contains("nowhere.so"), "{}", said.stderr);
    }
}

#[test]
fn every_account_and_report_says_how_many_nodes_run_where() {
    let place = place();
    if has_others(&place) {
        return;
    }
    let args = ["embed", "--model", tiny_bundle(), "papers.jsonl", "-o", "x.npy", "--report", "page"];
    let said = place.run(&args, 0);
    said.expect(&["on CPUExecutionProvider (auto: the provider that keeps every bit"]);
    let line = said.stderr.lines().find_map(|line| line.strip_prefix("  nodes: ")).unwrap();
    let (count, provider) = line.split_once(" on ").unwrap();
    assert!(count.parse::<u64>().unwrap() > 20, "{line}");
    assert_eq!(provider, "CPUExecutionProvider");
    assert!(place.read("page/report.html").contains(line) && place.read("page/report.json").contains(line));

    let again = place.run(&[&args[..], &["--json"]].concat(), 0).json();
    assert!(again["nodes"].is_null() && again["because"].is_null(), "nothing was opened: {again}");
    let fresh = place.run(&embed(&["--json"]), 0).json();
    assert_eq!(fresh["nodes"]["CPUExecutionProvider"].to_string(), count);
    assert!(fresh["because"].as_str().unwrap().starts_with("auto: the provider that keeps every bit"), "{fresh}");
    let checked = place.run(&["check", "--model", tiny_bundle(), "--threads", "1", "--json"], 0).json();
    assert_eq!(checked["nodes"]["CPUExecutionProvider"].to_string(), count);
}

#[test]
fn doctor_says_which_providers_can_be_used() {
    let place = place();
    let Some(library) = openvino_library() else { return };
    let said = place.run(&["doctor", "--ort-lib", library.to_str().unwrap()], 0);
    assert!(said.stdout.contains("--provider may be auto, cpu, openvino"), "{}", said.stdout);
}

#[test]
fn a_provider_without_its_host_names_the_file_and_the_way_to_it() {
    let Some(library) = openvino_library() else { return };
    let place = place();
    fs::create_dir(place.path("capi")).unwrap();
    for entry in fs::read_dir(library.parent().unwrap()).unwrap().map(Result::unwrap) {
        if entry.file_name() != "libonnxruntime_providers_shared.so" {
            symlink(entry.path(), place.path("capi").join(entry.file_name())).unwrap();
        }
    }
    let library = place.path("capi").join(library.file_name().unwrap());
    let library = library.to_str().unwrap();
    let host = place.path("capi/libonnxruntime_providers_shared.so");
    let reason = format!(
        "`OpenVINOExecutionProvider` cannot be used: there is no `{}`, through which ONNX Runtime loads it",
        host.display()
    );
    place.run(&embed(&["--provider", "openvino", "--ort-lib", library]), 2).expect(&[
        &format!("error: {reason}\n"),
        "  hint: `pip install --force-reinstall --no-deps onnxruntime-openvino` in the environment of that ONNX Runtime",
    ]);
    let doctor = place.run(&["doctor", "--ort-lib", library], 0).stdout;
    assert!(doctor.contains(&format!("  openvino cannot be used here: {reason}")), "{doctor}");
}

#[test]
fn openvino_refuses_an_option_that_it_does_not_know_in_its_own_words() {
    let Some(library) = openvino_library() else { return };
    let place = place();
    let library = library.to_str().unwrap();
    let run = |option, status| {
        let flags = ["--provider", "openvino", "--ort-lib", library, "--provider-option", option];
        place.run(&embed(&flags), status)
    };
    let said = run("no_such_option=1", 2);
    said.expect(&[
        "OpenVINOExecutionProvider` could not be started with `no_such_option=1`",
        "  cause: ",
        "no_such_option",
    ]);
    assert!(!place.path("x.npy").exists());
    run("num_streams=1", 0).expect(&["on OpenVINOExecutionProvider"]);
}

#[test]
fn the_memory_preset_is_told_only_of_the_provider_that_it_is_for() {
    let Some(library) = openvino_library() else { return };
    let place = place();
    let library = library.to_str().unwrap();
    for (provider, memory) in [("cpu", "low"), ("openvino", "balanced")] {
        let flags = ["--provider", provider, "--ort-lib", library, "--memory", "low"];
        let said = place.run(&embed(&[&flags[..], &["--json"]].concat()), 0);
        assert_eq!(said.json()["settings"]["memory"], memory, "{provider}: {}", said.stdout);
        let said = place.run(&embed(&flags), 0);
        assert_eq!(said.stderr.contains("memory low"), provider == "cpu", "{}", said.stderr);
    }
}

#[test]
fn options_that_may_change_numbers_are_cached_apart() {
    let Some(library) = openvino_library() else { return };
    let place = place();
    let library = library.to_str().unwrap();
    let run = |options: &[&str]| {
        let flags = ["embed", "--model", tiny_bundle(), "papers.jsonl", "--json", "--provider", "openvino"];
        place.run(&[&flags[..], &["--ort-lib", library], options].concat(), 0)
    };
    let counts =
        |said: &common::Said| (said.json()["embedded"].as_u64().unwrap(), said.json()["cached"].as_u64().unwrap());
    assert_eq!(counts(&run(&[])), (2, 0));
    assert_eq!(counts(&run(&["--provider-option", "num_streams=1"])), (0, 2));
    assert_eq!(counts(&run(&["--provider-option", "precision=FP32"])), (0, 2), "it is told so anyway");
    let accurate = run(&["--provider-option", "precision=ACCURACY"]);
    assert_eq!(counts(&accurate), (2, 0));
    accurate.expect(&["the nearest one differs in numerics: none -> precision=ACCURACY"]);
    assert_eq!(counts(&run(&["--provider-option", "precision=ACCURACY"])), (0, 2));
}

#[test]
fn what_cuda_and_tensorrt_lack_is_named_with_the_way_to_it() {
    let Some(library) = gpu_library() else { return };
    let place = place();
    let run = |flags: &[&str], status| {
        let args = embed(&[flags, &["--ort-lib", &library]].concat());
        let mut command = place.offprint(&args);
        command.env("NVIDIA_TF32_OVERRIDE", "0").env_remove("LD_LIBRARY_PATH");
        common::Said::new(command.output().unwrap(), status)
    };
    for (name, provider) in [("cuda", "CUDAExecutionProvider"), ("tensorrt", "TensorrtExecutionProvider")] {
        let said = run(&["--provider", name], 2);
        if said.stderr.contains("could not be opened on") {
            return println!("skipped: this machine has all libraries that {name} needs, and no card");
        }
        let file = format!("libonnxruntime_providers_{name}.so` needs `lib");
        said.expect(&[
            &format!("error: `{provider}` cannot be used: `"),
            &file,
            "which is not found",
            "  cause: lib",
            "  hint: ",
        ]);
        assert!(said.stderr.contains("cannot open shared object file"), "{}", said.stderr);
    }
    let said = run(&["--provider", "cuda,cpu"], 0);
    said.expect(&[
        "warning: `--provider cuda` could not run the bundle; CPUExecutionProvider did: `CUDAExecutionProvider`",
    ]);
    let said = run(&[], 0);
    said.expect(&[
        "on CPUExecutionProvider (auto: the provider that keeps every bit; cuda: `CUDAExecutionProvider` cannot",
    ]);
    let doctor = place.run(&["doctor", "--ort-lib", &library], 0).stdout;
    assert!(doctor.contains("  cuda cannot be used here: `CUDAExecutionProvider` cannot be used"), "{doctor}");
}

/// An environment with onnxruntime-gpu, NVIDIA's libraries and a driver that finds no card; none where those libraries are not
/// in the environment of `OFFPRINT_PYTHON`.
fn environment_without_a_card(place: &Workplace, library: &str) -> Option<String> {
    let python = std::path::PathBuf::from(std::env::var_os("OFFPRINT_PYTHON")?);
    let pattern = python.parent()?.join("../lib/python3*/site-packages/nvidia");
    let nvidia = glob::glob(pattern.to_str()?).ok()?.flatten().next()?;
    let [capi, driver] =
        ["site-packages/onnxruntime/capi", "site-packages/nvidia/driver/lib"].map(|name| place.path(name));
    fs::create_dir_all(&capi).unwrap();
    fs::create_dir_all(&driver).unwrap();
    for entry in fs::read_dir(Path::new(library).parent()?).unwrap().map(Result::unwrap) {
        symlink(entry.path(), capi.join(entry.file_name())).unwrap();
    }
    for name in ["cu13", "cudnn"] {
        symlink(nvidia.join(name), place.path("site-packages/nvidia").join(name)).unwrap();
    }
    let calls = ["cuInit", "cuDriverGetVersion", "cuGetProcAddress_v2", "cuTensorMapEncodeTiled"];
    let source: String = calls.iter().map(|call| format!("int {call}(void) {{ return 100; }}\n")).collect();
    let source = place.write("driver.c", source);
    let mut command = std::process::Command::new("cc");
    command
        .args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"])
        .arg(source)
        .arg("-o")
        .arg(driver.join("libcuda.so.1"));
    assert!(command.status().unwrap().success());
    let name = Path::new(library).file_name()?;
    Some(capi.join(name).to_str()?.to_owned())
}

#[test]
fn without_a_card_cuda_says_so_and_auto_goes_on() {
    let Some(library) = gpu_library() else { return };
    let place = place();
    let Some(library) = environment_without_a_card(&place, &library) else {
        return println!("skipped: the Python that OFFPRINT_PYTHON names has no libraries of NVIDIA's");
    };
    let said = place.run(&embed(&["--provider", "cuda:0", "--ort-lib", &library]), 2);
    said.expect(&[
        "error: `CUDAExecutionProvider` could not be started with `device_id=0`\n  cause: ",
        "CUDA failure ",
        "  hint: `nvidia-smi` lists the cards that the driver sees",
    ]);
    let said = place.run(&embed(&["--ort-lib", &library]), 0);
    let why = "cuda: `CUDAExecutionProvider` could not be started: CUDA failure ";
    said.expect(&[&format!("on CPUExecutionProvider (auto: the provider that keeps every bit; {why}")]);
    // Options are read before the card is looked for.
    let flags = ["--provider", "cuda", "--provider-option", "nonsense=1", "--ort-lib", &library];
    place.run(&embed(&flags), 2).expect(&[
        "error: `CUDAExecutionProvider` could not be started with `nonsense=1`\n  cause: ",
        "Unknown provider option: \"nonsense\"",
    ]);
}
