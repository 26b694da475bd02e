//! Whether a head fits what it is used on: the encoder and the way in which texts are made. Knows no command.
//! Invariant: nothing that the user did not allow is let through, and what is doubtful is said.

use anyhow::Result;
use offprint::causes::on_one_line;
use offprint::heads::{self, Head};
use offprint::model::{GraphHead, Identity, Manifest};

use super::error::with_hint;
use super::say::remark;

/// A head serves only the encoder that it was trained on, unless the user says otherwise; vectors of another length fit
/// no head, whatever the user allows. Whether the encoder is another one.
pub(super) fn check_encoder(
    head: &Head,
    (manifest, identity): (&Manifest, &Identity),
    allow_change: bool,
) -> Result<bool> {
    head.check_dim(manifest.dim)?;
    match head.check_identity(identity.fields()) {
        Ok(()) => Ok(false),
        Err(error) if allow_change => {
            remark(&format!("warning: {}", on_one_line(&error)));
            Ok(true)
        }
        Err(error @ heads::Error::OtherEncoder { .. }) => {
            let hint = own_adapter(head, manifest).map(|name| format!("it fits `--adapter {name}`"));
            let again = || "train it again on this bundle, or `--allow-encoder-change`".to_owned();
            Err(with_hint(error, hint.unwrap_or_else(again)))
        }
        Err(error) => Err(error.into()),
    }
}

/// A head serves a bundle if it fits what all texts go through, or any of several adapters.
pub(super) fn check_any_adapter(head: &Head, manifest: &Manifest) -> Result<(), heads::Error> {
    match own_adapter(head, manifest) {
        Some(_) => Ok(()),
        None => head.check_identity(manifest.identity().fields()),
    }
}

/// The one of the bundle's several adapters that the head was trained on, if it is any of them.
fn own_adapter<'m>(head: &Head, manifest: &'m Manifest) -> Option<&'m str> {
    let fits = |place: &usize| manifest.identity_of(Some(*place)).fields() == &head.identity;
    let place = (0..manifest.adapters.len()).find(fits)?;
    Some(&manifest.adapters[place].name)
}

/// Another way of making texts than the one that the head was trained with is a warning.
pub(super) fn warn_of_texts(head: &str, trained_with: &str, now: &str) {
    if trained_with != now {
        remark(&format!("warning: head `{head}` was trained with {trained_with}, now {now}"));
    }
}

/// The same of heads in a bundle's graph, which remember what they were fused into.
pub(super) fn warn_of_fused(heads: &[GraphHead], now: &str) {
    for head in heads {
        if head.encoder_changed {
            remark(&format!("warning: head `{}` was trained on another encoder than the bundle's", head.name));
        }
        if let Some(trained_with) = &head.trained_with {
            warn_of_texts(&head.name, trained_with, now);
        }
    }
}
