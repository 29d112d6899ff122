use std::fmt;

use serde::{Deserialize, Serialize};

/// How many processes trained: of the moment, not of a configuration, but a step has a batch of each.
const RANKS: &str = "ranks";
const ALONE: usize = 1;

/// Fields of a configuration by their names, for comparison and display.
///
/// ```
/// use isomax_bench::{data::PublishedSet, train::TrainingConfig};
/// use isomax_burn::HeadKind;
///
/// let config = TrainingConfig::published(PublishedSet::Svhn, "resnet-20".parse()?, HeadKind::IsoMax);
/// assert_eq!(config.recipe().get("epochs").as_deref(), Some("300"));
/// # Ok::<(), isomax_burn::UnknownName>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recipe(serde_json::Map<String, serde_json::Value>);

impl Recipe {
    /// All fields of a configuration but some.
    pub(crate) fn of(config: &impl Serialize, without: &[&str]) -> Self {
        let mut fields = match serde_json::to_value(config) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        without.iter().for_each(|field| drop(fields.remove(*field)));
        Self(fields)
    }

    /// The recipe of a training whose epochs had so many ranks, in their order.
    pub(crate) fn with_ranks(mut self, ranks: impl IntoIterator<Item = usize>) -> Self {
        let mut ranks: Vec<usize> = ranks.into_iter().collect();
        ranks.dedup();
        let value = match ranks[..] {
            [] => ALONE.into(),
            [ranks] => ranks.into(),
            _ => ranks.into(),
        };
        self.0.insert(RANKS.to_owned(), value);
        self
    }

    /// Fields that trainings did not have before files had versions, and what they were then.
    pub(super) fn complete(&mut self) {
        if self.0.is_empty() {
            return;
        }
        if let Some(value) = self.0.remove("known") {
            self.0.insert("id_data".to_owned(), value);
        }
        for (field, value) in [
            ("calibration_images", 0.into()),
            ("share_held_out", true.into()),
            ("stratified", false.into()),
            ("normalization", serde_json::Value::Null),
            ("jpeg_decoder", "libjpeg".into()),
        ] {
            self.0.entry(field).or_insert(value);
        }
        self.complete_choices();
    }

    /// Fields that trainings had one value of before there was a choice.
    fn complete_choices(&mut self) {
        let nothing = serde_json::Value::Null;
        for (field, value) in [
            (RANKS, ALONE.into()),
            ("logit_norm", nothing.clone()),
            ("outliers", nothing.clone()),
            ("outlier_batch_size", nothing.clone()),
            ("outlier_weight", 0.5.into()),
            ("optimizer", "sgd".into()),
            ("body_learning_rate", nothing.clone()),
            ("train_from", nothing.clone()),
            ("frozen_statistics", false.into()),
            ("dropout", nothing.clone()),
            ("drop_connect", nothing.clone()),
            ("schedule", "multi-step".into()),
            ("warm_up_epochs", 0.into()),
            ("init_sha256", nothing),
            ("prototypes", "random".into()),
            ("image_size", 32.into()),
            ("resize", 32.into()),
            ("orientation", "as-stored".into()),
        ] {
            self.0.entry(field).or_insert(value);
        }
    }

    /// The names of all fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All fields, as JSON has them.
    pub fn values(&self) -> std::collections::BTreeMap<String, serde_json::Value> {
        self.0.iter().map(|(field, value)| (field.clone(), value.clone())).collect()
    }

    /// A field as text, as JSON has it.
    pub fn get(&self, field: &str) -> Option<String> {
        self.0.get(field).map(ToString::to_string)
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.0.iter().map(|(field, value)| format!("{field} {value}"));
        f.write_str(&fields.collect::<Vec<_>>().join("; "))
    }
}
