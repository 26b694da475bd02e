//! What a manifest says of adapters: in its file, in the graph's metadata, in identities and fingerprints.

use std::path::Path;

use super::{
    ADAPTER_FORMAT, AdapterKind, BUNDLE_FORMAT, BundleAdapter, Classification, Conformal, DECISION_FORMAT, GraphHead,
    Manifest, Pooling, Precision, Source, Task,
};

fn adapter(name: &str, digit: char) -> BundleAdapter {
    BundleAdapter {
        name: name.into(),
        kind: AdapterKind::Bottleneck,
        hash: digit.to_string().repeat(64),
        source: Some(format!("org/{name}")),
        revision: None,
        license: None,
    }
}

fn plain() -> Manifest {
    Manifest {
        format: BUNDLE_FORMAT,
        created_by: "a test".into(),
        architecture: "bert".into(),
        dim: 4,
        max_length: 16,
        truncation_side: "right".into(),
        pooling: Pooling::Cls,
        pooling_stated: false,
        normalize: false,
        output: "sentence_embedding".into(),
        template: "model-card".into(),
        sep_token: "[SEP]".into(),
        precision: Precision::Fp32,
        batch_invariant: true,
        parameters: 1,
        tokenizer_hash: "t".into(),
        graph_hash: "g".into(),
        encoder_graph_hash: None,
        license: None,
        plain: false,
        data: None,
        source: Source { name: "tiny".into(), revision: None, weights_hash: "w".into(), config_hash: "c".into() },
        fused_adapter: None,
        quality: None,
        int8: None,
        heads: Vec::new(),
        adapters: Vec::new(),
    }
}

fn fused() -> Manifest {
    Manifest { format: ADAPTER_FORMAT, fused_adapter: Some(adapter("proximity", 'a')), ..plain() }
}

fn several() -> Manifest {
    let adapters = vec![adapter("proximity", 'a'), adapter("adhoc_query", 'b')];
    Manifest { format: ADAPTER_FORMAT, adapters, graph_hash: "h".into(), ..plain() }
}

fn parse(text: &str) -> Result<Manifest, String> {
    Manifest::parse(Path::new("bundle.toml"), text).map_err(|error| error.to_string())
}

/// With a head that decides by more than a threshold for each label.
fn deciding() -> Manifest {
    let labels = ["a", "b"].map(str::to_owned).to_vec();
    let head = GraphHead::of_checkpoint(&Classification { task: Task::Classification, labels });
    let sets = Conformal { alpha: 0.1, least: Some(1.0 / 3.0), rows: 40 };
    let head = GraphHead { thresholds: Some(vec![0.3]), abstain: Some(vec![0.5, 0.0]), conformal: Some(sets), ..head };
    Manifest { format: DECISION_FORMAT, heads: vec![head], ..plain() }
}

#[test]
fn adapters_go_round_through_the_file() {
    for manifest in [plain(), fused(), several(), deciding()] {
        assert_eq!(parse(&manifest.to_toml()).unwrap(), manifest);
    }
    assert!(!plain().to_toml().contains("adapter"), "a bundle without adapters is written as before");
    let metadata = several().metadata();
    let value = |key: &str| metadata.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
    assert_eq!(value("offprint.adapter.1.name"), Some("adhoc_query"));
    assert_eq!(value("offprint.adapter.0.kind"), Some("bottleneck"));
    assert_eq!(value("offprint.adapter.1.source"), Some("org/adhoc_query"));
    let metadata = fused().metadata();
    assert!(metadata.contains(&("offprint.fused_adapter.hash".to_owned(), "a".repeat(64))), "{metadata:?}");
}

#[test]
fn a_format_that_is_not_the_oldest_that_will_do_is_refused() {
    let format = |manifest: Manifest, format: u32| parse(&Manifest { format, ..manifest }.to_toml()).unwrap_err();
    let expected = |format, other, with| {
        format!("`bundle.toml`: `format` is {format}, expected {other} for a bundle {with} adapters")
    };
    assert_eq!(format(fused(), 2), expected(2, 3, "with"));
    assert_eq!(format(several(), 2), expected(2, 3, "with"));
    assert_eq!(format(plain(), 3), expected(3, 2, "without"));
    assert_eq!(format(plain(), 1), "`bundle.toml` has format 1, this version of offprint reads formats 2 to 4");
    assert_eq!(format(deciding(), 2), "`bundle.toml`: `format` is 2, expected 4 for a bundle with such heads");
    let one = Manifest { adapters: vec![adapter("x", 'a')], ..several() };
    assert_eq!(
        parse(&one.to_toml()).unwrap_err(),
        "`bundle.toml`: `adapter` is a list of 1, expected 2 to 256 (a single one is `fused_adapter`)"
    );
}

#[test]
fn an_adapter_has_one_identity_fused_or_chosen_and_every_other_has_another() {
    let (fused, several) = (fused(), several());
    assert_eq!(fused.identity(), several.identity_of(Some(0)));
    let changes = fused.fingerprint().differences(&several.fingerprint_of(Some(0)));
    assert_eq!(changes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["graph: g -> h"]);
    let named = Manifest { fused_adapter: Some(adapter("other", 'a')), ..fused.clone() };
    assert_eq!(named.fingerprint(), fused.fingerprint(), "names change no vector");
    let all = [
        plain().identity(),
        fused.identity(),
        several.identity_of(Some(1)),
        several.identity(),
        plain().identity_of(None),
    ];
    let adapters: Vec<&str> = all.iter().map(|identity| identity.fields()["adapter"].as_str()).collect();
    let [a, b] = ['a', 'b'].map(|digit| digit.to_string().repeat(64));
    assert_eq!(adapters, ["none", &a, &b, "one of several", "none"]);
}
