//! Building, finding and removing engines, with files in the place of what TensorRT would write.

use std::time::Duration;

use super::super::{BatchShape, EnginePruneOptions, ShapeHistogram, plan_profiles, prune_engines, record::RECORD};
use super::*;
use crate::model::Precision;

fn setting(graph: &str, batch_tokens: usize) -> EngineSetting {
    let mut histogram = ShapeHistogram::default();
    histogram.add(BatchShape::new(8, 64));
    let limits = PlanLimits { max_length: 128, batch_tokens, batch_rows: 4_096, step: 8, profiles: 8 };
    let plan = plan_profiles(&histogram, limits).unwrap();
    assert!(plan.profiles.len() > 1);
    EngineSetting { graph: graph.to_owned(), precision: Precision::Fp16, takes_adapter: false, plan }
}

fn target() -> EngineTarget {
    let some = |text: &str| Some(text.to_owned());
    EngineTarget { onnxruntime: some("1.31.1"), tensorrt: some("10.13.3"), architecture: some("sm90") }
}

fn store() -> (tempfile::TempDir, EngineStore) {
    let cache = tempfile::tempdir().unwrap();
    let store = EngineStore::in_cache(cache.path());
    (cache, store)
}

fn begin(store: &EngineStore, setting: &EngineSetting) -> BuildingEngine {
    store.begin((setting, &target()), ("tiny", None)).unwrap()
}

/// Builds engines of `bytes` bytes, at most `most` of them.
fn build(store: &EngineStore, setting: &EngineSetting, (most, bytes): (usize, usize)) {
    let mut building = begin(store, setting);
    for _ in 0..most {
        let Some(folder) = building.next_folder().unwrap() else { return };
        fs::write(folder.join("TRTKernel_0_fp16_sm90.engine"), vec![7; bytes]).unwrap();
        building.built(Duration::from_secs(2)).unwrap();
    }
}

#[test]
fn a_record_says_what_all_its_engines_took() {
    let (_cache, store) = store();
    let setting = setting("aaaa", 4_096);
    assert_eq!(begin(&store, &setting).record().build_seconds(), 0.0);
    build(&store, &setting, (usize::MAX, 9));
    let used = store.find("aaaa", &target(), &setting.plan.limits).unwrap();
    assert_eq!(used.record().build_seconds(), 2.0 * setting.plan.profiles.len() as f64);
}

/// As if the engines had been used last so many days ago.
fn age(store: &EngineStore, name: &str, days: u64) {
    let time = SystemTime::now() - Duration::from_secs(days * 86_400);
    for file in files(&store.root().join(name)).unwrap() {
        File::options().write(true).open(file.path).unwrap().set_modified(time).unwrap();
    }
}

#[test]
fn a_build_goes_on_where_it_was_stopped() {
    let (_cache, store) = store();
    let setting = setting("aaaa", 4_096);
    let all = setting.plan.profiles.len();
    build(&store, &setting, (1, 100));
    let listed = store.list().unwrap();
    assert_eq!((listed.len(), listed[0].complete), (1, false));
    assert_eq!(listed[0].record.as_ref().unwrap().built.len(), 1);
    assert_eq!(listed[0].record.as_ref().unwrap().built[0], BuiltProfile { seconds: 2.0, bytes: 100 });
    // The second was stopped in the middle of its file.
    let folder = begin(&store, &setting).next_folder().unwrap().unwrap();
    fs::write(folder.join("half.engine"), "half").unwrap();
    let building = begin(&store, &setting);
    assert_eq!(building.record().built.len(), 1);
    assert!(files(&building.next_folder().unwrap().unwrap()).unwrap().is_empty(), "nothing half is left");
    drop(building);
    build(&store, &setting, (all, 100));
    let complete = &store.list().unwrap()[0];
    assert!(complete.complete && complete.bytes > 100 * (all as u64), "{complete:?}");
    assert!(begin(&store, &setting).next_folder().unwrap().is_none());
    // An engine that is gone is built again, and so are those behind it.
    fs::remove_dir_all(complete.path.join("p1")).unwrap();
    assert_eq!(begin(&store, &setting).record().built.len(), 1);
}

#[test]
fn a_build_that_left_no_engine_is_an_error() {
    let (_cache, store) = store();
    let mut building = begin(&store, &setting("aaaa", 4_096));
    let folder = building.next_folder().unwrap().unwrap();
    fs::write(folder.join("x.profile"), "shapes").unwrap();
    fs::write(folder.join("x.engine"), "").unwrap();
    let error = building.built(Duration::ZERO).unwrap_err().to_string();
    assert_eq!(error, format!("TensorRT left no engine in `{}`: it did not take the whole graph", folder.display()));
    assert!(building.record().built.is_empty());
}

#[test]
fn one_process_builds_and_others_wait() {
    let (_cache, store) = store();
    let first = begin(&store, &setting("aaaa", 4_096));
    let again = store.begin((&setting("aaaa", 4_096), &target()), ("tiny", None)).unwrap_err();
    assert!(matches!(&again, Error::InUse { path } if path == first.path()), "{again}");
    // Others of the same TensorRT and GPU share the timing cache.
    let other = store.begin((&setting("bbbb", 4_096), &target()), ("tiny", None)).unwrap_err();
    assert!(matches!(&other, Error::InUse { path } if path == first.timing()), "{other}");
    drop(first);
    begin(&store, &setting("bbbb", 4_096));
}

