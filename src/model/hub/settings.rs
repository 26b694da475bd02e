//! Where the hub is, who asks, and where its files lie: the environment variables that Python's `huggingface_hub` reads,
//! with the same meaning and order. Owns their reading; nothing else here looks at the environment.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Error;

const ENDPOINT: &str = "https://huggingface.co";

/// A secret that no log and no error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes the text of a token; white space around it is cut off, an empty one is none.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(..)")
    }
}

/// How to reach the hub.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// Address of the hub, without a slash at its end.
    pub endpoint: String,
    /// What is sent to the endpoint, and to nobody else.
    pub token: Option<Token>,
    /// The hub's cache: a folder `models--organisation--name` for each model.
    pub cache: PathBuf,
    /// Whether the network stays unused.
    pub offline: bool,
    /// PEM file with the authorities to trust instead of the built-in ones.
    pub authorities: Option<PathBuf>,
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest silence of a server.
    pub read_timeout: Duration,
    /// How often one request is tried.
    pub attempts: u32,
    /// The pause after a first failure; each further one is twice as long.
    pub first_pause: Duration,
}

impl HubSettings {
    /// The environment's settings. `HF_ENDPOINT`; `HF_TOKEN`, else `HUGGING_FACE_HUB_TOKEN`, else the file
    /// `HF_TOKEN_PATH` or `$HF_HOME/token`; `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `$HF_HOME/hub`, where
    /// `HF_HOME` is `huggingface` in the user's cache folder by default; `HF_HUB_OFFLINE` and `TRANSFORMERS_OFFLINE`;
    /// `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// A user without a cache folder, and an address that is none.
    pub fn from_environment() -> Result<Self, Error> {
        Self::from_variables(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// The settings that `variable` gives.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
        let path = |name: &str| variable(name).map(PathBuf::from);
        let home = path("HF_HOME").or_else(|| {
            let cache = path("XDG_CACHE_HOME").or_else(|| Some(path("HOME").or_else(dirs::home_dir)?.join(".cache")));
            cache.map(|cache| cache.join("huggingface"))
        });
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| home.as_deref().map(|home| home.join("hub")))
            .ok_or(Error::NoCache)?;
        let token_file = path("HF_TOKEN_PATH").or_else(|| home.map(|home| home.join("token")));
        let token = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].iter().find_map(|name| Token::new(&text(name)?));
        let switched_on =
            |name: &str| text(name).is_some_and(|v| matches!(&*v.to_lowercase(), "1" | "on" | "yes" | "true"));
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned()).trim_end_matches('/').to_owned();
        check_endpoint(&endpoint)?;
        Ok(Self {
            endpoint,
            token: token.or_else(|| token_file.as_deref().and_then(read_token)),
            cache,
            offline: switched_on("HF_HUB_OFFLINE") || switched_on("TRANSFORMERS_OFFLINE"),
            authorities: path("SSL_CERT_FILE"),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            attempts: 5,
            first_pause: Duration::from_secs(1),
        })
    }
}

/// The token that a login left; without one nothing is wrong.
fn read_token(file: &Path) -> Option<Token> {
    Token::new(&std::fs::read_to_string(file).ok()?)
}

fn check_endpoint(endpoint: &str) -> Result<(), Error> {
    let parsed: Option<ureq::http::Uri> = endpoint.parse().ok();
    let scheme = parsed.as_ref().and_then(|uri| uri.scheme_str());
    if matches!(scheme, Some("http" | "https")) && !endpoint.contains(['?', '@']) {
        return Ok(());
    }
    Err(Error::Endpoint { endpoint: endpoint.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<HubSettings, Error> {
        HubSettings::from_variables(|asked| {
            variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn folders_follow_the_order_that_the_hub_documents() {
        let cache = |variables: &[(&str, &str)]| settings(variables).unwrap().cache;
        assert_eq!(cache(&[("HOME", "/u")]), Path::new("/u/.cache/huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/u"), ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")]), Path::new("/h/hub"));
        assert_eq!(cache(&[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/o")]), Path::new("/o"));
        assert_eq!(cache(&[("HUGGINGFACE_HUB_CACHE", "/o"), ("HF_HUB_CACHE", "/c")]), Path::new("/c"));
    }

    #[test]
    fn the_token_comes_from_the_environment_else_from_a_login() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().to_str().unwrap();
        assert_eq!(settings(&[("HF_HOME", folder)]).unwrap().token, None);
        std::fs::write(home.path().join("token"), "hf_file\n").unwrap();
        assert_eq!(settings(&[("HF_HOME", folder)]).unwrap().token.unwrap().secret(), "hf_file");
        let both = settings(&[("HF_HOME", folder), ("HF_TOKEN", "hf_variable")]).unwrap();
        assert_eq!(both.token.as_ref().unwrap().secret(), "hf_variable");
        assert!(!format!("{both:?}").contains("hf_variable"), "a token is not for logs");
    }

    #[test]
    fn switches_and_addresses_are_read_as_the_hub_reads_them() {
        let base = ("HOME", "/u");
        for (value, offline) in [("1", true), ("TRUE", true), ("yes", true), ("0", false), ("no", false)] {
            assert_eq!(settings(&[base, ("HF_HUB_OFFLINE", value)]).unwrap().offline, offline, "{value}");
        }
        assert_eq!(settings(&[base]).unwrap().endpoint, "https://huggingface.co");
        let mirror = settings(&[base, ("HF_ENDPOINT", "http://127.0.0.1:8000/mirror/")]).unwrap();
        assert_eq!(mirror.endpoint, "http://127.0.0.1:8000/mirror");
        for bad in ["huggingface.co", "ftp://x", "https://", "https://user:word@x"] {
            let error = settings(&[base, ("HF_ENDPOINT", bad)]).unwrap_err();
            let bad = bad.trim_end_matches('/');
            assert_eq!(error.to_string(), format!("`{bad}` (HF_ENDPOINT) is no address of a hub"));
        }
    }
}
