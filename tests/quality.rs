//! Promise: a bundle whose numbers are not its original's is compared with it; the figures are those of the vectors and
//! stand in the bundle, and one that is worse than was asked is not left behind.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and say why it is skipped")]

mod common;

use std::fs;
use std::path::Path;

use common::{Said, Workplace, tiny_checkpoint};
use offprint::heads::Head;
use offprint::model::{Bundle, Quality};

const PAPERS: usize = 90;

/// The tiny checkpoint as `original`, its bundle as `old`, and a copy whose weights are moved by the share `by` as
/// `moved`.
fn place(by: f32) -> Workplace {
    let place = Workplace::new();
    for name in ["original", "moved"] {
        fs::create_dir(place.path(name)).unwrap();
        for entry in fs::read_dir(tiny_checkpoint()).unwrap() {
            let file = entry.unwrap().path();
            fs::copy(&file, place.path(name).join(file.file_name().unwrap())).unwrap();
        }
    }
    move_weights(&place.path("moved/model.safetensors"), by);
    place.run(&["export", "--model", "original", "-o", "old", "--pooling", "mean"], 0);
    place.write("papers.jsonl", papers());
    place
}

/// Changes every number of the weights by up to the share `by` of it.
fn move_weights(path: &Path, by: f32) {
    let mut bytes = fs::read(path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for (number, value) in bytes[header..].chunks_exact_mut(4).enumerate() {
        let old = f32::from_le_bytes(value.try_into().unwrap());
        value.copy_from_slice(&(old * (1.0 + by * (number as f32).sin())).to_le_bytes());
    }
    fs::write(path, bytes).unwrap();
}

const TOPICS: [(&str, &str); 3] =
    [("reef", "coral ocean fish"), ("alloy", "steel copper lattice"), ("parser", "grammar syntax token")];

fn papers() -> String {
    let paper = |n: usize| {
        let (label, words) = TOPICS[n % 3];
        let words: Vec<&str> = words.split(' ').collect();
        let title = format!("{} {} {label} {n}", words[n % 3], words[(n / 3) % 3]);
        let text = format!("the {} of {} paper {}", words[2], words[n % 2], n * 7 % 11);
        serde_json::json!({"id": format!("p{n}"), "title": title, "abstract": text, "field": label, "n": n}).to_string()
    };
    (0..PAPERS).map(|n| paper(n) + "\n").collect()
}

/// Exports `moved` against `old`.
fn export(place: &Workplace, more: &[&str], status: i32) -> Said {
    let mut args = vec!["export", "--model", "moved", "-o", "new", "--pooling", "mean", "--against", "old"];
    args.extend(more);
    let said = place.run(&args, status);
    assert!(said.stdout.is_empty(), "{}", said.stdout);
    let left = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<String> = left.map(|name| name.to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.contains(".offprint")), "left behind: {left:?}");
    assert_eq!(left.contains(&"new".to_owned()), status == 0, "{left:?}\n{}", said.stderr);
    said
}

fn quality(place: &Workplace) -> Quality {
    Bundle::open(&place.path("new")).unwrap().manifest.quality.unwrap()
}

