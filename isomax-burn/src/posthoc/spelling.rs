//! Methods as text: a name, and behind colons what is not the default.

use core::fmt;
use core::str::FromStr;

use super::{Dims, Guide, Method, MethodError, Origin, Shape};
use crate::{Score, UnknownName};

const DEFAULT_GAMMA: f64 = 0.1;
const DEFAULT_TOP: usize = 100;
const DEFAULT_NEIGHBOURS: usize = 50;
const DEFAULT_GUIDES: usize = 10;
const DEFAULT_ALPHA: f64 = 1e-4;

/// Names of the field that mean the same.
const ALIASES: [(&str, &str); 9] = [
    ("relativemahalanobis", "relative-mahalanobis"),
    ("rmd", "relative-mahalanobis"),
    ("rmds", "relative-mahalanobis"),
    ("mahalanobis++", "mahalanobis:unit"),
    ("relative-mahalanobis++", "relative-mahalanobis:unit"),
    ("rmds++", "relative-mahalanobis:unit"),
    ("nn-guide", "nnguide"),
    ("ash", "ash-s"),
    ("virtual-logit-matching", "vim"),
];

/// The methods whose names are not those of scores.
pub(super) const NAMES: [&str; 17] = [
    "gen",
    "mahalanobis",
    "relative-mahalanobis",
    "knn",
    "ctm",
    "she",
    "vim",
    "residual",
    "nnguide",
    "fdbd",
    "nci",
    "react",
    "ash-s",
    "ash-p",
    "ash-b",
    "scale",
    "dice",
];

impl Shape {
    /// The name, and the share that it has by default: those of the published code.
    fn spelling(&self) -> (&'static str, f64) {
        match self {
            Self::React { .. } => ("react", 0.9),
            Self::AshS { .. } => ("ash-s", 0.9),
            Self::AshP { .. } => ("ash-p", 0.9),
            Self::AshB { .. } => ("ash-b", 0.9),
            Self::Scale { .. } => ("scale", 0.85),
            Self::Dice { .. } => ("dice", 0.9),
        }
    }

    fn with_share(self, share: f64) -> Self {
        match self {
            Self::React { .. } => Self::React { share },
            Self::AshS { .. } => Self::AshS { share },
            Self::AshP { .. } => Self::AshP { share },
            Self::AshB { .. } => Self::AshB { share },
            Self::Scale { .. } => Self::Scale { share },
            Self::Dice { .. } => Self::Dice { share },
        }
    }

    const ALL: [Self; 6] = [
        Self::React { share: 0.0 },
        Self::AshS { share: 0.0 },
        Self::AshP { share: 0.0 },
        Self::AshB { share: 0.0 },
        Self::Scale { share: 0.0 },
        Self::Dice { share: 0.0 },
    ];
}

/// The parameters behind a name, each of which is taken once.
struct Parameters<'a> {
    text: &'a str,
    given: Vec<(&'a str, Option<&'a str>)>,
    known: Vec<&'static str>,
}

