//! The flags of `offprint bench`, and what they come to: a grid, the libraries of its providers, and the texts of each
//! bundle. Runs nothing. Invariant: what a flag says wrongly is an error before the first cell runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use offprint::bench::{Batching, Grid, GridModel, REPEATS_FOR_CLAIMS, Shape, provider_with};
use offprint::model::Bundle;
use offprint::runtime::{Provider, ProviderList, default_threads, provider_words};

use super::super::corpus_args::CorpusArgs;
use super::super::hub::HubArgs;
use super::super::{places, user_error};
use super::plan::without_folders;

#[derive(Debug, Args)]
#[command(next_help_heading = "Grid")]
pub(crate) struct GridArgs {
    /// Bundles to measure: folders, recipes' names or hub ids; an fp32 one among them is what others of the same encoder
    /// are compared with
    #[arg(short, long, alias = "model-id", value_name = "BUNDLE,...", value_delimiter = ',', required = true)]
    pub model: Vec<String>,

    #[command(flatten)]
    pub hub: HubArgs,

    /// Execution providers, each of which is measured: cpu, cuda, cuda:N, cuda:0,1 for two cards together, tensorrt,
    /// tensorrt:N, openvino, coreml, directml; a setting that cannot be run on one becomes a row `not run` with the reason, and nothing falls back
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_value = "cpu")]
    pub providers: Vec<String>,

    /// ONNX Runtime library for one provider, or for all that have none of their own; may be repeated [default: searched
    /// for; `offprint doctor` shows where]
    #[arg(long, value_name = "[PROVIDER=]FILE")]
    pub ort_lib: Vec<String>,

    /// What providers other than cpu are told, in their own words; for one of several `cuda.key=value`; may be repeated
    #[arg(long, value_name = "[PROVIDER.]KEY=VALUE")]
    pub provider_option: Vec<String>,

    /// Padded tokens of a batch [default: what suits the provider, as in `offprint embed`]
    #[arg(long, alias = "batch-tokens", value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pub max_batch_tokens: Vec<u32>,

    /// Measure batches of one shape instead, rows × tokens such as 8x128, filled with the corpus' tokens
    #[arg(long, value_name = "ROWSxTOKENS,...", value_delimiter = ',', conflicts_with = "max_batch_tokens")]
    pub fixed_shape: Vec<Shape>,

    /// Sessions side by side, among which the threads are divided
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u16).range(1..))]
    pub sessions: Vec<u16>,

    /// Threads of all sessions together [default: the cores, or what the cgroup quota allows]
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Vec<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub grid: GridArgs,

    #[command(flatten)]
    pub corpus: CorpusArgs,

    /// Texts taken from the corpus, chosen by the hash of the id, so that lengths are mixed as they are in it
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(2..=100_000), help_heading = "Corpus")]
    pub sample: u32,

    /// Rounds; with fewer than 6 there is no 95 % interval, and nothing is called faster or slower
    #[arg(long, value_name = "N", default_value_t = REPEATS_FOR_CLAIMS as u16, value_parser = clap::value_parser!(u16).range(1..=100), help_heading = "Measurement")]
    pub repeats: u16,

    /// Tell what the operators of each graph take, too, of a session opened for that after the first round
    #[arg(long, help_heading = "Measurement")]
    pub profile: bool,

    /// Most seconds of warm-up before each measurement; it ends when three windows agree within 10 %
    #[arg(long, value_name = "S", default_value_t = 10.0, help_heading = "Measurement")]
    pub warm_up: f64,

    /// Folder with bundles of hub ids and engines for TensorRT [default: offprint in the user's cache folder]
    #[arg(long, value_name = "DIR", help_heading = "Hub")]
    pub cache_dir: Option<PathBuf>,

    /// Folder for bench.json, bench.csv and the page report.html; both tables are written anew after every cell
    #[arg(short, long, value_name = "DIR", required = true, help_heading = "Output")]
    pub output: Option<PathBuf>,

    /// Print all of bench.json on stdout instead of a table
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The bundles of a grid, and what they are called.
pub(super) struct Bundles {
    pub bundles: Vec<Bundle>,
    pub names: Vec<String>,
}