/// The vectors of `papers.jsonl`.
fn vectors(place: &Workplace, bundle: &str) -> Vec<Vec<f64>> {
    let output = format!("{bundle}.jsonl");
    place.run(&["embed", "--model", bundle, "papers.jsonl", "-o", &output], 0);
    let numbers = |line: &str| -> Vec<f64> {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let numbers = row["embedding"].as_array().unwrap().iter();
        numbers.map(|number| f64::from(number.as_f64().unwrap() as f32)).collect()
    };
    place.read(&output).lines().map(numbers).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The ten nearest others of each vector, the nearest first.
fn neighbours(vectors: &[Vec<f64>]) -> Vec<Vec<usize>> {
    let nearest = |row: usize| {
        let mut others: Vec<usize> = (0..vectors.len()).filter(|&other| other != row).collect();
        let near = |other: &usize| cosine(&vectors[row], &vectors[*other]);
        others.sort_by(|a, b| near(b).total_cmp(&near(a)));
        others.truncate(10);
        others
    };
    (0..vectors.len()).map(nearest).collect()
}

#[test]
fn figures_are_those_of_the_vectors_and_stand_in_the_bundle() {
    let place = place(0.02);
    let said = export(&place, &["--check", "papers.jsonl", "--min-cosine", "0.5"], 0);
    said.expect(&["compared with the bundle old on 90 texts (papers.jsonl), ONNX Runtime 1.", "cosine: least 0."]);
    said.expect(&["neighbours: ", " of the nearest 10 kept, ", "among 90 texts"]);

    let quality = quality(&place);
    let measured = quality.measured.as_ref().unwrap();
    let (old, new) = (vectors(&place, "old"), vectors(&place, "new"));
    let mut cosines: Vec<f64> = old.iter().zip(&new).map(|(old, new)| cosine(old, new)).collect();
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    cosines.sort_by(f64::total_cmp);
    let close = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-12, "{got}, expected {expected}");
    close(measured.cosine_min, cosines[0]);
    close(measured.cosine_1_percent, cosines[0] + 0.89 * (cosines[1] - cosines[0]));
    close(measured.cosine_median, (cosines[44] + cosines[45]) / 2.0);
    close(measured.cosine_mean, mean);
    assert!(measured.cosine_min < measured.cosine_median && measured.cosine_median < 1.0);
    let pairs = old.iter().flatten().zip(new.iter().flatten());
    close(measured.max_delta, pairs.map(|(old, new)| (old - new).abs()).fold(0.0, f64::max));
    let (near_old, near_new) = (neighbours(&old), neighbours(&new));
    let kept = |(old, new): (&Vec<usize>, &Vec<usize>)| old.iter().filter(|row| new.contains(row)).count();
    close(measured.neighbours_kept, near_old.iter().zip(&near_new).map(kept).sum::<usize>() as f64 / 900.0);
    let first = near_old.iter().zip(&near_new).filter(|(old, new)| old[0] == new[0]).count();
    close(measured.first_neighbour_kept, first as f64 / 90.0);

    let toml = place.read("new/bundle.toml");
    for part in [
        "[quality]\noriginal = \"bundle old\"\n",
        "corpus = \"papers.jsonl\"\ntexts = 90\n",
        "\ncpu = \"",
        "\nonnxruntime = \"1.",
    ] {
        assert!(toml.contains(part), "{part} is not in:\n{toml}");
    }
    let old = Bundle::open(&place.path("old")).unwrap();
    assert_eq!(quality.original_fingerprint, Some(old.fingerprint().hash()));
    assert_eq!(old.manifest.quality, None);
}

#[test]
fn figures_in_the_graph_are_a_copy_and_the_graph_itself_stays() {
    let place = place(0.02);
    export(&place, &["--check", "papers.jsonl"], 0);
    place.run(&["export", "--model", "moved", "-o", "plain", "--pooling", "mean"], 0);
    let [new, plain] = ["new", "plain"].map(|name| Bundle::open(&place.path(name)).unwrap());
    new.verify_graph().unwrap();
    // Figures are no part of what a bundle computes: its vectors are found in the cache under the same name.
    assert_eq!(new.fingerprint().hash(), plain.fingerprint().hash());
    let toml = place.read("new/bundle.toml");
    let edited = toml.replace("neighbour_texts = 90", "neighbour_texts = 91");
    assert_ne!(edited, toml);
    fs::write(place.path("new/bundle.toml"), edited).unwrap();
    let error = Bundle::open(&place.path("new")).unwrap_err().to_string();
    assert!(error.contains("quality.measured.neighbour_texts"), "{error}");
}

