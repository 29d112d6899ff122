//! Which values of a configuration make sense together.

use isomax_burn::HeadKind;

use super::{ConfigError, Prototypes, TrainingConfig};
use crate::data::{Normalization, OodSource};
use crate::results::Selection;

impl TrainingConfig {
    /// Checks that the values make sense together.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let require = |valid: bool, name, expected, found: String| {
            if valid { Ok(()) } else { Err(ConfigError::OutOfRange { name, expected, found }) }
        };
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let share = |value: f64| (0.0..1.0).contains(&value);
        let fpr_fits = !self.fpr || self.head == HeadKind::DisMax;
        let validation = self.validation_images;
        let held_out = self.selection != Selection::Validation || !validation.is_none();
        let rising = self.milestones.is_sorted_by(|a, b| a < b);
        // Prototypes at the class means are a classifier by themselves.
        let trains = self.epochs > 0 || self.prototypes == Prototypes::ClassMeans;
        let needs = "at least 1 unless prototypes begin at the class means";
        require(trains, "epochs", needs, self.epochs.to_string())?;
        require(self.batch_size > 0, "batch-size", "at least 1", self.batch_size.to_string())?;
        let rate = self.learning_rate;
        require(positive(rate), "learning-rate", "a positive number", rate.to_string())?;
        require(positive(self.gamma), "gamma", "a positive number", self.gamma.to_string())?;
        let scale = self.entropic_scale;
        require(positive(scale), "entropic-scale", "a positive number", scale.to_string())?;
        require(share(self.momentum), "momentum", "in [0, 1)", self.momentum.to_string())?;
        require(
            share(self.weight_decay),
            "weight-decay",
            "in [0, 1)",
            self.weight_decay.to_string(),
        )?;
        require(rising, "milestones", "in rising order", format!("{:?}", self.milestones))?;
        // As of a saved configuration of a longer training: the rate would never fall.
        let within = self.milestones.iter().all(|&milestone| milestone <= self.epochs);
        require(within, "milestones", "within the epochs", format!("{:?}", self.milestones))?;
        require(fpr_fits, "fpr", "off for heads other than dismax", self.head.to_string())?;
        self.check_peers()?;
        let mut names: Vec<&str> = self.ood.iter().map(|source| source.name.as_str()).collect();
        names.sort_unstable();
        let unique = names.windows(2).all(|pair| pair[0] != pair[1]);
        require(unique, "ood-data", "sets of different names", names.join(", "))?;
        let is_id = |set: &OodSource| set.folder.is_none() && set.name == self.id_data;
        let id_data = self.ood.iter().any(is_id);
        require(!id_data, "ood-data", "other sets than the ID set", self.id_data.clone())?;
        for (name, value) in [("id-data", &self.id_data), ("architecture", &self.architecture)] {
            let fits = crate::data::is_set_name(value);
            require(fits, name, "letters, digits, '-', '_', '+' or '.'", value.clone())?;
        }
        let given = self.normalization.unwrap_or(Normalization::CIFAR10);
        let std = format!("{:?}", given.std);
        require(given.is_usable(), "std", "positive numbers, with finite means", std)?;
        if self.id_path.is_none() {
            // Images that a program brings are measured by nobody.
            self.preprocessing(None)?;
        }
        let size = self.preprocessing(Some(given))?.check().map_err(|error| error.to_string());
        require(size.is_ok(), "image-size", "what can be cut out", size.err().unwrap_or_default())?;
        let augmentation = self.augmentation;
        let parts = "parts of at most the whole area";
        require(augmentation.is_usable(), "augmentation", parts, format!("{augmentation:?}"))?;
        let body = self.body_learning_rate;
        let body_fits = body.is_none_or(|rate| rate >= 0.0 && rate.is_finite());
        require(body_fits, "body-learning-rate", "0 or a positive number", format!("{body:?}"))?;
        let moves = self.train_from.is_none() || body != Some(0.0);
        let needs = "a positive number with --train-from";
        require(moves, "body-learning-rate", needs, format!("{body:?}"))?;
        for (name, probability) in [("dropout", self.dropout), ("drop-connect", self.drop_connect)]
        {
            let fits = probability.is_none_or(share);
            require(fits, name, "in [0, 1)", format!("{probability:?}"))?;
        }
        let warms = self.warm_up_epochs == 0 || !self.warm_up && self.warm_up_epochs < self.epochs;
        let warm_up = self.warm_up_epochs.to_string();
        require(warms, "warm-up-epochs", "below epochs, and 0 with --warm-up", warm_up)?;
        let has_means = self.prototypes == Prototypes::Random || self.head != HeadKind::SoftMax;
        let head = self.head.to_string();
        require(has_means, "prototypes", "random for softmax, which has none", head)?;
        for (name, count) in
            [("validation-images", validation), ("calibration-images", self.calibration_images)]
        {
            require(count.is_usable(), name, "a number, or a share below 1", count.to_string())?;
        }
        // The test split must not decide when to stop unless it decides anyway.
        let patience_fits = self.early_stopping.is_none_or(|epochs| {
            epochs > 0 && (!validation.is_none() || self.selection == Selection::Test)
        });
        require(
            patience_fits,
            "early-stopping",
            "at least 1, with validation images",
            format!("{:?} with {} images", self.early_stopping, self.validation_images),
        )?;
        let accumulation = self.gradient_accumulation;
        require(accumulation > 0, "gradient-accumulation", "at least 1", accumulation.to_string())?;
        require(self.devices > 0, "devices", "at least 1", self.devices.to_string())?;
        require(
            held_out,
            "validation-images",
            "at least 1 unless --selection is test or last",
            validation.to_string(),
        )?;
        let apart = !self.share_held_out || self.calibration_images.is_none();
        let calibration = self.calibration_images.to_string();
        require(apart, "calibration-images", "0 with --share-held-out", calibration)
    }
}

impl TrainingConfig {
    /// Checks what belongs to methods of others.
    fn check_peers(&self) -> Result<(), ConfigError> {
        let require = |valid: bool, name, expected, found: String| {
            if valid { Ok(()) } else { Err(ConfigError::OutOfRange { name, expected, found }) }
        };
        if let Some(temperature) = self.logit_norm {
            let is_positive = temperature > 0.0 && temperature.is_finite();
            require(is_positive, "logit-norm", "a positive number", temperature.to_string())?;
            let is_softmax = self.head == HeadKind::SoftMax;
            require(
                is_softmax,
                "logit-norm",
                "off for heads other than softmax",
                self.head.to_string(),
            )?;
        }
        let weight = self.outlier_weight;
        let fits = weight >= 0.0 && weight.is_finite();
        require(fits, "outlier-weight", "0 or a positive number", weight.to_string())?;
        let Some(outliers) = &self.outliers else { return Ok(()) };
        require(
            !self.fpr,
            "outliers",
            "none with --fpr, which mixes images",
            outliers.to_string(),
        )?;
        let count = self.outliers_per_batch();
        require(count > 0, "outlier-batch-size", "at least 1", count.to_string())?;
        // Whoever is detected must not have been trained on.
        let is_apart = !self.ood.iter().any(|set| {
            set.name == outliers.name || set.folder.is_some() && set.folder == outliers.folder
        });
        require(is_apart, "outliers", "another set than those of --ood-data", outliers.to_string())
    }
}