/// The libraries that were named.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Libraries {
    by_provider: BTreeMap<String, PathBuf>,
    other: Option<PathBuf>,
}

impl Libraries {
    /// Reads `openvino=libonnxruntime.so` and plain paths. What stands before an equals sign and is neither a provider nor
    /// may be a part of a path is a mistyped provider: taken as a path it would be the library of all of them.
    pub(super) fn parse(named: &[String]) -> Result<Self> {
        let mut libraries = Self::default();
        for text in named {
            let named = text.split_once('=').map(|(provider, path)| (provider, name_of(provider), path));
            let (what, taken) = match named {
                Some((_, Ok(provider), path)) => {
                    (format!("`--ort-lib {provider}=...`"), libraries.by_provider.insert(provider, path.into()))
                }
                Some((before, Err(unknown), _))
                    if !before.contains(std::path::is_separator) && !Path::new(text).exists() =>
                {
                    return Err(unknown.context(format!("`--ort-lib {text}` names neither a provider nor a file")));
                }
                _ => ("`--ort-lib` without a provider".to_owned(), libraries.other.replace(text.into())),
            };
            if taken.is_some() {
                return Err(user_error(format!("{what} is given twice"), "name one library for it"));
            }
        }
        Ok(libraries)
    }

    /// The library of a provider, where one was named: for it with its device, for it, or for all.
    pub(super) fn of(&self, provider: &str) -> Option<PathBuf> {
        let name = provider.split(':').next().unwrap_or(provider);
        let own = [provider, name].into_iter().find_map(|name| self.by_provider.get(name));
        own.or(self.other.as_ref()).cloned()
    }
}

/// A provider by its short name, with its device where one is named.
pub(super) fn name_of(provider: &str) -> Result<String> {
    if provider == "auto" {
        return Err(user_error("`auto` is no single provider", "name those that are to be measured: cpu,cuda"));
    }
    Ok(provider.parse::<Provider>()?.to_string())
}

impl GridArgs {
    /// Opens the bundles.
    pub(super) fn bundles(&self, cache_dir: Option<&Path>, libraries: &Libraries) -> Result<Bundles> {
        let library = libraries.of("cpu");
        let open = |model: &String| places::bundle(model, &self.hub, cache_dir, library.as_deref());
        let bundles = self.model.iter().map(open).collect::<Result<_>>()?;
        Ok(Bundles { bundles, names: short_names(&self.model) })
    }

    /// The grid of these bundles.
    pub(super) fn grid(&self, bundles: &Bundles) -> Result<Grid> {
        let model = |(bundle, name): (&Bundle, &String)| GridModel {
            name: name.clone(),
            precision: bundle.manifest.precision,
            default_tokens,
            max_length: bundle.manifest.max_length,
        };
        // Cut at every comma, devices of one provider among them.
        let words = provider_words(&self.providers.join(","));
        let providers: Vec<String> = words.iter().map(|provider| name_of(provider)).collect::<Result<_>>()?;
        let provider_options = self.options_of(&providers)?;
        let tokens = self.max_batch_tokens.iter().map(|&tokens| Batching::Tokens(tokens as usize));
        let wide = |numbers: &[u16]| numbers.iter().copied().map(usize::from).collect::<Vec<_>>();
        Ok(Grid {
            models: bundles.bundles.iter().zip(&bundles.names).map(model).collect(),
            providers,
            provider_options,
            batches: tokens.chain(self.fixed_shape.iter().copied().map(Batching::Fixed)).collect(),
            sessions: wide(&self.sessions),
            threads: if self.threads.is_empty() { vec![default_threads()] } else { wide(&self.threads) },
        })
    }
}

