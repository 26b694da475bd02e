//! Head files: round trip, the committed format, other tools' files, and every way a file can be no head.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking")]

#[path = "common/head_bytes.rs"]
mod head_bytes;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::Path;

use head_bytes::{KINDS, assert_same, join, load, sample, saved, split};
use ndarray::array;
use offprint::heads::{Error, Head, HeadKind};
use serde_json::{Value, json};

/// What `load` says about the sample after `change` (without its checksum, so that the change itself is judged).
fn complaint(change: impl FnOnce(&mut Value, &mut Vec<u8>)) -> String {
    let (mut header, mut data) = split(&saved(&sample()));
    header["__metadata__"].as_object_mut().unwrap().remove("checksum").unwrap();
    change(&mut header, &mut data);
    let error = load(&join(&header, &data)).unwrap_err();
    assert!(
        error.to_string().starts_with("head `") && error.to_string().ends_with("x.head` cannot be used"),
        "{error}"
    );
    error.source().unwrap().to_string()
}

fn set_field(key: &str, value: impl Into<Value>) -> String {
    let value = value.into();
    complaint(|header, _| header["__metadata__"][key] = value)
}

#[test]
fn a_head_comes_back_as_it_was() {
    let head = sample();
    let bytes = saved(&head);
    assert_eq!(bytes, saved(&head), "the same head makes the same bytes");
    let back = load(&bytes).unwrap();
    assert_same(&back, &head);
    assert_eq!(saved(&back), bytes);
}

#[test]
fn the_committed_head_of_version_1_is_what_is_written_and_read() {
    let path = Path::new("tests/data/heads/version-1-optimality.head");
    if std::env::var_os("OFFPRINT_WRITE_FIXTURES").is_some() && !path.exists() {
        sample().save(path).unwrap();
    }
    assert_same(&Head::load(path).unwrap(), &sample());
    assert!(std::fs::read(path).unwrap() == saved(&sample()), "format 1 is written differently now");
}

#[test]
fn a_head_of_version_1_with_the_former_account_of_its_fit_is_read() {
    assert_same(&Head::load(Path::new("tests/data/heads/version-1.head")).unwrap(), &sample());
}

#[test]
fn a_head_of_another_tool_needs_no_checksum_and_may_be_f32() {
    let head = Head::load(Path::new("tests/data/heads/foreign.head")).unwrap();
    assert_eq!(head.labels, ["art", "biology", "physics"]);
    let linear = head.linear().unwrap();
    assert_eq!(linear.coefficients, array![[1.0, -2.0], [0.5, 0.25], [-1.5, 1.75]]);
    assert_eq!((&linear.intercepts[..], head.strength), (&[0.0, 1.0, -1.0][..], Some(1.0)));
    assert_eq!(head.optimality, None);
    assert_eq!((head.kind, head.dim()), (HeadKind::Logistic, 2));
}

#[test]
fn no_single_flipped_byte_or_cut_passes_as_another_head() {
    let head = sample();
    let good = saved(&head);
    let mut state = 1_u64;
    let mut draw = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % below
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.head");
    let attempt = |bytes: &[u8], must_equal: bool| {
        std::fs::write(&path, bytes).unwrap();
        if let Ok(loaded) = Head::load(&path) {
            let probabilities = loaded.predict(ndarray::Array2::zeros((1, loaded.dim())).view()).unwrap();
            assert_eq!(probabilities.ncols(), loaded.labels.len());
            if must_equal {
                assert_same(&loaded, &head);
            }
        }
    };
    for position in 0..good.len() {
        let mut bytes = good.clone();
        bytes[position] ^= 1 << draw(8);
        attempt(&bytes, true);
    }
    for _ in 0..600 {
        let mut bytes = good.clone();
        for _ in 0..1 + draw(6) {
            let position = if draw(2) == 0 { draw(bytes.len()) } else { draw(16) };
            bytes[position] = draw(256) as u8;
        }
        attempt(&bytes, false);
    }
    for length in (0..good.len()).step_by(5) {
        std::fs::write(folder.path().join("short.head"), &good[..length]).unwrap();
        Head::load(&folder.path().join("short.head")).unwrap_err();
    }
    let mut longer = good;
    longer.push(0);
    load(&longer).unwrap_err();
}