#[test]
fn a_bundle_that_is_worse_than_asked_is_status_1_and_leaves_nothing() {
    let place = place(0.02);
    let said = export(&place, &["--check", "papers.jsonl", "--min-cosine", "0.9999999"], 1);
    said.expect(&["error: the new bundle is worse than was asked; nothing was written\n  cause: the least cosine"]);
    said.expect(&[" is 0.", ", expected 0.9999999 or more (`--min-cosine`)", "compared with the bundle old"]);
    // What was there before stays.
    place.run(
        &["export", "--model", "moved", "-o", "old", "--pooling", "mean", "--against", "old", "--min-cosine", "1"],
        1,
    );
    let kept = Bundle::open(&place.path("old")).unwrap();
    assert_eq!(kept.manifest.source.name, "original");
    // The bound itself is good enough.
    let said = place.run(
        &["export", "--model", "original", "-o", "same", "--pooling", "mean", "--against", "old", "--min-cosine", "1"],
        0,
    );
    said.expect(&["cosine: least 1, 1 % below 1, median 1, mean 1; largest change of a number 0"]);
    said.expect(&["neighbours: 100.00 % of the nearest 10 kept, 100.00 % of the first"]);
    assert!(place.read("same/bundle.toml").contains("corpus = \"built-in texts\"\ntexts = 1"));
}

#[test]
fn a_heads_loss_is_measured_and_bounded() {
    let place = place(0.6);
    place.run(&["train", "--model", "old", "--label", "field", "papers.jsonl", "-o", "field.head"], 0);
    let head = ["--check", "papers.jsonl", "--head", "field.head", "--label", "field"];
    let said = export(&place, &[&head[..], &["--max-f1-drop", "1"]].concat(), 0);
    said.expect(&["  head field.head on `field` of 90 texts: macro-F1 "]);
    let found = quality(&place).head.unwrap();
    // The same figures as those of a run of each bundle.
    for (bundle, f1) in [("old", found.f1_macro_original), ("new", found.f1_macro)] {
        let allow = ["--allow-encoder-change"];
        let args = ["classify", "--model", bundle, "--head", "field.head", "papers.jsonl", "--label", "field"];
        place.run(&[&args[..], &allow].concat(), 0).expect(&[&format!("macro-F1 {f1:.4}")]);
    }
    assert!(found.f1_drop > 0.05 && found.answers_changed > 0, "{found:?}");
    assert_eq!(found.f1_drop, found.f1_macro_original - found.f1_macro);
    fs::remove_dir_all(place.path("new")).unwrap();

    let bound = format!("{}", found.f1_drop - 0.001);
    let said = export(&place, &[&head[..], &["--max-f1-drop", &bound]].concat(), 1);
    said.expect(&[
        "cause: macro-F1 of head `field.head` falls by 0.",
        &format!("expected {bound} or less (`--max-f1-drop`)"),
    ]);
    let said = export(&place, &[&head[..], &["--max-f1-drop", "0", "--min-cosine", "1"]].concat(), 1);
    said.expect(&["  cause: the least cosine", "  cause: macro-F1 of head"]);
    let exact = found.f1_drop.to_string();
    export(&place, &[&head[..], &["--max-f1-drop", &exact]].concat(), 0);
}

