//! Promise: `bench` measures every setting of its grid in turns, says why one could not be run, writes files that agree and
//! a page that loads nothing, and `bench compare` claims only what intervals allow.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fmt::Write;
use std::fs;
use std::process::Command;

use common::{Workplace, openvino_library, tiny_bundle};
use serde_json::Value;

/// A place with 60 papers of different lengths and one row that cannot be used.
fn place() -> Workplace {
    let place = Workplace::new();
    let mut text = String::from("{\"id\": \"bad\", \"title\": 7}\n");
    for n in 0..60 {
        let words = "reef ice steel ".repeat(n % 13);
        writeln!(text, r#"{{"id": "p{n}", "title": "paper {n}", "abstract": "{words}"}}"#).unwrap();
    }
    place.write("papers.jsonl", text);
    place
}

/// Measures quickly, into the folder `speed`.
fn bench(place: &Workplace, more: &[&str], status: i32) -> common::Said {
    let args =
        ["bench", "--model", tiny_bundle(), "papers.jsonl", "--sample", "40", "--warm-up", "0.02", "-o", "speed"];
    place.run(&[&args[..], more].concat(), status)
}

fn json(place: &Workplace, name: &str) -> Value {
    serde_json::from_str(&place.read(name)).unwrap()
}

fn cells(record: &Value) -> &Vec<Value> {
    record["cells"].as_array().unwrap()
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The median of two or three numbers.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

#[test]
fn the_figures_of_a_grid_follow_from_its_rounds() {
    let place = place();
    let said = bench(&place, &["--max-batch-tokens", "64,256", "--threads", "1,2", "--repeats", "2"], 0);
    said.expect(&["warning: 1 row cannot be used and was passed over", "results: speed/bench.json", "50 % confidence"]);
    let record = json(&place, "speed/bench.json");
    assert_eq!(
        (&record["format"], &record["texts"]["texts"], &record["texts"]["rows"]),
        (&1.into(), &40.into(), &60.into())
    );
    let command = record["environment"]["command"].as_str().unwrap();
    assert!(command.starts_with("offprint bench --model bundle-bench-") && !command.contains('/'), "{command}");
    assert_eq!(cells(&record).len(), 4);
    for cell in cells(&record) {
        assert_eq!((&cell["state"], cell["rounds"].as_array().unwrap().len()), (&"done".into(), 2), "{cell}");
        let rounds = cell["rounds"].as_array().unwrap();
        let figures = &cell["figures"];
        let of_rounds = |value: &dyn Fn(&Value) -> f64| median(rounds.iter().map(value).collect());
        let rate = |what: &'static str| {
            move |round: &Value| float(&round["work"][what]) / float(&round["inference"]["seconds"])
        };
        let near = |name: &str, expected: f64| {
            let got = float(&figures[name]["median"]);
            assert!((got / expected - 1.0).abs() < 1e-9, "{name}: {got}, expected {expected}");
            assert!(float(&figures[name]["low"]) <= got && got <= float(&figures[name]["high"]), "{name}: {figures}");
        };
        near("papers_per_second", of_rounds(&rate("texts")));
        near("useful_tokens_per_second", of_rounds(&rate("useful_tokens")));
        near("flops_per_second", of_rounds(&rate("padded_flops")));
        near(
            "pipeline_share",
            of_rounds(&|round| float(&round["inference"]["seconds"]) / float(&round["pipeline"]["seconds"])),
        );
        let peak = record["peaks"].as_array().unwrap().iter().find(|peak| peak["threads"] == cell["threads"]).unwrap();
        near("peak_share", float(&figures["flops_per_second"]["median"]) / float(&peak["flops_per_second"]));
        let work = &rounds[0]["work"];
        let [texts, padded, useful] =
            ["texts", "padded_tokens", "useful_tokens"].map(|name| work[name].as_u64().unwrap());
        assert_eq!(texts, 40);
        assert_eq!(rounds[0]["latencies"].as_array().unwrap().len() as u64, work["batches"].as_u64().unwrap());
        assert!(padded >= useful && useful > 0);
        assert!((float(&figures["padding_share"]) - (padded - useful) as f64 / padded as f64).abs() < 1e-12);
        let accuracy = &cell["accuracy"];
        assert_eq!(
            (&accuracy["texts"], &accuracy["rows_differ"], &accuracy["cosine_min"]),
            (&40.into(), &0.into(), &1.0.into())
        );
        assert_eq!(cell["beside_first"]["verdict"], "no_claim", "two rounds allow no claim");
        assert_eq!(figures.get("gpu_memory"), None);
    }
    let batches = |cell: &Value| cell["rounds"][0]["work"]["batches"].as_u64().unwrap();
    assert!(batches(&cells(&record)[0]) > batches(&cells(&record)[2]), "larger budgets make fewer batches");
}

#[test]
fn the_table_and_the_page_say_what_the_record_says() {
    let place = place();
    let said = bench(
        &place,
        &["--max-batch-tokens", "64,128,30", "--repeats", "1", "--threads", "1,2", "--sessions", "1,2", "--json"],
        0,
    );
    let record = said.json();
    assert_eq!(record, json(&place, "speed/bench.json"));
    let mut table = csv::Reader::from_path(place.path("speed/bench.csv")).unwrap();
    let header = table.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), cells(&record).len());
    let column = |name: &str| header.iter().position(|column| column == name).unwrap_or_else(|| panic!("{name}"));
    for (row, cell) in rows.iter().zip(cells(&record)) {
        for fact in ["offprint", "processor", "cores", "system"] {
            assert_eq!(row[column(fact)], *record["environment"][fact].as_str().unwrap(), "{fact}");
        }
        assert_eq!(row[column("max_batch_tokens")], cell["batches"]["tokens"].to_string());
        match cell["figures"].get("papers_per_second") {
            Some(papers) => {
                assert_eq!(row[column("papers_per_second")].parse::<f64>().unwrap(), float(&papers["median"]));
                assert_eq!(row[column("papers_per_second_high")].parse::<f64>().unwrap(), float(&papers["high"]));
            }
            None => assert_eq!((&row[column("papers_per_second")], &row[column("state")]), ("", "not run")),
        }
    }
    let page = place.read("speed/report.html");
    for forbidden in ["http:", "https:", "//", "src=", "@import", "url(", "<link", "<script", "javascript:", "NaN"] {
        assert!(!page.contains(forbidden), "`{forbidden}` is in the page");
    }
    for part in [
        "by provider and batch",
        "by threads",
        "2 threads in 2 sessions",
        "Latency of a batch",
        "Speed and accuracy",
        "not run",
        "<figure>",
    ] {
        assert!(page.contains(part), "{part} is not on the page");
    }
    assert_eq!(page.matches("<figure>").count(), 3);
    let report = json(&place, "speed/report.json");
    let plot = report["sections"].as_array().unwrap().iter().find(|section| section["kind"] == "plot").unwrap();
    let point = &plot["series"][0]["points"][1];
    assert_eq!(point["x"], 128.0);
    let second = cells(&record).iter().find(|cell| cell["batches"]["tokens"] == 128).unwrap();
    assert_eq!(point["y"], second["figures"]["papers_per_second"]["median"]);
    drawn_by_a_browser(&place, &page);
}

