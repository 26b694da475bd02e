//! A bundle on TensorRT: sessions on engines that were built before, one for each range of batch shapes.
//!
//! Knows no provider but this one. Invariant: without engines that take every batch of the run nothing is opened; TensorRT
//! would build one for minutes whenever a text is longer than those before.

use super::{BundleEncoder, Error, TokenBudget};
use crate::model::SENTENCE_EMBEDDING;
use crate::runtime::tensorrt::{
    self, EngineSetting, EngineStore, EngineTarget, Gpu, ProfiledSessions, TrtOptions, UsedEngine,
};
use crate::runtime::{
    self, AdapterChoice, CpuSettings, EncoderSession, OnnxRuntime, Provider, ProviderChoice, Refusal, RunBatch,
    SessionOptions, Wanted, refuse_unopened,
};

/// Where engines are, and what they have to take.
#[derive(Debug, Clone)]
pub struct EngineUse {
    /// The engines.
    pub store: EngineStore,
    /// The budget of a batch, on TensorRT.
    pub budget: TokenBudget,
    /// Texts of a batch: those of a window.
    pub batch_rows: usize,
}

/// What runs batches on one thread.
pub(super) enum Runner {
    /// A session for all shapes.
    One(Box<EncoderSession>),
    /// A session for each profile of these engines; at least one.
    Engines(Box<UsedEngine>, Vec<EncoderSession>),
}

impl Runner {
    /// One of the sessions: they all have the same graph on the same provider.
    pub fn session(&self) -> &EncoderSession {
        match self {
            Self::One(session) => session,
            Self::Engines(_, sessions) => &sessions[0],
        }
    }

    /// Seconds that building its engines took; none where it has none.
    pub fn engine_build_seconds(&self) -> Option<f64> {
        match self {
            Self::One(_) => None,
            Self::Engines(used, _) => Some(used.record().build_seconds()),
        }
    }

    /// Ready for batches, whose texts go through these adapters.
    pub fn boxed(self, adapter: AdapterChoice) -> Result<Box<dyn RunBatch>, runtime::Error> {
        let boxed = |session: EncoderSession| -> Box<dyn RunBatch> { Box::new(session.with_adapter(adapter)) };
        Ok(match self {
            Self::One(session) => boxed(*session),
            Self::Engines(used, sessions) => {
                Box::new(ProfiledSessions::on(*used, sessions.into_iter().map(boxed).collect())?)
            }
        })
    }
}

impl BundleEncoder {
    /// Sessions on the provider of `options`: on TensorRT one for each engine, elsewhere one.
    pub(super) fn open_runner(
        &self,
        runtime: &OnnxRuntime,
        (options, cpu): (&SessionOptions, &CpuSettings),
        names: &[&str],
    ) -> Result<Runner, runtime::Error> {
        if options.provider.choice != ProviderChoice::TensorRt {
            return Ok(Runner::One(Box::new(self.open_session(runtime, (options, cpu), names)?)));
        }
        let used = self.find_engines(runtime, options, names)?;
        let setting = &used.record().setting;
        let mut sessions = Vec::with_capacity(setting.plan.profiles.len());
        for (place, profile) in setting.plan.profiles.iter().enumerate() {
            let told = TrtOptions {
                profile,
                precision: setting.precision,
                takes_adapter: setting.takes_adapter,
                folder: &used.profile_folder(place),
                timing: used.timing(),
            };
            let provider = with_pairs(&options.provider, &told.pairs());
            sessions.push(self.open_session(runtime, (&SessionOptions { provider, ..options.clone() }, cpu), names)?);
        }
        Ok(Runner::Engines(Box::new(used), sessions))
    }

    /// Engines for every batch of the run.
    fn find_engines(
        &self,
        runtime: &OnnxRuntime,
        options: &SessionOptions,
        names: &[&str],
    ) -> Result<UsedEngine, runtime::Error> {
        let here = || {
            let gpu = Gpu::read(options.provider.first_device());
            EngineTarget::here(Some(runtime.version().to_owned()), gpu.as_ref())
        };
        let mut target = here();
        let provider = options.provider.choice.resolve();
        if !target.missing().is_empty() || !runtime.providers().iter().any(|built_in| built_in == provider) {
            // Its own refusal says what is missing. If there is none, what it loads can be asked afterwards.
            self.open_session(runtime, (options, &CpuSettings::default()), names)?;
            target = here();
        }
        let refused = |error: tensorrt::Error| runtime::Error::from(Refusal::Engines(Box::new(error)));
        let engines = self.engines.as_ref().filter(|_| options.graph == self.bundle.graph_path());
        let engines = engines.ok_or_else(|| refused(tensorrt::Error::NotForEngines))?;
        let limits = engines.budget.limits(engines.batch_rows, 1);
        engines.store.find(&EngineSetting::graph_of(&self.bundle.manifest), &target, &limits).map_err(refused)
    }

    /// A session on a provider that is told `pairs` beside its own options, without looking for engines: for whoever builds
    /// them.
    ///
    /// # Errors
    /// A precision that is not for the provider, which is found before anything is opened; a library or graph that cannot be
    /// opened; a graph that is not what the bundle says.
    pub fn open_session_with(&self, provider: &Provider, pairs: &[(String, String)]) -> Result<EncoderSession, Error> {
        let providers = provider.clone().into();
        let precision = self.bundle.manifest.precision;
        refuse_unopened(Wanted { providers: &providers, precision, fallback: None })?;
        let runtime = OnnxRuntime::load(self.ort_lib.as_deref())?;
        let options = SessionOptions {
            graph: self.bundle.graph_path(),
            provider: with_pairs(provider, pairs),
            threads: self.threads,
        };
        let session = self.open_session(&runtime, (&options, &CpuSettings::default()), &[SENTENCE_EMBEDDING])?;
        self.check_session(&session, &[(SENTENCE_EMBEDDING, self.bundle.manifest.dim)])?;
        Ok(session)
    }
}

/// The provider with more options, which win over those that it has.
fn with_pairs(provider: &Provider, pairs: &[(String, String)]) -> Provider {
    let mut provider = provider.clone();
    provider.options.extend(pairs.iter().cloned());
    provider
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_needs_wins_over_the_users_options() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut provider = Provider::from(ProviderChoice::TensorRt);
        provider.options = vec![pair("trt_engine_cache_path", "/elsewhere"), pair("trt_max_workspace_size", "1000")];
        let told = with_pairs(&provider, &[pair("trt_engine_cache_path", "/engines/p0")]).settings(1);
        let value = |name: &str| {
            let found: Vec<&str> =
                told.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
            found.join(" and ")
        };
        assert_eq!(value("trt_engine_cache_path"), "/engines/p0");
        assert_eq!(value("trt_max_workspace_size"), "1000");
    }
}