#[test]
fn the_loss_of_a_head_for_several_labels_is_that_of_classify() {
    let place = place(0.6);
    let mut head = Head::load(&common::root().join("tests/data/heads/tags.head")).unwrap();
    head.identity = Bundle::open(&place.path("old")).unwrap().identity().fields().clone();
    head.thresholds = None;
    head.save(&place.path("tags.head")).unwrap();
    // Labels in a text: the first for even papers, the second for every third, none for some.
    let row = |n: usize| {
        let labels = [(n % 2 == 0, &head.labels[0]), (n % 3 == 0, &head.labels[1])];
        let labels: Vec<&str> = labels.iter().filter(|(given, _)| *given).map(|(_, label)| label.as_str()).collect();
        format!(
            "{}\n",
            serde_json::json!({"id": n.to_string(), "title": format!("reef {n} steel"), "tags": labels.join(" | ")})
        )
    };
    place.write("tagged.jsonl", (0..60).map(row).collect::<String>());
    let flags = ["--check", "tagged.jsonl", "--head", "tags.head", "--label", "tags", "--label-separator", "|"];
    let said = export(&place, &flags, 0);
    let found = quality(&place).head.unwrap();
    // A text without labels says nothing.
    assert_eq!((found.texts, found.unlabelled, found.unknown_labels), (40, 20, 0));
    said.expect(&["on `tags` of 40 texts: macro-F1 "]);
    for (bundle, f1_micro, f1_macro) in
        [("old", found.f1_micro_original, found.f1_macro_original), ("new", found.f1_micro, found.f1_macro)]
    {
        let args = ["classify", "--model", bundle, "--head", "tags.head", "tagged.jsonl", "--label", "tags"];
        let said = place.run(&[&args[..], &["--label-separator", "|", "--allow-encoder-change"]].concat(), 0);
        said.expect(&[&format!("micro-F1 {:.4}", f1_micro.unwrap()), &format!("macro-F1 {f1_macro:.4}")]);
    }
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_is_built() {
    let place = place(0.02);
    place.run(&["train", "--model", "old", "--label", "field", "papers.jsonl", "-o", "field.head"], 0);
    let refuse = |flags: &[&str], message: &[&str]| {
        let mut args = vec!["export", "--model", "moved", "-o", "new", "--pooling", "mean"];
        args.extend(flags);
        place.run(&args, 2).expect(message);
        assert!(!place.path("new").exists());
    };
    let itself = "but an fp32 graph is itself what others are compared with";
    let hint = "hint: name a bundle to compare it with by `--against`";
    refuse(&["--min-cosine", "0.9"], &["error: `--min-cosine` is given, ", itself, hint]);
    refuse(&["--check", "papers.jsonl"], &["error: `--check` is given, ", itself, hint]);
    let all = ["--check", "papers.jsonl", "--head", "field.head", "--label", "field", "--max-f1-drop", "0.1"];
    refuse(&all, &["error: `--check` is given, ", itself]);

    let against = |flags: &[&str], message: &[&str]| refuse(&[&["--against", "old"], flags].concat(), message);
    let how = "hint: macro-F1 is measured with `--head HEAD --label FIELD --check CORPUS`";
    against(&["--max-f1-drop", "0.1"], &["error: `--max-f1-drop` is given without `--head`", how]);
    against(&["--head", "field.head", "--check", "papers.jsonl"], &["error: `--head` is given without `--label`", how]);
    against(&["--label", "field", "--check", "papers.jsonl"], &["error: `--label` is given without `--head`", how]);
    against(&["--head", "field.head", "--label", "field"], &["error: `--head` is given without `--check`", how]);
    let separated = [&all[..6], &["--label-separator", ","]].concat();
    against(&separated, &["error: `--label-separator` is about a `--head` that gives several labels"]);
    against(&["--min-cosine", "1.01"], &["error: `--min-cosine` is 1.01, expected -1 to 1"]);
    against(&["--min-cosine", "-1.01"], &["error: `--min-cosine` is -1.01, expected -1 to 1"]);
    against(&["--min-cosine", "NaN"], &["error: `--min-cosine` is NaN, expected -1 to 1"]);
    against(&["--max-f1-drop", "-0.1"], &["error: `--max-f1-drop` is -0.1, expected 0 to 1"]);
    against(&["--check", "nowhere.jsonl"], &["error: ", "nowhere.jsonl"]);
    refuse(&["--against", "original"], &["error: ", "original"]);
}

#[test]
fn heads_of_other_encoders_and_of_numbers_are_refused() {
    let place = place(0.02);
    let fixture = |name: &str| common::root().join("tests/data/heads").join(name);
    let identity = Bundle::open(&place.path("old")).unwrap().identity().fields().clone();
    for name in ["topic.head", "year.head"] {
        let mut head = Head::load(&fixture(name)).unwrap();
        head.identity = identity.clone();
        if name == "topic.head" {
            head.identity.insert("pooling".into(), "cls".into());
        }
        head.save(&place.path(name)).unwrap();
    }
    let refuse =
        |head: &str, label: &str| export(&place, &["--check", "papers.jsonl", "--head", head, "--label", label], 2);
    refuse("topic.head", "field")
        .expect(&["error: head `topic.head` was trained on another encoder", "pooling: cls -> mean"]);
    refuse("year.head", "n").expect(&["error: head `year.head` gives numbers, expected labels"]);
    place.run(&["train", "--model", "old", "--label", "field", "papers.jsonl", "-o", "field.head"], 0);
    refuse("field.head", "n")
        .expect(&["error: the new graph could not be compared with its original; nothing was written"]);
    refuse("field.head", "n")
        .expect(&["cause: no text has a label in `n` that the head knows", "hint: `--label` names"]);
}

#[test]
fn a_corpus_is_read_like_any_other_and_what_it_lacks_is_said() {
    let place = place(0.02);
    let rows = "title,x\nA reef,1\nAn alloy,2\n";
    place.write("few.csv", rows);
    let said = export(&place, &["--check", "few.csv", "papers.jsonl", "--limit", "5"], 0);
    said.expect(&["on 5 texts (few.csv papers.jsonl)"]);
    fs::remove_dir_all(place.path("new")).unwrap();
    place.write("bad.jsonl", "{\"title\": 7}\n{\"title\": \"one\"}\n{\"title\": \"two\"}\n");
    export(&place, &["--check", "bad.jsonl"], 0)
        .expect(&["warning: 1 rows cannot be used and were passed over", "on 2 texts"]);
    fs::remove_dir_all(place.path("new")).unwrap();
    place.write("one.jsonl", "{\"title\": \"one\"}\n{\"title\": \"one\"}\n");
    let said = export(&place, &["--check", "one.jsonl"], 2);
    said.expect(&["error: the new graph could not be compared", "cause: 1 texts that differ from each other"]);
    place.write("cut.jsonl.gz", [0x1f, 0x8b, 8, 0, 0]);
    export(&place, &["--check", "cut.jsonl.gz"], 2).expect(&["error: ", "cut.jsonl.gz"]);

    let new = ["export", "--model", "moved", "-o", "new", "--pooling", "mean", "--against", "old", "--check", "-"];
    let output = place.offprint(&new).write_stdin(papers()).output().unwrap();
    Said::new(output, 0).expect(&["on 90 texts (-)"]);
}

#[test]
fn bundles_of_other_sizes_are_not_compared() {
    let place = place(0.02);
    let wide = common::root().join("tests/data/tiny-bert/mean");
    let args = ["export", "--model", wide.to_str().unwrap(), "-o", "wide", "--against", "old"];
    let said = place.run(&args, 2);
    said.expect(&[
        "error: `old` has vectors of ",
        " numbers, the new bundle of ",
        "hint: compare bundles of the same model",
    ]);
    assert!(!place.path("wide").exists());
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_comparison_and_nothing_is_left() {
    let place = place(0.02);
    place.write("papers.jsonl", papers().repeat(4_000));
    let args =
        ["export", "--model", "moved", "-o", "new", "--pooling", "mean", "--against", "old", "--check", "papers.jsonl"];
    let child =
        place.command(&args).stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let begun = || {
        let names = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap());
        names.into_iter().any(|entry| entry.path().join("bundle/bundle.toml").is_file())
    };
    while !begun() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    #[expect(unsafe_code, reason = "std cannot send a signal; the child is ours and not yet waited for")]
    unsafe {
        libc::kill(child.id() as libc::pid_t, libc::SIGTERM);
    }
    let asked = std::time::Instant::now();
    Said::new(child.wait_with_output().unwrap(), 143).expect(&["stopped; nothing was written"]);
    assert!(asked.elapsed().as_secs() < 10, "{:?}", asked.elapsed());
    let left: Vec<String> = fs::read_dir(place.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!left.iter().any(|name| name == "new" || name.starts_with(".offprint")), "{left:?}");
}