impl<'a> Parameters<'a> {
    fn take(&mut self, name: &'static str) -> Option<Option<&'a str>> {
        self.known.push(name);
        let position = self.given.iter().position(|(given, _)| given.eq_ignore_ascii_case(name))?;
        Some(self.given.remove(position).1)
    }

    fn invalid(&self, expected: &str, found: Option<&str>) -> MethodError {
        MethodError::Value {
            text: self.text.to_owned(),
            expected: expected.to_owned(),
            found: found.unwrap_or_default().to_owned(),
        }
    }

    fn flag(&mut self, name: &'static str) -> Result<bool, MethodError> {
        match self.take(name) {
            None => Ok(false),
            Some(None | Some("true")) => Ok(true),
            Some(Some("false")) => Ok(false),
            Some(found) => {
                Err(self.invalid(&format!("{name} without a value, or true or false"), found))
            }
        }
    }

    fn count(&mut self, name: &'static str, default: usize) -> Result<usize, MethodError> {
        let Some(found) = self.take(name) else { return Ok(default) };
        let number =
            found.and_then(|found| found.parse().ok()).filter(|&number: &usize| number > 0);
        number
            .ok_or_else(|| self.invalid(&format!("{name} as a whole number of at least 1"), found))
    }

    /// A number for which `is_valid` holds.
    fn number(
        &mut self,
        name: &'static str,
        range: &str,
        is_valid: impl Fn(f64) -> bool,
    ) -> Result<Option<f64>, MethodError> {
        let Some(found) = self.take(name) else { return Ok(None) };
        let number =
            found.and_then(|found| found.parse().ok()).filter(|&number: &f64| is_valid(number));
        number.map(Some).ok_or_else(|| self.invalid(&format!("{name} as a number {range}"), found))
    }

    fn share(&mut self, name: &'static str, default: f64) -> Result<f64, MethodError> {
        let number = self.number(name, "between 0 and 1", |share| share > 0.0 && share < 1.0)?;
        Ok(number.unwrap_or(default))
    }

    /// One of several words.
    fn word<T: Copy>(
        &mut self,
        name: &'static str,
        default: T,
        words: &[(&str, T)],
    ) -> Result<T, MethodError> {
        let Some(found) = self.take(name) else { return Ok(default) };
        let word =
            words.iter().find(|(word, _)| found.is_some_and(|f| f.eq_ignore_ascii_case(word)));
        word.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.invalid(&format!("{name} as one of {}", words.join(", ")), found)
        })
    }

    /// Nothing may be left over.
    fn finish(self, method: Method) -> Result<Method, MethodError> {
        match self.given.first() {
            None => Ok(method),
            Some((found, _)) => Err(MethodError::Parameter {
                text: self.text.to_owned(),
                found: (*found).to_owned(),
                known: self.known,
            }),
        }
    }
}

impl FromStr for Method {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Self, MethodError> {
        let (name, rest) = text.trim().split_once(':').unwrap_or((text.trim(), ""));
        let name = name.trim().to_ascii_lowercase().replace('_', "-");
        if let Some((_, long)) = ALIASES.iter().find(|(short, _)| *short == name) {
            let rest = if rest.is_empty() { String::new() } else { format!(":{rest}") };
            return format!("{long}{rest}").parse();
        }
        let given = rest.split(':').map(str::trim).filter(|part| !part.is_empty());
        let given = given.map(|part| match part.split_once('=') {
            Some((key, value)) => (key.trim(), Some(value.trim())),
            None => (part, None),
        });
        let mut p = Parameters { text, given: given.collect(), known: Vec::new() };
        let method = match name.as_str() {
            "gen" => Self::Gen {
                gamma: p.share("gamma", DEFAULT_GAMMA)?,
                top: p.count("top", DEFAULT_TOP)?,
            },
            "mahalanobis" => Self::Mahalanobis { unit: p.flag("unit")?, cutoff: cutoff(&mut p)? },
            "relative-mahalanobis" => {
                Self::RelativeMahalanobis { unit: p.flag("unit")?, cutoff: cutoff(&mut p)? }
            }
            "knn" => Self::Knn { k: p.count("k", DEFAULT_NEIGHBOURS)? },
            "ctm" => Self::Ctm,
            "she" => Self::She,
            "vim" => Self::Vim { dims: dims(&mut p)?, origin: origin(&mut p)? },
            "residual" => Self::Residual { dims: dims(&mut p)?, origin: origin(&mut p)? },
            "nnguide" => Self::NnGuide { k: p.count("k", DEFAULT_GUIDES)?, guide: guide(&mut p)? },
            "fdbd" => Self::Fdbd,
            "nci" => {
                let alpha =
                    p.number("alpha", "of at least 0", |alpha| alpha >= 0.0 && alpha.is_finite())?;
                Self::Nci { alpha: alpha.unwrap_or(DEFAULT_ALPHA) }
            }
            _ => match Shape::ALL.into_iter().find(|shape| shape.spelling().0 == name) {
                Some(shape) => {
                    let share = p.share("share", shape.spelling().1)?;
                    let score = match p.take("score") {
                        None => Score::Energy,
                        Some(found) => found.unwrap_or_default().parse()?,
                    };
                    Self::Shaped { shape: shape.with_share(share), score }
                }
                None => Self::Logit(name.parse().map_err(|_| unknown(&name))?),
            },
        };
        p.finish(method)
    }
}

