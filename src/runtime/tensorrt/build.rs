//! Builds the engines of a plan one after the other, and proves each of them on its own shapes.
//!
//! Knows no TensorRT: whoever calls opens the sessions. Invariant: an engine counts as built only after a batch of its
//! smallest, its best and its largest shape went through it, and the provider left it in its folder.

use std::path::Path;
use std::time::{Duration, Instant};

use super::error::Error;
use super::options::TrtOptions;
use super::shape::{BatchShape, ShapeProfile};
use super::store::BuildingEngine;
use crate::runtime::{self, Batch, RunBatch};

/// What a build does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BuildStep {
    /// Begins with an engine.
    Begins {
        /// Its number, from 1.
        number: usize,
        /// Engines in all.
        of: usize,
        /// Its shapes.
        profile: ShapeProfile,
    },
    /// Is done with it.
    Built {
        /// Its number, from 1.
        number: usize,
        /// Engines in all.
        of: usize,
        /// How long it took.
        elapsed: Duration,
    },
}

/// Opens a session on the provider with these settings, which builds the engine.
pub type OpenSession<'a, E> = dyn FnMut(&[(String, String)]) -> Result<Box<dyn RunBatch>, E> + 'a;

/// Builds the engines that are not there yet. A session is closed before the next is opened.
///
/// # Errors
/// A session cannot be opened, fails on a batch of its own shapes, or leaves no engine; what was built before stays.
pub fn build_engines<E: From<runtime::Error>>(
    building: &mut BuildingEngine,
    open: &mut OpenSession<'_, E>,
    watch: &mut dyn FnMut(BuildStep),
) -> Result<(), E> {
    let kept = |error: Error| E::from(runtime::Error::from(error));
    while let Some(folder) = building.next_folder().map_err(kept)? {
        let setting = &building.record().setting;
        let (place, of) = (building.record().built.len(), setting.plan.profiles.len());
        let (profile, takes_adapter) = (setting.plan.profiles[place], setting.takes_adapter);
        watch(BuildStep::Begins { number: place + 1, of, profile });
        let started = Instant::now();
        let pairs = options_of(building, &profile, &folder).pairs();
        let mut session = open(&pairs)?;
        for shape in [profile.min, profile.opt, profile.max] {
            session.run(&trial_batch(shape, takes_adapter))?;
        }
        drop(session);
        let elapsed = started.elapsed();
        building.built(elapsed).map_err(kept)?;
        watch(BuildStep::Built { number: place + 1, of, elapsed });
    }
    Ok(())
}

fn options_of<'a>(building: &'a BuildingEngine, profile: &'a ShapeProfile, folder: &'a Path) -> TrtOptions<'a> {
    let setting = &building.record().setting;
    TrtOptions {
        profile,
        precision: setting.precision,
        takes_adapter: setting.takes_adapter,
        folder,
        timing: building.timing(),
    }
}

