//! What can go wrong between asking for a model and having its files. Each message names the address or file and gives
//! both values; a server's own words are cut short and kept to one line.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Errors of the hub; [`Error::hint`] gives the way out where one is known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name of a model or revision that can't be one.
    #[error("{what} `{name}` {problem}")]
    Name {
        /// `hub id` or `revision`.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// `HF_ENDPOINT` is no `http://` or `https://` address.
    #[error("`{endpoint}` (HF_ENDPOINT) is no address of a hub")]
    Endpoint {
        /// Its value.
        endpoint: String,
    },
    /// The token can't be sent in a header.
    #[error("the hub's token holds characters that no token has")]
    Token,
    /// No variable says where the user's cache is.
    #[error("this user has no cache folder for the hub's files (none of HF_HUB_CACHE, HF_HOME, HOME is set)")]
    NoCache,
    /// The file of trusted authorities has none.
    #[error("`{path}` (SSL_CERT_FILE) holds no certificate in PEM form")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The id is that of an adapter.
    #[error("`{id}` is an adapter, not a model")]
    IsAdapter {
        /// The id asked for.
        id: String,
        /// What to use instead.
        instead: String,
    },
    /// The id is that of something else than an adapter.
    #[error("`{id}` is no adapter, expected {expected}")]
    NoAdapter {
        /// The id asked for.
        id: String,
        /// The files that an adapter has.
        expected: String,
    },
    /// No answer: name resolution, connection, TLS, time-out.
    #[error("could not get `{url}`")]
    Connection {
        /// What was asked for.
        url: String,
        /// Address of the hub.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// An answer that is a refusal for the moment, or one that nobody expected.
    #[error("`{url}` answered with status {status}{reason}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
        /// What the server says, with `: ` before it, or empty.
        reason: String,
        /// The pause that the server asks for.
        retry_after: Option<Duration>,
    },
    /// 401 or 403.
    #[error("`{endpoint}` does not give `{id}` away (status {status}){reason}")]
    Denied {
        /// Address of the hub.
        endpoint: String,
        /// The model.
        id: String,
        /// The status.
        status: u16,
        /// What the server says, with `: ` before it, or empty.
        reason: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// 404.
    #[error("`{endpoint}` has no {what}")]
    NotFound {
        /// Address of the hub.
        endpoint: String,
        /// The model, revision or file, in words.
        what: String,
    },
    /// A header is missing or says something else than it must.
    #[error("`{url}` sends {header} {got}, expected {expected}")]
    Header {
        /// What was asked for.
        url: String,
        /// The header.
        header: &'static str,
        /// Its value, `none` where it is missing.
        got: String,
        /// What would do.
        expected: String,
    },
    /// A redirect that is not followed.
    #[error("`{url}` leads to `{to}`, which {problem}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// Where it leads.
        to: String,
        /// Why that is not followed.
        problem: &'static str,
    },
    /// An answer, or a file that came, is no JSON of the expected form.
    #[error("`{url}` could not be understood")]
    Json {
        /// What was asked for, or the file.
        url: String,
        /// Line, column and reason.
        #[source]
        source: serde_json::Error,
    },
    /// The body is shorter than announced.
    #[error("the connection ended after {got} of {expected} bytes of `{file}`")]
    Cut {
        /// The file.
        file: String,
        /// Bytes that are here.
        got: u64,
        /// Bytes announced.
        expected: u64,
    },
    /// The body is longer than announced.
    #[error("`{url}` sends more than the {expected} bytes that were announced")]
    TooLong {
        /// What was asked for.
        url: String,
        /// Bytes announced.
        expected: u64,
    },
    /// A file that is read whole has more bytes than any config, tokenizer or index.
    #[error("`{file}` has {got} bytes, a file of its kind may have at most {most}")]
    TooLarge {
        /// The file.
        file: String,
        /// Its size.
        got: u64,
        /// The largest size that is taken.
        most: u64,
    },
    /// The bytes are not those that the hub announced.
    #[error("`{file}` has SHA-256 {got}, the hub announced {expected}")]
    Damaged {
        /// The file.
        file: String,
        /// Hash of what arrived.
        got: String,
        /// Hash announced.
        expected: String,
    },
    /// Every attempt failed.
    #[error("gave up after {attempts} attempts")]
    GaveUp {
        /// How many.
        attempts: u32,
        /// The last failure.
        #[source]
        source: Box<Error>,
    },
    /// The network may not be used, and files are missing.
    #[error("offline, and `{id}` at `{revision}` is not complete in `{cache}`: {missing}")]
    Offline {
        /// The model.
        id: String,
        /// Branch, tag or commit.
        revision: String,
        /// The hub's cache.
        cache: PathBuf,
        /// What is missing, in words.
        missing: String,
    },
    /// The model has none of the weight files that could be read.
    #[error("`{id}` has no weights that could be read, expected one of: {expected}")]
    NoWeights {
        /// The model.
        id: String,
        /// The names that would do.
        expected: String,
    },
    /// The model has neither a `tokenizer.json` nor a `vocab.txt`.
    #[error("`{id}` has no tokenizer, expected `{expected}`")]
    NoTokenizer {
        /// The model.
        id: String,
        /// The name that would do.
        expected: String,
    },
    /// The files beside the weights say that the model can't be used.
    #[error("`{id}` can not be exported, and its weights were not downloaded")]
    Unfit {
        /// The model.
        id: String,
        /// Why.
        #[source]
        source: Box<crate::model::Error>,
    },
    /// Neither the model nor the caller says how to pool.
    #[error("`{id}` does not say how its token states become one vector (no `1_Pooling/config.json`)")]
    NoPooling {
        /// The model.
        id: String,
    },
    /// The index of split weights names files that the model does not have, or none.
    #[error("`{path}` {problem}")]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file differs from the one that was downloaded first.
    #[error("{0}")]
    Locked(Box<Difference>),
    /// The lock file does not parse.
    #[error("`{path}` could not be understood")]
    LockSyntax {
        /// The lock file.
        path: PathBuf,
        /// Line, column and reason.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The lock file has another format.
    #[error("`{path}` has format {got}, this version of offprint reads format {expected}")]
    LockFormat {
        /// The lock file.
        path: PathBuf,
        /// The format found.
        got: u32,
        /// The format read.
        expected: u32,
    },
    /// A file or folder of the caches could not be used.
    #[error("could not {what} `{path}`")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// How a model differs from its entry in the lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The lock file.
    pub lock: PathBuf,
    /// The model.
    pub id: String,
    /// The file in it, or the revision.
    pub file: String,
    /// `SHA-256`, `size` or `commit`.
    pub what: &'static str,
    /// What is here now.
    pub got: String,
    /// What was written down.
    pub expected: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lock, id, file, what, got, expected } = self;
        write!(
            formatter,
            "`{file}` of `{id}` has {what} {got}, `{}` has {expected} from the first download",
            lock.display()
        )
    }
}