fn cutoff(p: &mut Parameters<'_>) -> Result<Option<f64>, MethodError> {
    p.number("cutoff", "between 0 and 1", |share| share > 0.0 && share < 1.0)
}

fn dims(p: &mut Parameters<'_>) -> Result<Dims, MethodError> {
    // A subspace without dimensions is an error, so that zero can stand for none given.
    Ok(match p.count("dims", 0)? {
        0 => Dims::Auto,
        dims => Dims::Given(dims),
    })
}

const ORIGINS: [(&str, Origin); 3] =
    [("auto", Origin::Auto), ("planes", Origin::Planes), ("mean", Origin::Mean)];

fn origin(p: &mut Parameters<'_>) -> Result<Origin, MethodError> {
    p.word("origin", Origin::Auto, &ORIGINS)
}

const GUIDES: [(&str, Guide); 3] =
    [("auto", Guide::Auto), ("energy", Guide::Energy), ("probability", Guide::Probability)];

fn guide(p: &mut Parameters<'_>) -> Result<Guide, MethodError> {
    p.word("guide", Guide::Auto, &GUIDES)
}

fn unknown(name: &str) -> UnknownName {
    let scores = Score::ALL.iter().map(|score| score.name());
    let known = scores.chain(NAMES).map(str::to_owned).collect();
    UnknownName { what: "method", found: name.to_owned(), known }
}

fn word_of<T: PartialEq>(value: &T, words: &[(&'static str, T)]) -> &'static str {
    words.iter().find(|(_, known)| known == value).map_or("", |(word, _)| word)
}

impl fmt::Display for Method {
    /// The shortest text that is read as this method.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut put = |name: &str, value: String, is_default: bool| {
            if !is_default {
                text += &format!(":{name}={value}");
            }
        };
        let name = match *self {
            Self::Logit(score) => score.name(),
            Self::Gen { gamma, top } => {
                put("gamma", gamma.to_string(), gamma == DEFAULT_GAMMA);
                put("top", top.to_string(), top == DEFAULT_TOP);
                "gen"
            }
            Self::Mahalanobis { cutoff, .. } | Self::RelativeMahalanobis { cutoff, .. } => {
                put("cutoff", cutoff.unwrap_or_default().to_string(), cutoff.is_none());
                match (matches!(self, Self::Mahalanobis { .. }), self.is_unit()) {
                    (true, false) => "mahalanobis",
                    (true, true) => "mahalanobis:unit",
                    (false, false) => "relative-mahalanobis",
                    (false, true) => "relative-mahalanobis:unit",
                }
            }
            Self::Knn { k } => {
                put("k", k.to_string(), k == DEFAULT_NEIGHBOURS);
                "knn"
            }
            Self::Ctm => "ctm",
            Self::She => "she",
            Self::Vim { dims, origin } | Self::Residual { dims, origin } => {
                put("dims", dims.of(0).to_string(), dims == Dims::Auto);
                put("origin", word_of(&origin, &ORIGINS).to_owned(), origin == Origin::Auto);
                if matches!(self, Self::Vim { .. }) { "vim" } else { "residual" }
            }
            Self::NnGuide { k, guide } => {
                put("k", k.to_string(), k == DEFAULT_GUIDES);
                put("guide", word_of(&guide, &GUIDES).to_owned(), guide == Guide::Auto);
                "nnguide"
            }
            Self::Fdbd => "fdbd",
            Self::Nci { alpha } => {
                put("alpha", alpha.to_string(), alpha == DEFAULT_ALPHA);
                "nci"
            }
            Self::Shaped { shape, score } => {
                let (name, share) = shape.spelling();
                put("share", shape.share().to_string(), shape.share() == share);
                put("score", score.to_string(), score == Score::Energy);
                name
            }
        };
        f.pad(&(name.to_owned() + &text))
    }
}

impl TryFrom<String> for Method {
    type Error = MethodError;

    fn try_from(text: String) -> Result<Self, MethodError> {
        text.parse()
    }
}

impl From<Method> for String {
    fn from(method: Method) -> Self {
        method.to_string()
    }
}