#[test]
fn sizes_that_do_not_add_up() {
    let text = |bytes: &[u8]| load(bytes).unwrap_err().source().unwrap().to_string();
    assert_eq!(text(b""), "its header needs 8 bytes, the file has 0");
    assert_eq!(text(&[0; 7]), "its header needs 8 bytes, the file has 7");
    assert_eq!(text(&[255; 8]), format!("its header needs {} bytes, the file has 8", u64::MAX));
    let more = [&3_u64.to_le_bytes()[..], b"{}"].concat();
    assert_eq!(text(&more), "its header needs 11 bytes, the file has 10");
    let exact = [&2_u64.to_le_bytes()[..], b"{}"].concat();
    assert_eq!(text(&exact), "its metadata has no `format`");
    assert_eq!(text(&[&2_u64.to_le_bytes()[..], b"no"].concat()), "it is not a valid safetensors file");
}

#[test]
fn a_file_too_large_for_a_head_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.head");
    std::fs::File::create(&path).unwrap().set_len((1 << 30) + 1).unwrap();
    let error = Head::load(&path).unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "it has 1073741825 bytes, heads have 1073741824 at most");
}

#[test]
fn versions_at_the_border() {
    let newer = complaint(|header, _| header["__metadata__"]["format"] = "4".into());
    assert_eq!(newer, "it has format version 4, this program reads up to 3");
    assert_eq!(set_field("format", "0"), "`format` of its metadata is `0`, expected a version number from 1");
    assert_eq!(set_field("format", "-1"), "`format` of its metadata is `-1`, expected a version number from 1");
    // A newer version is told apart before anything else is looked at.
    let hostile = complaint(|header, _| {
        header["__metadata__"] = json!({ "format": "7" });
        header["surprise"] = header["intercepts"].take();
        header.as_object_mut().unwrap().remove("intercepts");
    });
    assert_eq!(hostile, "it has format version 7, this program reads up to 3");
    let (mut header, data) = split(&saved(&sample()));
    header["__metadata__"]["format"] = "4".into();
    let error = load(&join(&header, &data)).unwrap_err();
    assert_eq!(error.hint().unwrap(), "use the version of offprint that wrote it, or train the head again");
}

#[test]
fn metadata_that_is_missing_or_wrong() {
    for key in ["kind", "labels", "identity", "template_or_field", "metrics", "c", "created_by"] {
        let text = complaint(|header, _| {
            header["__metadata__"].as_object_mut().unwrap().remove(key).unwrap();
        });
        assert_eq!(text, format!("its metadata has no `{key}`"));
    }
    assert_eq!(set_field("kind", "svm"), "`kind` of its metadata is `svm`, expected `logistic` or `linear`");
    assert_eq!(set_field("kind", "tree"), format!("`kind` of its metadata is `tree`, expected {KINDS}"));
    assert_eq!(set_field("labels", "[1, 2]"), "`labels` of its metadata is not a JSON list of texts");
    assert_eq!(set_field("identity", "[]"), "`identity` of its metadata is not a JSON object of texts");
    assert_eq!(set_field("metrics", "{"), "`metrics` of its metadata is not JSON");
    assert_eq!(set_field("optimality", "{}"), "`optimality` of its metadata is not the JSON object of a fit");
    assert_eq!(set_field("convergence", "{}"), "`convergence` of its metadata is not the JSON object of a fit");
    assert_eq!(set_field("c", "one"), "`c` of its metadata is `one`, expected a number");
    assert_eq!(set_field("c", "0"), "`c` of its metadata is `0`, expected a finite number above 0");
    assert_eq!(set_field("c", "NaN"), "`c` of its metadata is `NaN`, expected a finite number above 0");
    let long = set_field("kind", "\n".repeat(70));
    assert_eq!(long, format!("`kind` of its metadata is `{}...`, expected {KINDS}", "\u{fffd}".repeat(60)));
}

