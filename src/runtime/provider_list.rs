//! What `--provider` and `--provider-option` say together: providers in the order of preference, or none, where the choice is
//! this program's. Opens none. Invariant: an option belongs to a provider that was named, and what changes numbers belongs to
//! the only one, because the cache has to know it before any of them is opened.

use std::fmt;
use std::str::FromStr;

use super::error::Error;
use super::provider::{Provider, ProviderChoice};

/// Providers by preference; the first usable one runs. By default `auto`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProviderList(Vec<Provider>);

/// Options that hold addresses in memory, which no user can know.
const ADDRESSES: [&str; 7] = [
    "has_user_compute_stream",
    "user_compute_stream",
    "gpu_external_alloc",
    "gpu_external_free",
    "gpu_external_empty_cache",
    "trt_onnx_bytestream",
    "trt_onnx_bytestream_size",
];

impl ProviderList {
    /// Whether the choice is left to this program.
    pub fn is_auto(&self) -> bool {
        self.0.is_empty()
    }

    /// The providers that were named, the preferred one first; none for `auto`.
    pub fn named(&self) -> &[Provider] {
        &self.0
    }

    /// Padded tokens of a batch that suit the preferred one.
    pub fn batch_tokens(&self) -> usize {
        self.0.first().map_or_else(|| ProviderChoice::Cpu.batch_tokens(), |provider| provider.choice.batch_tokens())
    }

    /// What the options do to numbers, for the fingerprint of the vectors: `key=value`, by key, or none.
    pub fn numerics(&self) -> Option<String> {
        let mut pairs = self.0.first()?.numerics();
        pairs.sort();
        let pairs: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join(" "))
    }

    /// Gives the providers their options, each `key=value` in the provider's own words: to all that take some, or
    /// with `name.key=value` to the one of that name.
    ///
    /// # Errors
    /// No `key=value`, nobody to take it, an address in memory, a device that was named already, or one that may change
    /// numbers while several providers may run.
    pub fn with_options(mut self, options: &[String]) -> Result<Self, Error> {
        for option in options {
            let wrong = |reason: &'static str| Error::ProviderOption { option: option.clone(), reason };
            let (key, value) = option.split_once('=').ok_or_else(|| wrong("it is not `key=value`"))?;
            let prefix = key.split_once('.').and_then(|(name, key)| Some((ProviderChoice::named(name)?, key)));
            let (of, key) = prefix.map_or((None, key), |(choice, key)| (Some(choice), key));
            if key.is_empty() || option.contains('\0') {
                return Err(wrong("it is not `key=value`"));
            }
            if ADDRESSES.contains(&key) {
                return Err(wrong("its value would be an address in this program's memory"));
            }
            if self.is_auto() {
                return Err(wrong("options are for a provider that `--provider` names"));
            }
            let takes = |provider: &&mut Provider| {
                provider.choice.takes_options() && of.is_none_or(|choice| choice == provider.choice)
            };
            let mut taken = false;
            for provider in self.0.iter_mut().filter(takes) {
                if key == "device_id" && !provider.devices.is_empty() {
                    return Err(wrong("`--provider` names the device already"));
                }
                // The last one counts, as for every flag.
                provider.options.retain(|(known, _)| known != key);
                provider.options.push((key.to_owned(), value.to_owned()));
                taken = true;
            }
            if !taken {
                return Err(wrong("no provider that takes options is named by `--provider`"));
            }
        }
        match self.0.iter().find_map(|provider| provider.numerics().into_iter().next()) {
            Some((key, value)) if self.0.len() > 1 => Err(Error::NumericsOfSeveral { key, value }),
            _ => Ok(self),
        }
    }
}

impl From<ProviderChoice> for ProviderList {
    fn from(choice: ProviderChoice) -> Self {
        Self(vec![choice.into()])
    }
}

impl From<Provider> for ProviderList {
    fn from(provider: Provider) -> Self {
        Self(vec![provider])
    }
}