#[test]
fn engines_are_found_by_all_that_decides_them() {
    let (_cache, store) = store();
    let setting = setting("aaaa", 4_096);
    build(&store, &setting, (8, 10));
    let limits = setting.plan.limits;
    let found = |graph: &str, target: &EngineTarget, limits: &PlanLimits| {
        store.find(graph, target, limits).map(|used| used.record().setting.plan.limits.batch_tokens)
    };
    assert_eq!(found("aaaa", &target(), &limits).unwrap(), 4_096);
    assert_eq!(found("aaaa", &target(), &PlanLimits { batch_tokens: 1_024, ..limits }).unwrap(), 4_096);
    let larger = PlanLimits { batch_tokens: 4_097, ..limits };
    let error = found("aaaa", &target(), &larger).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there are no engines for this bundle with up to 4097 tokens a batch on ONNX Runtime 1.31.1, TensorRT 10.13.3, sm90"
    );
    assert!(error.hint().unwrap().contains("offprint engine build"));
    assert!(found("bbbb", &target(), &limits).is_err());
    let other = EngineTarget { tensorrt: Some("10.14.1".to_owned()), ..target() };
    assert!(matches!(found("aaaa", &other, &limits), Err(Error::NoneBuilt { .. })));
    let unknown = EngineTarget { architecture: None, ..target() };
    assert!(matches!(found("aaaa", &unknown, &limits), Err(Error::UnknownTarget { .. })));
    // The smaller budget serves where it suffices.
    let small = self::setting("aaaa", 2_048);
    build(&store, &small, (8, 10));
    assert_eq!(found("aaaa", &target(), &PlanLimits { batch_tokens: 1_024, ..limits }).unwrap(), 2_048);
    // Unfinished ones never.
    let used = store.find("aaaa", &target(), &limits).unwrap();
    fs::remove_dir_all(used.profile_folder(0)).unwrap();
    let name = setting.folder_name(&target());
    drop(used);
    drop(begin(&store, &setting));
    assert!(found("aaaa", &target(), &limits).is_err(), "{name}");
}

#[test]
fn a_folder_that_cannot_be_understood_is_listed_and_built_anew() {
    let (_cache, store) = store();
    let setting = setting("aaaa", 4_096);
    build(&store, &setting, (8, 10));
    let folder = store.folder(&setting, &target());
    for (text, problem) in [("{", "does not describe engines"), (r#"{"format": 7}"#, "has engine format 7")] {
        fs::write(folder.join(RECORD), text).unwrap();
        let listed = store.list().unwrap();
        assert!(!listed[0].complete && listed[0].problem.as_ref().unwrap().contains(problem), "{listed:?}");
        assert!(begin(&store, &setting).record().built.is_empty());
    }
    fs::create_dir(store.root().join("something else")).unwrap();
    assert_eq!(store.list().unwrap().len(), 1, "what no build made is left alone");
}

#[test]
fn a_prune_takes_what_fits_and_nothing_in_use() {
    let (_cache, store) = store();
    let settings = ["aaaa", "bbbb", "cccc"].map(|graph| setting(graph, 4_096));
    for (setting, days) in settings.iter().zip([100, 10, 0]) {
        build(&store, setting, (8, 1_000));
        age(&store, &setting.folder_name(&target()), days);
    }
    build(&store, &setting("dddd", 4_096), (1, 1_000));
    let all: u64 = store.list().unwrap().iter().map(|engine| engine.bytes).sum();
    let went = |options: EnginePruneOptions| {
        let report = prune_engines(&store, &options).unwrap();
        assert_eq!(report.bytes + report.bytes_left, all);
        report.removed.iter().map(|engine| engine.name[..4].to_owned()).collect::<Vec<_>>()
    };
    let dry = EnginePruneOptions { dry_run: true, ..EnginePruneOptions::default() };
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    assert_eq!(went(EnginePruneOptions { unused_for: days(5), ..dry.clone() }), ["aaaa", "bbbb"]);
    assert_eq!(went(EnginePruneOptions { unused_for: days(5), ..dry.clone() }), ["aaaa", "bbbb"], "a look is no use");
    assert_eq!(went(EnginePruneOptions { unfinished: true, ..dry.clone() }), ["dddd"]);
    assert_eq!(went(EnginePruneOptions { keep_bytes: Some(all - 1), ..dry.clone() }), ["aaaa"]);
    assert_eq!(went(EnginePruneOptions { engines: vec!["bb".into(), "cccc".into()], ..dry.clone() }), ["bbbb", "cccc"]);
    assert!(matches!(prune_engines(&store, &dry), Err(Error::NothingSelected)));
    let empty = EnginePruneOptions { engines: vec![String::new()], ..dry.clone() };
    assert!(matches!(prune_engines(&store, &empty), Err(Error::NothingSelected)));
    let unknown = EnginePruneOptions { engines: vec!["zz".into()], ..dry };
    let error = prune_engines(&store, &unknown).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no engines in `{}` have a name that begins with `zz`", store.root().display())
    );
    assert!(error.hint().is_some());

    let limits = settings[0].plan.limits;
    let used = store.find("aaaa", &target(), &limits).unwrap();
    let options = EnginePruneOptions { engines: vec!["aa".into(), "bb".into()], ..EnginePruneOptions::default() };
    let report = prune_engines(&store, &options).unwrap();
    assert_eq!((report.removed.len(), report.kept.len()), (1, 1));
    assert!(report.kept[0].name.starts_with("aaaa") && used.profile_folder(0).is_dir());
    assert!(used.record().is_complete() && used.timing().starts_with(store.root()));
    drop(used);
    prune_engines(&store, &EnginePruneOptions { engines: vec!["aa".into()], ..options }).unwrap();
    let left: Vec<String> = store.list().unwrap().into_iter().map(|engine| engine.name[..4].to_owned()).collect();
    assert_eq!(left, ["cccc", "dddd"]);
    let hidden = fs::read_dir(store.root()).unwrap().flatten();
    assert!(!hidden.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(".pruned")));
}
