//! How an error looks: `error: what failed`, one `cause:` line per link, at most one `hint:` line, all on stderr.

use super::say::remark;
use offprint::{bench, cache, encode, evaluate, graph, heads, model, output, paper, report, runtime};

/// An error that only the command line knows about, with its way out.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct UserError {
    what: String,
    hint: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What the user did that cannot be done, and what to do instead.
pub(crate) fn user_error(what: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    UserError { what: what.into(), hint: hint.into(), source: None }.into()
}

/// An error of the library with a way out that only the command line knows.
pub(crate) fn with_hint(
    error: impl std::error::Error + Send + Sync + 'static,
    hint: impl Into<String>,
) -> anyhow::Error {
    UserError { what: error.to_string(), hint: hint.into(), source: Some(Box::new(error)) }.into()
}

/// Prints the chain.
pub(crate) fn print(error: &anyhow::Error) {
    let mut lines = vec![format!("error: {error}")];
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        // Transparent wrappers repeat the text of what they wrap.
        if text != last {
            lines.push(format!("  cause: {text}"));
        }
        last = text;
    }
    if let Some(hint) = error.chain().find_map(hint_of) {
        lines.push(format!("  hint: {hint}"));
    }
    remark(&lines.join("\n"));
}

fn hint_of(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    macro_rules! hints {
        ($($kind:ty),*) => {
            $(if let Some(error) = error.downcast_ref::<$kind>() { return error.hint(); })*
        };
    }
    hints!(
        encode::Error,
        paper::Error,
        model::Error,
        model::hub::Error,
        graph::Error,
        graph::foreign::Error,
        runtime::Error,
        runtime::tensorrt::Error,
        cache::Error,
        heads::Error,
        evaluate::Error,
        output::Error,
        report::Error,
        bench::Error
    );
    error.downcast_ref::<UserError>().map(|error| error.hint.clone())
}
