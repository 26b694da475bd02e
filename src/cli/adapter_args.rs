//! Flags that choose among the adapters of a bundle, and what they come to for the bundle at hand.
//! Invariant: with several adapters nothing is computed before it is settled which one each text goes through, and a flag
//! that chooses nothing is an error.

use anyhow::Result;
use clap::Args;
use offprint::encode::RowAdapters;
use offprint::model::Manifest;
use offprint::runtime::AdapterChoice;

use super::environment::is_typed;
use super::user_error;

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AdapterArgs {
    /// Adapter that texts go through, where the bundle carries several (`offprint inspect` lists them); beside
    /// --adapter-field, that of rows that name none
    #[arg(long, value_name = "NAME", help_heading = "Encoder")]
    pub adapter: Option<String>,

    /// Field that names each row's adapter, so that one run mixes them: queries by one, candidates by another
    ///
    /// A row is rejected if it names an adapter that the bundle does not carry, or none and there is no --adapter for such
    /// rows. Vectors are cached by adapter. An id counts within its adapter: the same paper may come once for each.
    #[arg(long, value_name = "FIELD", help_heading = "Encoder")]
    pub adapter_field: Option<String>,
}

/// Which adapter texts go through.
#[derive(Debug, Clone)]
pub(crate) enum Adapters {
    /// There is nothing to choose: the graph has no adapter, or the one that was fused into it.
    NoChoice,
    /// All texts go through the one at this place.
    One { place: usize, name: String },
    /// Each row names its own.
    ByRow(RowAdapters),
}

impl Adapters {
    /// What sessions are told.
    pub(crate) fn choice(&self) -> AdapterChoice {
        match self {
            Self::One { place, .. } => AdapterChoice::Fixed(*place),
            Self::NoChoice | Self::ByRow(_) => AdapterChoice::ByRow,
        }
    }

    /// The place of the one that all texts go through, where there was a choice.
    pub(crate) fn place(&self) -> Option<usize> {
        match self {
            Self::One { place, .. } => Some(*place),
            Self::NoChoice | Self::ByRow(_) => None,
        }
    }

    /// The name of the one that all texts go through, where there was a choice.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::One { name, .. } => Some(name),
            Self::NoChoice | Self::ByRow(_) => None,
        }
    }

    /// What rows choose from; nothing unless each names its own.
    pub(crate) fn of_rows(&self) -> RowAdapters {
        match self {
            Self::ByRow(adapters) => adapters.clone(),
            Self::NoChoice | Self::One { .. } => RowAdapters::default(),
        }
    }
}

impl AdapterArgs {
    /// What the flags come to for a bundle, which messages call `model`.
    pub(crate) fn choose(&self, model: &str, manifest: &Manifest) -> Result<Adapters> {
        if manifest.adapters.is_empty() {
            self.refuse_without_choice(model, manifest)?;
            return Ok(Adapters::NoChoice);
        }
        let names: Vec<String> = manifest.adapters.iter().map(|adapter| adapter.name.clone()).collect();
        let listed = format!("`{}`", names.join("`, `"));
        let place_of = |name: &String| {
            names.iter().position(|known| known == name).ok_or_else(|| {
                user_error(format!("bundle `{model}` has no adapter `{name}`"), format!("its adapters are {listed}"))
            })
        };
        let place = self.adapter.as_ref().map(place_of).transpose()?;
        match (place, &self.adapter_field) {
            (default, Some(field)) => Ok(Adapters::ByRow(RowAdapters { field: field.clone(), names, default })),
            (Some(place), None) => Ok(Adapters::One { place, name: names[place].clone() }),
            (None, None) => Err(user_error(
                format!("bundle `{model}` carries the adapters {listed}, and none is chosen"),
                "`--adapter NAME` sends all texts through one, with `--adapter-field FIELD` each row names its own",
            )),
        }
    }

    /// An error where a flag is given and all texts go the same way. The name of a fused adapter is what happens anyway.
    fn refuse_without_choice(&self, model: &str, manifest: &Manifest) -> Result<()> {
        let fused = manifest.fused_adapter.as_ref().map(|adapter| adapter.name.as_str());
        let flag = match (&self.adapter, &self.adapter_field) {
            (_, Some(field)) if is_typed("--adapter-field") => format!("--adapter-field {field}"),
            (Some(name), _) if Some(name.as_str()) != fused && is_typed("--adapter") => format!("--adapter {name}"),
            _ => return Ok(()),
        };
        let (has, hint) = match fused {
            Some(name) => (
                format!("the adapter `{name}` fused into it"),
                "leave it out: every text goes through that one; a bundle made with `--adapters` has several to choose \
                 from",
            ),
            None => (
                "no adapter".to_owned(),
                "leave it out, or give the bundle adapters: `offprint export --adapters NAME=DIR,...`",
            ),
        };
        Err(user_error(format!("`{flag}` is given, and bundle `{model}` has {has}"), hint))
    }
}
