//! Names of enum variants as text: one way to read them, one error that lists the known ones.

/// A name that stands for nothing. The message lists the names that do.
///
/// ```
/// use isomax_burn::HeadKind;
///
/// let error = "cosine".parse::<HeadKind>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "unknown head 'cosine'; known: softmax, isomax, isomax+, dismax"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} '{found}'; known: {}", known.join(", "))]
pub struct UnknownName {
    /// What was to be named, such as `head`.
    pub what: &'static str,
    /// The name that came.
    pub found: String,
    /// The names that would have been understood.
    pub known: Vec<String>,
}

/// Looks a name up, ignoring case; `aliases` are understood but not listed.
pub(crate) fn parse<T: Copy>(
    what: &'static str,
    name: &str,
    known: impl IntoIterator<Item = (&'static str, T)> + Clone,
    aliases: impl IntoIterator<Item = (&'static str, T)>,
) -> Result<T, UnknownName> {
    (known.clone().into_iter().chain(aliases))
        .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name.trim()))
        .map(|(_, value)| value)
        .ok_or_else(|| UnknownName {
            what,
            found: name.to_owned(),
            known: known.into_iter().map(|(candidate, _)| candidate.to_owned()).collect(),
        })
}