impl GridArgs {
    /// What each provider is told, as a record states it; an error unless every option is one that some of them takes.
    fn options_of(&self, providers: &[String]) -> Result<BTreeMap<String, Vec<String>>> {
        let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut taken = vec![false; self.provider_option.len()];
        for provider in providers {
            let options = told.entry(provider.clone()).or_default();
            for (option, taken) in self.provider_option.iter().zip(&mut taken) {
                let list = provider_with(provider, std::slice::from_ref(option))?;
                let takes = list.named().iter().flat_map(|provider| &provider.options);
                let before = options.len();
                options.extend(takes.map(|(key, value)| without_folders(&format!("{key}={value}"))));
                *taken |= options.len() > before;
            }
            // Of one key the last value holds, in whatever order the others stand.
            options.sort_by(|a, b| a.split('=').next().cmp(&b.split('=').next()));
        }
        match self.provider_option.iter().zip(taken).find(|(_, taken)| !taken) {
            Some((option, _)) => Err(user_error(
                format!("`--provider-option {option}` is for none of the providers ({})", providers.join(", ")),
                "name its provider with `--providers`, or leave it out",
            )),
            None => Ok(told),
        }
    }
}

/// Padded tokens of a batch where nothing is said.
fn default_tokens(provider: &str, max_length: usize) -> usize {
    let list = provider.parse::<Provider>().map(ProviderList::from).unwrap_or_default();
    list.batch_tokens().max(max_length)
}

impl RunArgs {
    /// The folder of the results, made if need be: better said now than after the first cell.
    pub(super) fn output(&self) -> Result<&Path> {
        let Some(folder) = &self.output else {
            return Err(user_error("there is no folder for the results", "name one with `--output`"));
        };
        std::fs::create_dir_all(folder).with_context(|| format!("could not create `{}`", folder.display()))?;
        Ok(folder)
    }

    /// Seconds of warm-up.
    pub(super) fn warm_up(&self) -> Result<f64> {
        if self.warm_up.is_finite() && (0.0..=3_600.0).contains(&self.warm_up) {
            return Ok(self.warm_up);
        }
        Err(user_error(format!("`--warm-up` is {}, expected seconds from 0 to 3600", self.warm_up), "try 10"))
    }
}

/// The last part of each path or id; all of it where two would be called the same.
fn short_names(models: &[String]) -> Vec<String> {
    let short = |model: &String| -> String {
        let name = Path::new(model).file_name();
        name.map_or_else(|| model.clone(), |name| name.to_string_lossy().into_owned())
    };
    let all: Vec<String> = models.iter().map(short).collect();
    let alone = |name: &String| all.iter().filter(|other| *other == name).count() == 1;
    all.iter().zip(models).map(|(name, model)| if alone(name) { name.clone() } else { model.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_belong_to_providers_or_to_all_others() {
        let parse = |named: &[&str]| Libraries::parse(&named.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        let libraries = parse(&["OpenVINOExecutionProvider=/a/x.so", "/b/y=z.so"]).unwrap();
        assert_eq!(libraries.of("openvino"), Some("/a/x.so".into()));
        assert_eq!(libraries.of("cpu"), Some("/b/y=z.so".into()), "a path may have an equals sign");
        assert_eq!(Libraries::default().of("cpu"), None);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("openvin=1.so");
        std::fs::write(&file, "").unwrap();
        let named = parse(&[file.to_str().unwrap()]).unwrap();
        assert_eq!(named.of("cpu"), Some(file), "and so may its last part");
        let error = parse(&["openvin=/a/x.so"]).unwrap_err();
        assert_eq!(error.to_string(), "`--ort-lib openvin=/a/x.so` names neither a provider nor a file");
        let cause = error.source().unwrap().to_string();
        assert!(cause.starts_with("execution provider `openvin` is not known, known are: "), "{cause}");
        let error = parse(&["cpu=/a", "CPUExecutionProvider=/b"]).unwrap_err().to_string();
        assert_eq!(error, "`--ort-lib cpu=...` is given twice");
        assert_eq!(parse(&["/a", "/b"]).unwrap_err().to_string(), "`--ort-lib` without a provider is given twice");
    }

    #[test]
    fn bundles_are_called_by_the_last_part_of_their_names() {
        let names = |models: &[&str]| short_names(&models.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        assert_eq!(names(&["models/minilm", "allenai/specter2/"]), ["minilm", "specter2"]);
        assert_eq!(names(&["a/minilm", "b/minilm", "c"]), ["a/minilm", "b/minilm", "c"]);
        assert_eq!(names(&[".."]), [".."]);
    }
}