/// A batch without padding, all of whose tokens are the first of the vocabulary, through the first adapter.
fn trial_batch(shape: BatchShape, takes_adapter: bool) -> Batch {
    let BatchShape { rows, columns } = shape;
    let adapters = if takes_adapter { vec![0; rows] } else { Vec::new() };
    Batch { ids: vec![0; shape.tokens()], mask: vec![1; shape.tokens()], rows, columns, adapters }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{
        EnginePlan, EngineSetting, EngineStore, EngineTarget, PlanLimits, ShapeHistogram, plan_profiles,
    };
    use super::*;
    use crate::model::Precision;
    use crate::runtime::{EmbeddingMatrix, StubFault, StubSession};

    fn building(cache: &Path, takes_adapter: bool) -> BuildingEngine {
        let limits = PlanLimits { max_length: 512, batch_tokens: 1_024, batch_rows: 4_096, step: 8, profiles: 8 };
        let plan: EnginePlan = plan_profiles(&ShapeHistogram::default(), limits).unwrap();
        let setting = EngineSetting { graph: "g".to_owned(), precision: Precision::Fp32, takes_adapter, plan };
        let some = |text: &str| Some(text.to_owned());
        let target =
            EngineTarget { onnxruntime: some("1.31.1"), tensorrt: some("10.13.3"), architecture: some("sm90") };
        EngineStore::in_cache(cache).begin((&setting, &target), ("tiny", None)).unwrap()
    }

    /// A provider's stand-in: leaves an engine where it is told to, unless it is the one that shall fail.
    struct Provider {
        fails_at: usize,
        opened: Vec<Vec<(String, String)>>,
    }

    impl Provider {
        fn open(&mut self, pairs: &[(String, String)]) -> Result<Box<dyn RunBatch>, runtime::Error> {
            self.opened.push(pairs.to_vec());
            if self.opened.len() > self.fails_at {
                return Ok(Box::new(StubSession::new(4).failing(StubFault::Batch(2))));
            }
            let (_, folder) = pairs.iter().find(|(name, _)| name == "trt_engine_cache_path").unwrap();
            fs::write(Path::new(folder).join("x_sm90.engine"), "engine").unwrap();
            Ok(Box::new(StubSession::new(4)))
        }
    }

    #[test]
    fn every_engine_is_built_in_its_own_folder_and_tried() {
        let cache = tempfile::tempdir().unwrap();
        let mut building = building(cache.path(), true);
        let profiles = building.record().setting.plan.profiles.clone();
        let mut provider = Provider { fails_at: 2, opened: Vec::new() };
        let mut steps = Vec::new();
        let error =
            build_engines(&mut building, &mut |pairs| provider.open(pairs), &mut |step| steps.push(step)).unwrap_err();
        assert_eq!(error.to_string(), "the stub session fails at batch 2, as asked", "the largest shape fails");
        assert_eq!(building.record().built.len(), 2, "what was built stays");
        assert_eq!(steps.len(), 5);
        assert_eq!(steps[2], BuildStep::Begins { number: 2, of: profiles.len(), profile: profiles[1] });
        assert!(matches!(steps[3], BuildStep::Built { number: 2, .. }));

        let mut provider = Provider { fails_at: usize::MAX, opened: Vec::new() };
        build_engines(&mut building, &mut |pairs| provider.open(pairs), &mut |_| ()).unwrap();
        assert_eq!(provider.opened.len(), profiles.len() - 2, "the first two were there");
        assert!(building.record().is_complete());
        let value = |name: &str| {
            let pair = provider.opened[0].iter().find(|(known, _)| known == name);
            pair.map(|(_, value)| value.clone()).unwrap()
        };
        let max = profiles[2].max;
        let shapes = format!("input_ids:{max},attention_mask:{max},adapter:{}", max.rows).replace(" × ", "x");
        assert_eq!(value("trt_profile_max_shapes"), shapes);
        assert_eq!(value("trt_engine_cache_path"), building.path().join("p2").display().to_string());
        assert_eq!(value("trt_timing_cache_path"), building.timing().display().to_string());
        let mut none =
            |_: &[(String, String)]| -> Result<Box<dyn RunBatch>, runtime::Error> { unreachable!("all are there") };
        build_engines(&mut building, &mut none, &mut |_| ()).unwrap();
    }

    #[test]
    fn a_provider_that_leaves_no_engine_did_not_take_the_graph() {
        let cache = tempfile::tempdir().unwrap();
        let mut building = building(cache.path(), false);
        let mut batches = Vec::new();
        let mut open =
            |_: &[(String, String)]| -> Result<Box<dyn RunBatch>, runtime::Error> { Ok(Box::new(StubSession::new(4))) };
        let error = build_engines(&mut building, &mut open, &mut |step| batches.push(step)).unwrap_err();
        assert!(error.to_string().starts_with("TensorRT left no engine in `"), "{error}");
        assert!(building.record().built.is_empty());
    }

    #[test]
    fn a_trial_batch_is_one_that_a_session_takes() {
        for takes_adapter in [false, true] {
            let batch = trial_batch(BatchShape::new(3, 5), takes_adapter);
            let EmbeddingMatrix { rows, .. } = StubSession::new(2).run(&batch).unwrap();
            assert_eq!((rows, batch.adapters.len()), (3, if takes_adapter { 3 } else { 0 }));
        }
    }
}