impl fmt::Display for ProviderList {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => out.write_str("auto"),
            named => out.write_str(&named.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

impl FromStr for ProviderList {
    type Err = Error;

    /// Accepts `auto`, or names of providers with commas between them; a number behind a comma is one more device of the
    /// provider before it.
    fn from_str(words: &str) -> Result<Self, Error> {
        if words.trim().eq_ignore_ascii_case("auto") {
            return Ok(Self::default());
        }
        let words = provider_words(words);
        if words.iter().any(|word| word.eq_ignore_ascii_case("auto")) {
            return Err(Error::AutoAmongOthers);
        }
        let mut providers: Vec<Provider> = Vec::new();
        for (place, word) in words.iter().enumerate() {
            if place > 0 && is_number(word) {
                return Err(Error::BareDevice { device: word.clone(), before: words[place - 1].clone() });
            }
            let provider: Provider = word.parse()?;
            if providers.contains(&provider) {
                return Err(Error::ProviderTwice { provider: provider.to_string() });
            }
            providers.push(provider);
        }
        Ok(Self(providers))
    }
}

/// The names in a list: it is cut at its commas, but for those between the devices of one provider, as in `cuda:0,1,cpu`.
pub fn provider_words(list: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in list.split(',').map(str::trim) {
        match words.last_mut() {
            Some(before) if is_number(word) && before.contains(':') => *before = format!("{before},{word}"),
            _ => words.push(word.to_owned()),
        }
    }
    words
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &str, options: &[&str]) -> Result<ProviderList, Error> {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        words.parse::<ProviderList>()?.with_options(&options)
    }

    #[test]
    fn names_go_round_in_their_order() {
        for words in
            ["auto", "cpu", "cuda:1", "tensorrt,cuda,cpu", "cuda:0,cuda:1", "cuda:0,1", "tensorrt:1,0,cuda:2,cpu"]
        {
            assert_eq!(list(words, &[]).unwrap().to_string(), words);
        }
        assert_eq!(list(" CUDAExecutionProvider , CPU ", &[]).unwrap().to_string(), "cuda,cpu");
        assert!(list("AUTO", &[]).unwrap().is_auto() && ProviderList::default().is_auto());
        assert_eq!(list("cuda,cpu", &[]).unwrap().batch_tokens(), 16_384);
        assert_eq!(list("auto", &[]).unwrap().batch_tokens(), 1_024);
    }

    #[test]
    fn a_list_that_says_two_things_is_refused() {
        for (words, expected) in [
            ("auto,cpu", "`--provider auto` chooses by itself and stands alone"),
            ("cpu,cuda,cpu", "`--provider` names `cpu` twice"),
            ("cuda,1", "`--provider` names a device `1` without its provider"),
            ("cuda:0,cpu,1", "`--provider` names a device `1` without its provider"),
            ("cuda:0,1,0", "`--provider` names `cuda:0` twice"),
            ("cpu:0,1", "`cpu` has no devices to choose from, got `0`"),
        ] {
            assert_eq!(list(words, &[]).unwrap_err().to_string(), expected);
        }
        assert_eq!(
            list("cuda,1", &[]).unwrap_err().hint().unwrap(),
            "devices stand behind the colon of their provider: `cuda:0,1` runs on both"
        );
        assert_eq!(list("cuda:0,1,cpu", &[]).unwrap().named()[0].devices, [0, 1]);
        assert!(list("cuda,,cpu", &[]).unwrap_err().to_string().starts_with("execution provider `` is not known"));
        assert!(list("", &[]).is_err());
    }

    #[test]
    fn options_go_to_those_that_take_some() {
        let options = |list: &ProviderList| -> Vec<String> {
            let pairs = |provider: &Provider| {
                let pairs = provider.options.iter().map(|(key, value)| format!("{key}={value}"));
                pairs.collect::<Vec<_>>().join(" ")
            };
            list.named().iter().map(pairs).collect()
        };
        let both = list("tensorrt,cuda,cpu", &["gpu_mem_limit=9", "tensorrt.trt_engine_cache_path=a=b"]).unwrap();
        assert_eq!(options(&both), ["gpu_mem_limit=9 trt_engine_cache_path=a=b", "gpu_mem_limit=9", ""]);
        let last = list("cuda", &["gpu_mem_limit=9", "CUDA.gpu_mem_limit=7", "no.provider=1"]).unwrap();
        assert_eq!(options(&last), ["gpu_mem_limit=7 no.provider=1"], "a dot in a key that no provider stands before");
    }

    #[test]
    fn an_option_that_nobody_may_take_is_refused_with_the_reason() {
        for (words, option, expected) in [
            ("cuda", "use_tf32", "it is not `key=value`"),
            ("cuda", "=1", "it is not `key=value`"),
            ("cuda", "cuda.=1", "it is not `key=value`"),
            ("cuda", "a=\0", "it is not `key=value`"),
            ("auto", "a=1", "options are for a provider that `--provider` names"),
            ("cpu", "a=1", "no provider that takes options is named by `--provider`"),
            ("cuda", "openvino.a=1", "no provider that takes options is named by `--provider`"),
            ("cuda:1", "device_id=0", "`--provider` names the device already"),
            ("cuda", "user_compute_stream=1", "its value would be an address in this program's memory"),
        ] {
            let error = list(words, &[option]).unwrap_err().to_string();
            assert_eq!(error, format!("provider option `{option}` can't be used: {expected}"));
        }
    }

    #[test]
    fn what_changes_numbers_is_for_one_provider_and_is_told_apart() {
        assert_eq!(list("cuda", &["use_tf32=1", "gpu_mem_limit=9"]).unwrap().numerics().as_deref(), Some("use_tf32=1"));
        assert_eq!(list("cuda", &["use_tf32=0"]).unwrap().numerics(), None);
        let two = list("cuda", &["use_tf32=1", "sdpa_kernel=1"]).unwrap();
        assert_eq!(two.numerics().as_deref(), Some("sdpa_kernel=1 use_tf32=1"));
        assert_eq!((list("auto", &[]).unwrap().numerics(), list("cpu", &[]).unwrap().numerics()), (None, None));
        let error = list("cuda,cpu", &["use_tf32=1"]).unwrap_err();
        let expected = "provider option `use_tf32=1` may change numbers, and `--provider` names several that may run";
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.hint().unwrap(), "name one provider: vectors are cached by what may change them");
        assert!(list("cuda,cpu", &["gpu_mem_limit=9"]).is_ok());
    }
}
