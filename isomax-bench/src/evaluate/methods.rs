use core::fmt;
use core::str::FromStr;

use isomax_burn::posthoc::{Method, MethodError};
use isomax_models::Odin;

/// Which methods to fit. As text: `all`, or names separated by commas.
///
/// ```
/// use isomax_bench::evaluate::PostHocMethods;
///
/// assert_eq!("all".parse::<PostHocMethods>()?, PostHocMethods::All);
/// assert_eq!("knn:k=5,odin".parse::<PostHocMethods>()?.to_string(), "knn:k=5,odin");
/// # Ok::<(), isomax_burn::posthoc::MethodError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum PostHocMethods {
    /// All that suit the head, with their default parameters. One that cannot be fitted is left out, with a warning.
    All,
    /// These. One that cannot be fitted is an error.
    These(Vec<PostHocMethod>),
}

impl FromStr for PostHocMethods {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Self, MethodError> {
        match text.trim().eq_ignore_ascii_case("all") {
            true => Ok(Self::All),
            false => Ok(Self::These(text.split(',').map(str::parse).collect::<Result<_, _>>()?)),
        }
    }
}

impl fmt::Display for PostHocMethods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::These(methods) => {
                let names: Vec<String> = methods.iter().map(PostHocMethod::to_string).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

/// One method, as text: one of [`Method`], or `odin`, `odin:temperature=10:noise=0.0028`.
///
/// ```
/// use isomax_bench::evaluate::PostHocMethod;
///
/// let method: PostHocMethod = "odin:noise=0.0028".parse()?;
/// assert_eq!(method.to_string(), "odin:noise=0.0028");
/// assert!("odin:noise=-1".parse::<PostHocMethod>().is_err());
/// # Ok::<(), isomax_burn::posthoc::MethodError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum PostHocMethod {
    /// Of features, and fitted on those of the training images.
    Features(Method),
    /// Of gradients of images; nothing is fitted. Its deviations are those of the network's normalisation.
    Odin(Odin),
}

impl FromStr for PostHocMethod {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Self, MethodError> {
        let mut parts = text.trim().split(':');
        if parts.next().is_none_or(|name| !name.trim().eq_ignore_ascii_case("odin")) {
            return Ok(Self::Features(text.parse()?));
        }
        parts.try_fold(Odin::new(), |odin, part| with(odin, text, part)).map(Self::Odin)
    }
}

/// ODIN with a parameter set.
fn with(odin: Odin, text: &str, part: &str) -> Result<Odin, MethodError> {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    let number = |expected: &str, is_valid: fn(f64) -> bool| {
        let number = value.parse().ok().filter(|&number: &f64| number.is_finite());
        number.filter(|&number| is_valid(number)).ok_or_else(|| MethodError::Value {
            text: text.to_owned(),
            expected: format!("{name} as {expected}"),
            found: value.to_owned(),
        })
    };
    match name.trim() {
        "temperature" => Ok(odin.with_temperature(number("a positive number", |t| t > 0.0)?)),
        "noise" => Ok(odin.with_noise(number("a number of at least 0", |noise| noise >= 0.0)?)),
        found => Err(MethodError::Parameter {
            text: text.to_owned(),
            found: found.to_owned(),
            known: vec!["temperature", "noise"],
        }),
    }
}

impl fmt::Display for PostHocMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (default, odin) = match self {
            Self::Features(method) => return method.fmt(f),
            Self::Odin(odin) => (Odin::new(), odin),
        };
        f.write_str("odin")?;
        if odin.temperature() != default.temperature() {
            write!(f, ":temperature={}", odin.temperature())?;
        }
        if odin.noise() != default.noise() {
            write!(f, ":noise={}", odin.noise())?;
        }
        Ok(())
    }
}

/// The parameters that are tried of a method, as published comparisons try them; none of methods without any.
pub(super) fn grid(method: &PostHocMethod) -> Vec<PostHocMethod> {
    let name = method.to_string();
    let base = name.split(':').next().unwrap_or_default();
    let unit = if name.contains(":unit") { ":unit" } else { "" };
    // The base score of a shape is kept.
    let score = name.split(':').find(|part| part.starts_with("score="));
    let score = score.map(|score| format!(":{score}")).unwrap_or_default();
    let texts: Vec<String> = match base {
        "gen" => ["0.01", "0.05", "0.1", "0.5"]
            .iter()
            .flat_map(|gamma| [10, 100].map(|top| format!("gen:gamma={gamma}:top={top}")))
            .collect(),
        "mahalanobis" | "relative-mahalanobis" => {
            ["1e-9", "1e-6", "1e-4", "1e-3"].map(|c| format!("{base}{unit}:cutoff={c}")).into()
        }
        "knn" => [1, 5, 10, 50, 100, 200, 500, 1000].map(|k| format!("knn:k={k}")).into(),
        "nnguide" => [1, 10, 50, 100, 200, 500].map(|k| format!("nnguide:k={k}")).into(),
        "vim" | "residual" => {
            [4, 8, 16, 32, 64, 128, 256, 512, 1000].map(|d| format!("{base}:dims={d}")).into()
        }
        "nci" => ["0", "1e-4", "1e-3", "1e-2", "0.1"].map(|a| format!("nci:alpha={a}")).into(),
        "react" => ["0.8", "0.85", "0.9", "0.95", "0.99"]
            .map(|share| format!("react:share={share}{score}"))
            .into(),
        "ash-s" | "ash-p" | "ash-b" | "scale" => {
            ["0.3", "0.5", "0.65", "0.75", "0.85", "0.9", "0.95"]
                .map(|share| format!("{base}:share={share}{score}"))
                .into()
        }
        "dice" => ["0.1", "0.3", "0.5", "0.7", "0.9"]
            .map(|share| format!("dice:share={share}{score}"))
            .into(),
        "odin" => [1, 10, 100, 1000]
            .iter()
            .flat_map(|temperature| {
                ["0.0014", "0.0028"]
                    .map(|noise| format!("odin:temperature={temperature}:noise={noise}"))
            })
            .collect(),
        _ => Vec::new(),
    };
    texts.iter().flat_map(|text| text.parse()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_a_grid_is_a_method() {
        let names = ["gen", "mahalanobis:unit", "knn", "nnguide", "vim", "residual", "nci", "odin"];
        let shapes = ["react:score=MDS", "ash-s", "ash-p", "ash-b", "scale", "dice:score=MDS"];
        for name in names.into_iter().chain(shapes) {
            let method: PostHocMethod = name.parse().expect(name);
            let grid = grid(&method);
            // Each is read, and the defaults are among what is tried or close to it.
            assert!(grid.len() >= 4, "{name}: {}", grid.len());
            let kept = |part: &str| {
                !name.contains(part) || grid.iter().all(|tried| tried.to_string().contains(part))
            };
            assert!(kept(":unit") && kept("score=MDS"), "{name}");
        }
    }

    #[test]
    fn what_odin_cannot_be_is_refused() {
        for text in ["odin:temperature=0", "odin:noise=x", "odin:noise=inf", "odin:k=3", "odin:"] {
            assert!(text.parse::<PostHocMethod>().is_err(), "{text}");
        }
        assert!("odin,nothing".parse::<PostHocMethods>().is_err());
    }
}
