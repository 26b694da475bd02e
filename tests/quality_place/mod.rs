//! Two encoders that differ a little, and papers to compare them on. Invariant: no export leaves a folder of its own behind.
// Every test file compiles this module for itself and uses its own part of it.
#![allow(dead_code)]

use std::fs;
use std::path::Path;

use crate::common::{Said, Workplace, tiny_checkpoint};

const PAPERS: usize = 90;

/// The tiny checkpoint as `original`, its bundle as `old`, and a copy whose weights are moved by the share `by` as
/// `moved`.
pub fn place(by: f32) -> Workplace {
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

pub fn papers() -> String {
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
pub fn export(place: &Workplace, more: &[&str], status: i32) -> Said {
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