/// A browser without a window makes of the page what the page says; where there is none, nothing is checked.
fn drawn_by_a_browser(place: &Workplace, page: &str) {
    let file = format!("file://{}", place.path("speed/report.html").display());
    let profile = format!("--user-data-dir={}", place.path("profile").display());
    let args = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", &profile, &file];
    let browsers = ["chromium", "chromium-browser", "google-chrome"];
    let Some(output) = browsers.iter().find_map(|browser| Command::new(browser).args(args).output().ok()) else {
        return println!("skipped: no browser to draw the page with");
    };
    if !output.status.success() {
        return println!("skipped: the browser does not run here");
    }
    let drawn = String::from_utf8_lossy(&output.stdout);
    for part in ["<svg", "class=\"line\"", "<figcaption>", "<td", "<details>"] {
        assert_eq!(drawn.matches(part).count(), page.matches(part).count(), "{part}");
    }
}

#[test]
fn what_cannot_be_run_is_a_row_with_its_reason() {
    let place = place();
    let more = ["--providers", "cpu,openvino", "--ort-lib", "openvino=nowhere.so", "--max-batch-tokens", "8,64"];
    let said = bench(&place, &[&more[..], &["--sessions", "1,3", "--threads", "2", "--repeats", "1"]].concat(), 0);
    let record = json(&place, "speed/bench.json");
    let states: Vec<&str> = cells(&record).iter().map(|cell| cell["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["not_run", "not_run", "done", "not_run", "not_run", "not_run", "not_run", "not_run"]);
    let reason = |cell: usize| cells(&record)[cell]["reason"].as_str().unwrap();
    assert!(reason(0).contains("is below the longest input"), "{}", reason(0));
    assert!(reason(3).contains('3') && reason(3).contains('2'), "{}", reason(3));
    assert!(reason(6).contains("nowhere.so`: no such file or folder"), "{}", reason(6));
    assert!(cells(&record)[6].get("figures").is_none());
    assert!(said.stdout.contains("not run: ") && said.stdout.contains("nowhere.so"), "{}", said.stdout);

    // A library without the provider, and nothing that can be run at all.
    let said = bench(&place, &["--providers", "openvino,cuda:0,1,tensorrt", "--repeats", "1"], 2);
    said.expect(&["error: no setting could be measured", "cause: "]);
    let record = json(&place, "speed/bench.json");
    for (cell, name) in cells(&record).iter().zip(["openvino", "cuda", "tensorrt"]) {
        let reason = cell["reason"].as_str().unwrap().to_lowercase();
        assert!(cell["state"] == "not_run" && reason.contains(name), "{name}: {reason}");
    }
    assert_eq!(cells(&record)[1]["provider"], "cuda:0,1");
    assert!(place.read("speed/report.html").contains("No setting could be measured"));
}

#[test]
fn the_tokenizer_and_the_operators_are_told_of() {
    let place = place();
    let said = bench(&place, &["--profile", "--repeats", "2", "--threads", "1"], 0);
    let record = json(&place, "speed/bench.json");
    let cell = &cells(&record)[0];
    let (rounds, figures) = (cell["rounds"].as_array().unwrap(), &cell["figures"]);
    let rate = |time: &'static str| {
        let of = |round: &Value| float(&round["work"]["useful_tokens"]) / float(&round["tokenize"][time]);
        median(rounds.iter().map(of).collect())
    };
    for (name, time) in [("tokenize_tokens_per_second", "seconds"), ("tokenize_tokens_per_core", "cpu_seconds")] {
        // A short round may end before the system's clock of processor time has moved.
        let Some(figure) = figures.get(name) else { continue };
        assert!((float(&figure["median"]) / rate(time) - 1.0).abs() < 1e-9, "{name}: {figure}");
    }
    assert!(figures.get("tokenize_tokens_per_second").is_some());

    let profile = &rounds[0]["profile"];
    assert!(rounds[1].get("profile").is_none(), "the first round alone is profiled");
    let operators = profile["operators"].as_array().unwrap();
    let named: Vec<&str> = operators.iter().map(|operator| operator["operator"].as_str().unwrap()).collect();
    assert!(named.iter().any(|name| name.contains("MatMul") || name.contains("Gemm")), "{named:?}");
    assert!(operators.iter().all(|operator| operator["provider"] == "CPUExecutionProvider"), "{profile}");
    let runs = profile["runs"].as_u64().unwrap();
    assert!((1..=8).contains(&runs), "{runs}");
    assert!(operators.iter().all(|operator| operator["calls"].as_u64().unwrap() % runs == 0), "as many in each run");
    let seconds: Vec<f64> = operators.iter().map(|operator| float(&operator["seconds"])).collect();
    let all: f64 = seconds.iter().sum();
    assert!(all > 0.0 && all <= float(&profile["seconds"]), "{all} s of {profile}");
    assert!(seconds.is_sorted_by(|a, b| a >= b));

    let line = said.stdout.lines().find(|line| line.starts_with("time by operator, ")).unwrap();
    assert!(line.contains(&format!(": {} ", named[0])), "{line}");
    assert!(line.contains("between them "), "{line}");
    let page = place.read("speed/report.html");
    for part in ["Time by operator", "nodes a batch", "by core", named[0]] {
        assert!(page.contains(part), "{part} is not on the page");
    }
    bench(&place, &["--repeats", "1", "--threads", "1"], 0);
    assert!(json(&place, "speed/bench.json")["cells"][0]["rounds"][0].get("profile").is_none(), "nobody asked");
}

#[test]
fn batches_of_one_shape_are_measured_without_padding() {
    let place = place();
    bench(&place, &["--fixed-shape", "2x16,1x99", "--repeats", "1", "--threads", "1"], 0);
    let record = json(&place, "speed/bench.json");
    let [first, second] = &cells(&record)[..] else { panic!("{record}") };
    assert_eq!(first["batches"]["fixed"]["tokens"], 16);
    assert_eq!((&first["rounds"][0]["work"]["shapes"], &first["figures"]["padding_share"]), (&1.into(), &0.0.into()));
    assert!(first["figures"].get("pipeline_share").is_none());
    let accuracy = &first["accuracy"];
    assert_eq!((&accuracy["rows_differ"], &accuracy["cosine_min"]), (&0.into(), &1.0.into()), "on the CPU provider");
    assert_eq!(accuracy["texts"], first["rounds"][0]["work"]["texts"].as_u64().unwrap().min(64));
    assert!(record.get("notes").is_none(), "{record}");
    assert!(second["reason"].as_str().unwrap().starts_with("texts of 99 tokens pass the bundle's max length"));
}

#[test]
fn batches_of_one_shape_are_compared_with_fp32_of_that_shape() {
    let Some(library) = openvino_library() else { return };
    let place = place();
    let named = format!("openvino={}", library.display());
    let more = ["--providers", "openvino", "--fixed-shape", "2x16,40x8", "--repeats", "1", "--threads", "1"];
    bench(&place, &[&more[..], &["--ort-lib", &named]].concat(), 0);
    for cell in cells(&json(&place, "speed/bench.json")) {
        let accuracy = &cell["accuracy"];
        assert!(float(&accuracy["cosine_min"]) > 0.999_99 && accuracy["texts"].as_u64().unwrap() > 8, "{cell}");
    }
}

#[test]
fn openvino_is_measured_through_its_own_library() {
    let Some(library) = openvino_library() else { return };
    let place = place();
    let named = format!("openvino={}", library.display());
    bench(&place, &["--providers", "cpu,openvino", "--ort-lib", &named, "--repeats", "2", "--threads", "1"], 0);
    let record = json(&place, "speed/bench.json");
    let providers: Vec<&str> =
        cells(&record).iter().map(|cell| cell["rounds"][0]["provider"].as_str().unwrap()).collect();
    assert_eq!(providers, ["CPUExecutionProvider", "OpenVINOExecutionProvider"]);
    let accuracy = &cells(&record)[1]["accuracy"];
    assert!(float(&accuracy["cosine_min"]) > 0.999_99, "{accuracy}");
    let versions = place.read("speed/report.json");
    assert!(versions.contains("ONNX Runtime of OpenVINOExecutionProvider"), "{versions}");

    // What a provider is told makes another setting of it.
    place.write("first.json", place.read("speed/bench.json"));
    let told = ["--provider-option", "openvino.num_streams=1", "--repeats", "1", "--threads", "1"];
    bench(&place, &[&["--providers", "cpu,openvino", "--ort-lib", &named], &told[..]].concat(), 0);
    assert!(place.read("speed/report.html").contains(", openvino with num_streams=1, "), "it is named so on the page");
    let record = json(&place, "speed/bench.json");
    assert!(cells(&record)[0].get("provider_options").is_none(), "the CPU provider takes none");
    assert_eq!(cells(&record)[1]["provider_options"], serde_json::json!(["num_streams=1"]));
    let compared = place.run(&["bench", "compare", "first.json", "speed"], 0).stdout;
    for line in
        ["only in A: ", "only in B: "].map(|alone| compared.lines().find(|line| line.starts_with(alone)).unwrap())
    {
        assert_eq!(line.contains("num_streams"), line.starts_with("only in B"), "{compared}");
    }
}

/// Writes a record whose cells have these papers a second, each within 1 %, with claims allowed or not.
fn craft(place: &Workplace, name: &str, papers: &[f64], confidence: f64) {
    let mut record = json(place, "speed/bench.json");
    for (cell, &papers) in record["cells"].as_array_mut().unwrap().iter_mut().zip(papers) {
        for figure in ["papers_per_second", "pipeline_papers_per_second"] {
            cell["figures"][figure] = serde_json::json!({
                "median": papers, "low": papers * 0.99, "high": papers * 1.01, "confidence": confidence
            });
        }
    }
    fs::write(place.path(name), record.to_string()).unwrap();
}

#[test]
fn two_measurements_are_compared_and_only_clear_losses_fail() {
    let place = place();
    bench(&place, &["--max-batch-tokens", "64,128", "--repeats", "1", "--threads", "1"], 0);
    craft(&place, "a.json", &[100.0, 100.0], 0.96);
    craft(&place, "b.json", &[120.0, 90.0], 0.96);
    craft(&place, "unsure.json", &[50.0, 50.0], 0.9);
    let compare = |args: &[&str], status| place.run(&[&["bench", "compare"], args].concat(), status);

    let said = compare(&["a.json", "b.json"], 0);
    assert!(said.stdout.contains("faster: 1.20 × (1.18–1.22)"), "{}", said.stdout);
    assert!(said.stdout.contains("slower: 0.90 × (0.88–0.92)"), "{}", said.stdout);
    compare(&["a.json", "b.json", "--fail-below", "0.95"], 1).expect(&["slower: ", "128 tokens"]);
    compare(&["a.json", "b.json", "--fail-below", "0.8"], 0);
    compare(&["b.json", "a.json", "--fail-below", "0.95"], 1).expect(&["64 tokens"]);
    let same = compare(&["a.json", "a.json", "--fail-below", "1"], 0);
    assert!(same.stdout.contains("no claim") && !same.stdout.contains("faster"), "{}", same.stdout);
    let unsure = compare(&["a.json", "unsure.json", "--fail-below", "0.95"], 0);
    assert!(unsure.stdout.contains("no claim (0.49–0.51)"), "{}", unsure.stdout);
    let found = compare(&["a.json", "b.json", "--json"], 0).json();
    assert_eq!(
        (&found["cells"][0]["inference"]["verdict"], &found["cells"][0]["inference"]["ratio"]),
        (&"higher".into(), &1.2.into())
    );
    compare(&["speed", "speed"], 0);
    // What the environment says of a run is not said of a comparison.
    let args = ["bench", "compare", "a.json", "b.json"];
    let with = place.command(&args).envs([("OFFPRINT_MODEL", "x"), ("OFFPRINT_THREADS", "2")]).output().unwrap();
    common::Said::new(with, 0);
}

#[test]
fn what_cannot_be_compared_says_why() {
    let place = place();
    bench(&place, &["--max-batch-tokens", "64", "--repeats", "1", "--threads", "1"], 0);
    let mut other = json(&place, "speed/bench.json");
    other["cells"][0]["threads"] = 7.into();
    other["environment"]["processor"] = "Another CPU".into();
    place.write("other.json", other.to_string());
    let compare = |args: &[&str]| place.run(&[&["bench", "compare"], args].concat(), 2);
    compare(&["speed", "other.json"]).expect(&["error: `speed` and `other.json` have no setting in common"]);
    compare(&["speed", "gone.json"]).expect(&["error: `gone.json` could not be read"]);
    compare(&["speed", "papers.jsonl"]).expect(&["error: `papers.jsonl` is not a file of measurements", "  hint: "]);
    other["format"] = 9.into();
    place.write("newer.json", other.to_string());
    compare(&["speed", "newer.json"]).expect(&["error: `newer.json` has format 9, expected 1"]);
    compare(&["speed", "speed", "--fail-below", "0"]).expect(&["error: `--fail-below` is 0"]);
    other["format"] = 1.into();
    other["cells"][0]["threads"] = 1.into();
    place.write("other.json", other.to_string());
    place.run(&["bench", "compare", "speed", "other.json"], 0).expect(&["warning: processor differs: "]);
}

#[test]
fn flags_that_make_no_sense_are_refused_before_anything_runs() {
    let place = place();
    let refused = |more: &[&str], parts: &[&str]| {
        bench(&place, more, 2).expect(parts);
        assert!(!place.path("speed/bench.json").exists(), "{more:?}");
    };
    refused(&["--providers", "auto"], &["error: `auto` is no single provider", "  hint: "]);
    refused(&["--provider-option", "x=1"], &["error: `--provider-option x=1` is for none of the providers (cpu)"]);
    let more = ["--providers", "cpu,openvino", "--provider-option", "cuda.use_tf32=1"];
    refused(&more, &["error: `--provider-option cuda.use_tf32=1` is for none of the providers (cpu, openvino)"]);
    refused(&["--providers", "toaster"], &["error: execution provider `toaster` is not known"]);
    refused(&["--warm-up", "inf"], &["error: the argument '--warm-up <S>' cannot be used multiple times"]);
    refused(&["--fixed-shape", "8"], &["`8` is no shape, expected rows and tokens such as `8x128`"]);
    refused(&["--fixed-shape", "8x8", "--max-batch-tokens", "64"], &["cannot be used with"]);
    refused(
        &["--ort-lib", "openvin=nowhere.so"],
        &[
            "error: `--ort-lib openvin=nowhere.so` names neither a provider nor a file\n  cause: execution provider `openvin` is",
            "known are: ",
        ],
    );
    refused(&["--ort-lib", "a", "--ort-lib", "b"], &["error: `--ort-lib` without a provider is given twice"]);
    let args = ["bench", "--model", tiny_bundle(), "papers.jsonl", "-o", "speed", "--warm-up", "inf"];
    place.run(&args, 2).expect(&["error: `--warm-up` is inf, expected seconds from 0 to 3600"]);
    place.run(&["bench", "--model", tiny_bundle(), "papers.jsonl"], 2).expect(&["--output <DIR>"]);
    place.run(&["bench"], 2).expect(&["--model"]);
    place
        .run(&["bench", "--model", "nowhere", "papers.jsonl", "-o", "x"], 2)
        .expect(&["error: model `nowhere` not found"]);
}

#[test]
#[cfg(unix)]
fn a_run_that_is_interrupted_leaves_whole_files() {
    use std::process::Stdio;
    use std::time::{Duration, Instant};
    let place = place();
    let args =
        ["bench", "--model", tiny_bundle(), "papers.jsonl", "--repeats", "100", "--warm-up", "0.1", "-o", "speed"];
    let child = place.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    let has_a_round = || {
        let text = fs::read_to_string(place.path("speed/bench.json")).unwrap_or_default();
        text.contains("first_batch_seconds")
    };
    while !has_a_round() && started.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(50));
    }
    #[expect(unsafe_code, reason = "std cannot send a signal; the child is ours and not yet waited for")]
    unsafe {
        libc::kill(child.id() as libc::pid_t, libc::SIGINT);
    }
    let said = common::Said::new(child.wait_with_output().unwrap(), 130);
    said.expect(&["1 setting was cut short"]);
    let record = json(&place, "speed/bench.json");
    assert_eq!(
        (&cells(&record)[0]["state"], &cells(&record)[0]["reason"]),
        (&"cut_short".into(), &"the run was stopped".into())
    );
    assert!(place.read("speed/report.html").contains("cut short"));
}