impl Error {
    /// Whether the same request may well succeed a moment later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Connection { source, .. } => !matches!(
                **source,
                ureq::Error::BadUri(_) | ureq::Error::InvalidProxyUrl | ureq::Error::Rustls(_) | ureq::Error::Tls(_)
            ),
            Self::Status { status, .. } => matches!(status, 408 | 416 | 429 | 500 | 502 | 503 | 504),
            Self::Cut { .. } => true,
            _ => false,
        }
    }

    /// The way out, where one is known to apply.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::GaveUp { source, .. } => return source.hint(),
            Self::Unfit { source, .. } => return source.hint(),
            Self::Connection { endpoint, .. } => format!(
                "check that `{endpoint}` can be reached from here (HF_ENDPOINT, HTTPS_PROXY); with the files already \
                 downloaded add `--offline`, or give a checkpoint's or bundle's folder as `--model`"
            ),
            Self::Status { status: 429, .. } => "the hub allows more requests with a token: set HF_TOKEN".to_owned(),
            Self::Denied { with_token: false, endpoint, id, .. } => format!(
                "if the name is right, the model is private or gated: accept its licence on {endpoint}/{id} and set \
                 HF_TOKEN"
            ),
            Self::Denied { endpoint, id, .. } => format!(
                "accept the model's licence on {endpoint}/{id} with the account of the token, or set HF_TOKEN to a \
                 token that may read it"
            ),
            Self::NotFound { .. } => {
                "check the spelling; a folder on this machine must exist to be taken for one".to_owned()
            }
            Self::IsAdapter { instead, .. } => instead.clone(),
            Self::Offline { .. } => {
                "run once without `--offline` (and without HF_HUB_OFFLINE), or give a checkpoint's folder as `--model`"
                    .to_owned()
            }
            Self::NoPooling { id } => format!(
                "name the pooling that the model was trained with: `offprint export --model {id} --pooling cls -o BUNDLE` \
                 or `--pooling mean`"
            ),
            Self::Damaged { .. } => {
                "run again to download it anew; if it lies in the hub's cache, remove it there first".to_owned()
            }
            Self::Locked(difference) => format!(
                "if the change is right, remove the entry `{}` from `{}`, or name another commit with `--revision`; \
                 else remove the file from the hub's cache",
                difference.id,
                difference.lock.display()
            ),
            Self::Name { what: "hub id", .. } => {
                "name a folder that exists, a recipe, or a hub id such as `allenai/specter2_base`".to_owned()
            }
            Self::LockFormat { .. } | Self::LockSyntax { .. } => {
                "remove the file to have it written anew; what is downloaded next is pinned then".to_owned()
            }
            _ => return None,
        };
        Some(text)
    }
}