#[test]
fn labels_that_are_no_labels() {
    assert_eq!(set_field("labels", r#"["a"]"#), "it has 1 labels, expected at least 2");
    assert_eq!(set_field("labels", r#"["a", "b", "a"]"#), "label `a` is there twice (positions 0 and 2)");
    let four = set_field("labels", r#"["a", "b", "c", "d"]"#);
    assert_eq!(four, "tensor `coefficients` has shape [3, 2], 4 labels ask for [4, dim]");
    let two = set_field("labels", r#"["a", "b"]"#);
    assert_eq!(two, "tensor `coefficients` has shape [3, 2], 2 labels ask for [1, dim]");
}

#[test]
fn tensors_that_are_no_head() {
    let shape = |tensor: &'static str, shape: Value| complaint(move |header, _| header[tensor]["shape"] = shape);
    assert_eq!(shape("coefficients", json!([3, 3])), "it is not a valid safetensors file");
    assert_eq!(
        shape("coefficients", json!([2, 3])),
        "tensor `coefficients` has shape [2, 3], 3 labels ask for [3, dim]"
    );
    assert_eq!(
        shape("coefficients", json!([6])),
        "tensor `coefficients` has shape [6], 3 labels ask for two dimensions"
    );
    assert_eq!(
        shape("intercepts", json!([3, 1])),
        "tensor `intercepts` has shape [3, 1], 3 labels ask for one dimension"
    );
    let short = complaint(|header, data| {
        header["intercepts"]["shape"] = json!([2]);
        header["intercepts"]["data_offsets"] = json!([48, 64]);
        data.truncate(64);
    });
    assert_eq!(short, "tensor `intercepts` has shape [2], 3 labels ask for [3]");
    let empty = complaint(|header, data| {
        header["coefficients"] = json!({ "dtype": "F64", "shape": [3, 0], "data_offsets": [0, 0] });
        header["intercepts"]["data_offsets"] = json!([0, 24]);
        data.drain(..48);
    });
    assert_eq!(empty, "tensor `coefficients` has shape [3, 0], 3 labels ask for [3, dim]");
    let integers = complaint(|header, _| header["coefficients"]["dtype"] = "I64".into());
    assert_eq!(integers, "tensor `coefficients` is of type I64, expected F64 or F32");
    let renamed = complaint(|header, _| {
        header["bias"] = header["intercepts"].take();
        header.as_object_mut().unwrap().remove("intercepts");
    });
    assert_eq!(renamed, r#"its tensors are ["bias", "coefficients"], expected ["coefficients", "intercepts"]"#);
    let not_a_number = complaint(|_, data| data[16..24].copy_from_slice(&f64::NAN.to_le_bytes()));
    assert_eq!(not_a_number, "tensor `coefficients` has NaN at position 2, expected finite numbers");
    let infinite = complaint(|_, data| data[64..].copy_from_slice(&f64::INFINITY.to_le_bytes()));
    assert_eq!(infinite, "tensor `intercepts` has inf at position 2, expected finite numbers");
}

#[test]
fn a_damaged_number_is_found_by_the_checksum() {
    let mut bytes = saved(&sample());
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    let text = load(&bytes).unwrap_err().source().unwrap().to_string();
    assert!(text.starts_with("its content has checksum ") && text.contains(", its metadata says "), "{text}");
}

#[test]
fn files_that_cannot_be_read_or_written() {
    let missing = Head::load(Path::new("no/such.head")).unwrap_err();
    assert_eq!(missing.to_string(), "head `no/such.head` could not be read");
    assert!(missing.source().is_some());
    let unwritable = sample().save(Path::new("no/such.head")).unwrap_err();
    assert_eq!(unwritable.to_string(), "head `no/such.head` could not be written");
}

#[test]
fn a_head_that_does_not_fit_together_is_not_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.head");
    let mut head = sample();
    head.labels.pop();
    let error = head.save(&path).unwrap_err();
    assert_eq!(error.to_string(), "the head cannot be built");
    assert!(!path.exists());
}

#[test]
fn another_encoder_is_refused_with_every_difference() {
    let head = load(&saved(&sample())).unwrap();
    head.check_identity(&head.identity).unwrap();
    let other = BTreeMap::from([("pooling".into(), "cls".into()), ("adapter".into(), "proximity".into())]);
    let error = head.check_identity(&other).unwrap_err();
    let mut chain = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        chain.push(cause.to_string());
        source = cause.source();
    }
    assert!(chain[0].starts_with("head `") && chain[0].ends_with("x.head` was trained on another encoder"));
    assert_eq!(chain[1..], ["adapter: (none) -> proximity", "pooling: mean -> cls", "weights: ab12 -> (none)"]);
    assert_eq!(error.hint().unwrap(), "train it again on this bundle");
    let length = head.check_dim(3).unwrap_err();
    assert!(length.to_string().ends_with("x.head` is for vectors of 2 numbers, the encoder gives 3"), "{length}");
    assert_eq!(length.hint(), None);
    let unsaved = sample().check_identity(&other).unwrap_err();
    assert_eq!(unsaved.to_string(), "the head was trained on another encoder");
}

#[test]
fn rows_that_are_not_for_this_head() {
    let text = |error: Error| error.to_string();
    let wide = array![[0.0_f32, 1.0, 2.0]];
    assert_eq!(text(sample().predict(wide.view()).unwrap_err()), "rows have 3 dimensions, the head was trained on 2");
    let broken = array![[0.0_f32, 1.0], [f32::NAN, 0.0]];
    let not_finite = text(sample().predict(broken.view()).unwrap_err());
    assert_eq!(not_finite, "row 1 has NaN in column 0, expected finite numbers");
    let none = ndarray::Array2::<f32>::zeros((0, 2));
    assert_eq!(sample().predict(none.view()).unwrap().dim(), (0, 3));
}
