//! Files of `torch.save`, sound and hostile: built here by hand, made by torch itself (tests/data), and broken at random.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use proptest::prelude::{any, proptest};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::pickle::Pickle;
use super::{Error, Weights};

/// A pickle that is put together operation by operation.
#[derive(Default)]
struct Script(Vec<u8>);

impl Script {
    fn start() -> Self {
        Self(b"\x80\x02}(".to_vec())
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    fn int(self, value: i64) -> Self {
        self.raw(b"\x8a\x08").raw(&value.to_le_bytes())
    }

    fn tuple(self, values: &[i64]) -> Self {
        values.iter().fold(self.raw(b"("), |script, value| script.int(*value)).raw(b"t")
    }

    /// `name`: a tensor of the storage `0`, which is said to have `count` elements.
    fn tensor(self, name: &str, storage: (&str, i64), (offset, size, strides): (i64, &[i64], &[i64])) -> Self {
        let (kind, count) = storage;
        self.text(name)
            .raw(b"ctorch._utils\n_rebuild_tensor_v2\n((")
            .text("storage")
            .raw(format!("ctorch\n{kind}\n").as_bytes())
            .text("0")
            .text("cpu")
            .int(count)
            .raw(b"tQ")
            .int(offset)
            .tuple(size)
            .tuple(strides)
            .raw(b"\x89ccollections\nOrderedDict\n)RtR")
    }

    fn end(self) -> Vec<u8> {
        self.raw(b"u.").0
    }
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let plain = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        zip.start_file(*name, plain).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// An archive with this pickle and one storage of the floats 0 to 5.
fn file(pickle: &[u8]) -> Vec<u8> {
    let storage = floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    archive(&[("m/data.pkl", pickle), ("m/byteorder", b"little"), ("m/data/0", &storage)])
}

fn open(bytes: &[u8]) -> Result<Weights, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_model.bin");
    fs::write(&path, bytes).unwrap();
    Weights::open(&path)
}

fn refusal(bytes: &[u8]) -> String {
    let text = open(bytes).unwrap_err().to_string();
    let start = text.find("`/").unwrap() + 1;
    let end = text.find("pytorch_model.bin").unwrap();
    format!("{}{}", &text[..start], &text[end..])
}

fn one(storage: (&str, i64), layout: (i64, &[i64], &[i64])) -> Vec<u8> {
    file(&Script::start().tensor("w", storage, layout).end())
}

fn values(weights: &Weights, name: &str, shape: &[usize]) -> Vec<f32> {
    let tensor = weights.tensor(name, shape).unwrap();
    let mut values = Vec::new();
    tensor.read(0..tensor.count(), &mut values).unwrap();
    values
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

#[test]
fn tensors_are_read_along_their_strides() {
    let pickle = Script::start()
        .tensor("plain", ("FloatStorage", 6), (0, &[2, 3], &[3, 1]))
        .tensor("transposed", ("FloatStorage", 6), (0, &[3, 2], &[1, 3]))
        .tensor("part", ("FloatStorage", 6), (1, &[2, 2], &[3, 1]))
        .tensor("scalar", ("FloatStorage", 6), (5, &[], &[]))
        .tensor("empty", ("FloatStorage", 6), (6, &[0, 3], &[3, 1]))
        .tensor("steps", ("LongStorage", 1), (0, &[1], &[1]))
        .text("epoch")
        .int(3)
        .end();
    let weights = open(&file(&pickle)).unwrap();
    assert_eq!(weights.names().collect::<Vec<_>>(), ["empty", "part", "plain", "scalar", "steps", "transposed"]);
    assert_eq!(values(&weights, "plain", &[2, 3]), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(values(&weights, "transposed", &[3, 2]), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(values(&weights, "part", &[2, 2]), [1.0, 2.0, 4.0, 5.0]);
    assert_eq!(values(&weights, "scalar", &[]), [5.0]);
    assert_eq!(values(&weights, "empty", &[0, 3]), [0.0_f32; 0]);
    let error = weights.tensor("steps", &[1]).unwrap_err().to_string();
    assert!(error.ends_with("has type I64, supported are: F32, F16, BF16"), "{error}");
}

#[test]
fn a_tensor_outside_its_storage_is_refused() {
    let float = ("FloatStorage", 6);
    let outside =
        |layout: &str| format!("tensor `w` in `pytorch_model.bin` has {layout}, its storage holds 6 elements");
    let layouts: [(i64, &[i64], &[i64], &str); 5] = [
        (1, &[2, 3], &[3, 1], "offset 1, shape [2, 3] and strides [3, 1]"),
        (0, &[2], &[6], "offset 0, shape [2] and strides [6]"),
        (7, &[0], &[1], "offset 7, shape [0] and strides [1]"),
        // Strides of 0 would make any number of elements out of one.
        (0, &[1 << 40], &[0], "offset 0, shape [1099511627776] and strides [0]"),
        (0, &[i64::MAX, 4], &[4, 1], "offset 0, shape [9223372036854775807, 4] and strides [4, 1]"),
    ];
    for (offset, size, strides, layout) in layouts {
        assert_eq!(refusal(&one(float, (offset, size, strides))), outside(layout));
    }
    let numbers =
        "tensor `w` in `pytorch_model.bin` has an offset, shape or strides that are no whole numbers from 0 on";
    assert_eq!(refusal(&one(float, (-1, &[1], &[1]))), numbers);
    assert_eq!(refusal(&one(float, (0, &[-1], &[1]))), numbers);
    assert_eq!(
        refusal(&one(float, (0, &[1, 1], &[1]))),
        "tensor `w` in `pytorch_model.bin` has shape [1, 1] but strides [1]"
    );
    assert_eq!(
        refusal(&one(("HalfStorage", 13), (0, &[1], &[1]))),
        "tensor `w` in `pytorch_model.bin` has a storage of 13 elements, the file holds 12 of them"
    );
    let alone = archive(&[("m/data.pkl", &Script::start().tensor("w", float, (0, &[1], &[1])).end())]);
    assert_eq!(refusal(&alone), "tensor `w` in `pytorch_model.bin` has no storage `data/0`");
}

#[test]
fn a_name_that_weights_do_not_need_is_refused_and_named() {
    for (module, name) in [("os", "system"), ("builtins", "eval"), ("torch._utils", "_rebuild_qtensor"), ("", "")] {
        let expected = format!("`pytorch_model.bin` asks for `{module}.{name}`, which is no part of a file of weights");
        let lines = Script::start().raw(format!("c{module}\n{name}\n").as_bytes());
        assert_eq!(refusal(&file(&lines.text("echo").raw(b"\x85R").end())), expected);
        let stacked = Script::start().text(module).text(name).raw(b"\x93");
        assert_eq!(refusal(&file(&stacked.end())), expected);
    }
}

#[test]
fn nothing_in_a_file_is_executed() {
    let error = Weights::open(&data("hostile-weights/marker.bin")).unwrap_err();
    let name = "`posix.system`, which is no part of a file of weights";
    assert!(error.to_string().ends_with(name), "{error}");
    assert!(error.hint().unwrap().starts_with("nothing in the file was executed"));
    assert!(!Path::new("executed").exists());
}

#[test]
fn the_format_before_torch_1_6_says_how_to_convert_it() {
    let error = Weights::open(&data("hostile-weights/legacy.bin")).unwrap_err();
    assert!(error.to_string().ends_with("has the format of torch before 1.6"), "{error}");
    assert!(error.hint().unwrap().contains("torch.load('pytorch_model.bin', weights_only=True)"));
}

#[test]
fn what_is_no_file_of_weights_is_refused() {
    let prefix = "`pytorch_model.bin` is not a file of weights that `torch.save` wrote: ";
    let problem = |bytes: &[u8]| refusal(bytes).strip_prefix(prefix).unwrap().to_owned();
    assert_eq!(problem(b""), "it is no zip archive");
    assert_eq!(problem(b"\x80\x02}."), "it is no zip archive");
    assert_eq!(problem(b"PK\x03\x04"), "its archive could not be read");
    assert_eq!(problem(&archive(&[("m/readme", b"")])), "it has no `data.pkl` (`torch.save` writes one)");
    let nothing = "it holds no tensors by name (it is no `state_dict`)";
    assert_eq!(problem(&file(b"\x80\x02}.")), nothing);
    assert_eq!(problem(&file(b"\x80\x02]q\0h\0a.")), nothing);
    assert_eq!(problem(&file(b"\x80\x02}(")), "it ends at byte 4 inside a value");
    assert_eq!(problem(&file(b"(lp0\n.")), "byte 1 of its pickle has operation 0x6c, which files of weights don't use");
    assert_eq!(problem(&file(b"h\x07.")), "byte 1 of its pickle has value 7, which was never noted");
    assert_eq!(problem(&file(b"t.")), "byte 1 of its pickle has the end of what was never begun");
    assert_eq!(problem(&file(b"R.")), "byte 1 of its pickle has a value from an empty stack");
    let big = archive(&[("m/data.pkl", b"\x80\x02}."), ("m/byteorder", b"big")]);
    assert_eq!(problem(&big), "its numbers are not little-endian");
    let long = vec![b')'; (4 << 20) + 1];
    assert_eq!(problem(&file(&long)), "its description takes 4194305 bytes, at most 4194304 are read");
}

#[test]
fn a_compressed_entry_is_refused_unread() {
    // Method 8 (deflate) in the local and in the central header of the first entry.
    let mut bytes = one(("FloatStorage", 6), (0, &[6], &[1]));
    let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    bytes[8] = 8;
    bytes[central + 10] = 8;
    let text = refusal(&bytes);
    assert!(
        text.ends_with("its entry `m/data.pkl` is compressed or encrypted, which `torch.save` never does"),
        "{text}"
    );
}

#[test]
fn nesting_and_cycles_cost_nothing() {
    let deep = [b"\x80\x02".to_vec(), vec![b']'; 1_000_000], vec![b'a'; 999_999], b".".to_vec()].concat();
    assert!(Pickle::parse(&deep).is_ok());
    // A dict that holds itself, under a tensor's name and as a tensor's storage.
    let cycle = Script(b"\x80\x02}q\0(".to_vec()).text("w").raw(b"h\0").end();
    assert!(refusal(&file(&cycle)).contains("holds no tensors by name"));
    let call = b"ctorch._utils\n_rebuild_parameter\nh\0\x85Rq\x01";
    let parameters = Script(b"\x80\x02}q\0(".to_vec()).text("w").raw(call).end();
    assert!(refusal(&file(&parameters)).contains("holds no tensors by name"));
}

/// Whatever is in a broken file, opening it and reading what it still claims to have ends in values or an error.
fn survive(bytes: &[u8]) {
    let Ok(weights) = open(bytes) else { return };
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    for name in names {
        let tensor = weights.get(&name).unwrap();
        let _ = tensor.read(0..tensor.count(), &mut Vec::new());
    }
}

proptest! {
    #[test]
    fn no_pickle_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Pickle::parse(&bytes);
        survive(&file(&bytes));
    }

    #[test]
    fn no_broken_file_makes_it_panic(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6),
        cut in any::<usize>(),
        whole: bool,
    ) {
        let mut bytes = fs::read(data("tiny-architectures/electra-b/pytorch_model.bin")).unwrap();
        // Most of a file is weights; headers and pickle stand in its first and last parts.
        let size = bytes.len();
        for (place, value) in changes {
            let place = if place % 2 == 0 { place % 4_000 } else { size - 1 - place % 6_000 };
            bytes[place] = value;
        }
        if !whole {
            bytes.truncate(cut % size);
        }
        survive(&bytes);
    }
}
