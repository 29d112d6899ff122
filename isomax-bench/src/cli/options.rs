//! What a user says of a training: departures from the published recipe.

use std::fs;
use std::path::{Path, PathBuf};

use isomax_burn::HeadKind;
use isomax_models::Architecture;
use serde::Deserialize;

use crate::data::{Augmentation, IdSet, JpegDecoder, Normalization, OodSource, Orientation};
use crate::results::{self, Selection};
use crate::train::{
    ConfigError, ImageCount, OptimizerKind, Prototypes, ScheduleKind, TrainingConfig,
    published_milestones,
};

/// What a file or the flags of a command say of a [`TrainingConfig`]; the rest is the published
/// recipe. A saved `config.json` is such a file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigOptions {
    /// Version of the file; none in files made by hand.
    #[arg(skip)]
    pub version: Option<u32>,
    /// In-distribution set, whose classes are learned: cifar10, cifar100, svhn, or images of your own, a folder or a
    /// CSV file, each PATH or NAME=PATH. A folder holds train/CLASS, val/CLASS and test/CLASS, or CLASS alone, of which
    /// a fifth is then kept for the test. A CSV file has the columns path, label and perhaps split.
    #[arg(long = "id-data", alias = "known", value_name = "NAME|PATH")]
    #[serde(alias = "known")]
    pub id_data: Option<IdSet>,
    /// Folder or CSV file of the set, as a saved configuration has it apart from the name.
    #[arg(skip)]
    pub id_path: Option<PathBuf>,
    /// Network, for example densenet-bc-100, resnet-110, resnet-34 or wrn-28-10.
    #[arg(long)]
    pub architecture: Option<Architecture>,
    /// Last layer, which also sets the loss: softmax, isomax, isomax+ or dismax (default: isomax+).
    #[arg(long)]
    pub head: Option<HeadKind>,
    /// Train DisMax with fractional probability regularisation.
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub fpr: Option<bool>,
    /// Entropic scale of the loss (default: 10).
    #[arg(long)]
    pub entropic_scale: Option<f64>,
    /// Train softmax with LogitNorm, at this temperature (default: off; 0.04 if none is given).
    #[arg(long, value_name = "TEMPERATURE", num_args = 0..=1, default_missing_value = "0.04")]
    pub logit_norm: Option<f64>,
    /// Train with Outlier Exposure on these images of no class, NAME or NAME=FOLDER: any that show none of the classes
    /// and are none of --ood-data.
    #[arg(long, value_name = "SET")]
    pub outliers: Option<OodSource>,
    /// Number of outliers beside each batch (default: twice --batch-size).
    #[arg(long, value_name = "IMAGES", requires = "outliers")]
    pub outlier_batch_size: Option<usize>,
    /// What outliers count beside the loss of the classes (default: 0.5).
    #[arg(long, value_name = "WEIGHT", requires = "outliers")]
    pub outlier_weight: Option<f64>,
    /// Pretrained weights for all of the network but its head: a file of PyTorch or safetensors, such as `weights fetch`
    /// brings. With it, the defaults are those of fine-tuning with few images: the body stays as it is, prototypes begin
    /// at the class means, and AdamW trains the head for 20 epochs of batches of 32 along a cosine, at 0.001.
    #[arg(long, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// SHA-256 sum of these weights, as a saved configuration has it.
    #[arg(skip)]
    pub init_sha256: Option<String>,
    /// Where the prototypes of isomax, isomax+ and dismax begin: random, as published, or class-means, at the mean
    /// features of the classes (default: class-means with --init, else random).
    #[arg(long)]
    pub prototypes: Option<Prototypes>,
    /// Height and width of what the network sees, in pixels (default: as published, of the set, or for images of your
    /// own of the network).
    #[arg(long, value_name = "PIXELS")]
    pub image_size: Option<u32>,
    /// Length that the shorter side of an image is brought to, before the middle is cut out (default: 8/7 of
    /// --image-size for images of your own beyond 64 pixels, else --image-size).
    #[arg(long, value_name = "PIXELS")]
    pub resize: Option<u32>,
    /// Whether images are turned as their EXIF data says: upright, or as-stored (default: upright for images of your
    /// own).
    #[arg(skip)]
    pub orientation: Option<Orientation>,
    /// Number of passes over the training images (default: 300; 20 with --init).
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Number of images in a batch (default: 64; 32 with --init).
    #[arg(long)]
    pub batch_size: Option<usize>,
    /// What makes steps of gradients: sgd or adamw (default: sgd; adamw with --init).
    #[arg(long)]
    pub optimizer: Option<OptimizerKind>,
    /// Learning rate at the start (default: 0.1; 0.001 with --init).
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Learning rate at the start of all but the head; 0 for a body that stays as it is (default: --learning-rate;
    /// 0 with --init).
    #[arg(long)]
    pub body_learning_rate: Option<f64>,
    /// First part of the body that is trained, by its name in the network, such as blocks.11 or layer4: what comes
    /// before it stays as it is.
    #[arg(long, value_name = "PART")]
    pub train_from: Option<String>,
    /// Keep the running statistics of batch normalisations, and drop nothing unless asked to (default: on with
    /// --init).
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub frozen_statistics: Option<bool>,
    /// Probability of dropping values in training, for networks that do so (default: as published).
    #[arg(long)]
    pub dropout: Option<f64>,
    /// Probability of leaving out the last block of an efficientnet in training (default: as published).
    #[arg(long)]
    pub drop_connect: Option<f64>,
    /// How the learning rate falls: multi-step or cosine (default: multi-step; cosine with --init).
    #[arg(long)]
    pub schedule: Option<ScheduleKind>,
    /// Epochs in which the learning rate rises from nothing (default: 0).
    #[arg(long)]
    pub warm_up_epochs: Option<usize>,
    /// Epochs after which the learning rate falls, separated by commas (default: 1/2, 2/3 and 5/6
    /// of all epochs).
    #[arg(long, value_delimiter = ',')]
    pub milestones: Option<Vec<usize>>,
    /// Factor for the learning rate at each milestone (default: 0.1).
    #[arg(long)]
    pub gamma: Option<f64>,
    /// Use a tenth of the learning rate in the first epoch (default: as published).
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub warm_up: Option<bool>,
    /// Nesterov momentum (default: 0.9).
    #[arg(long)]
    pub momentum: Option<f64>,
    /// Weight decay on every parameter (default: 1e-4).
    #[arg(long)]
    pub weight_decay: Option<f64>,
    /// Random crops and flips: in a file a table with padding and flip.
    #[arg(skip)]
    pub augmentation: Option<Augmentation>,
    /// Train on a random subset of this size; held-out images are part of it (default: the whole
    /// training split).
    #[arg(long)]
    pub train_images: Option<usize>,
    /// Number of training images held out to choose the epoch, or a share such as 10% (default: 2500, of images of your
    /// own 10%; 0 with --select-on-test or --init).
    #[arg(long)]
    pub validation_images: Option<ImageCount>,
    /// Number of further training images held out to fit the detector and its temperature, or a share
    /// (default: as --validation-images; 20% with --init).
    #[arg(long)]
    pub calibration_images: Option<ImageCount>,
    /// Fit the detector and its temperature on the images that choose the epoch, and hold out no
    /// others.
    #[arg(long, conflicts_with = "calibration_images", num_args = 0..=1,
        default_missing_value = "true")]
    pub share_held_out: Option<bool>,
    /// Hold out the same share of each class (default: true).
    #[arg(skip)]
    pub stratified: Option<bool>,
    /// Mean of each channel, for pixels in [0, 1] (default: as published for the set, else
    /// measured).
    #[arg(long, value_name = "R,G,B", requires = "std", value_parser = Normalization::parse_channels)]
    #[serde(skip)]
    pub mean: Option<[f32; 3]>,
    /// Standard deviation of each channel, for pixels in [0, 1] (default: as published for the
    /// set, else measured).
    #[arg(long, value_name = "R,G,B", requires = "mean", value_parser = Normalization::parse_channels)]
    #[serde(skip)]
    pub std: Option<[f32; 3]>,
    /// Mean and standard deviation: in a file a table with mean and std.
    #[arg(skip)]
    pub normalization: Option<Normalization>,
    /// JPEG decoder: safe, or libjpeg, which gives exactly the pixels of PyTorch and Pillow and
    /// needs a build with `--features libjpeg` (default: safe).
    #[arg(long)]
    pub jpeg_decoder: Option<JpegDecoder>,
    /// Epoch whose weights are kept: the best one on held-out images (validation), the best one on
    /// the test split (test), or the last one (last) (default: validation).
    #[arg(long)]
    pub selection: Option<Selection>,
    /// Choose the best epoch on the test split, as the published code does. The same as
    /// --selection test.
    #[arg(long, conflicts_with = "selection")]
    #[serde(skip)]
    pub select_on_test: bool,
    /// Stop when the validation accuracy has not risen for this many epochs.
    #[arg(long)]
    pub early_stopping: Option<usize>,
    /// Number of batches whose mean gradient makes one step (default: 1).
    #[arg(long)]
    pub gradient_accumulation: Option<usize>,
    /// Number of devices. Each gets its own batch, and their mean gradient makes one step
    /// (default: 1).
    #[arg(long)]
    pub devices: Option<usize>,
    /// Seed of the first run; each further run takes the next number (default: 42).
    #[arg(long)]
    pub seed: Option<u64>,
    /// OOD sets, separated by commas, each NAME or NAME=FOLDER (default: as published). A finished
    /// run is evaluated on new sets without training again.
    #[arg(long = "ood-data", alias = "ood", value_name = "SETS", value_delimiter = ',')]
    #[serde(rename = "ood_data", alias = "ood")]
    pub ood: Option<Vec<OodSource>>,
    /// Measure detection during training once in this many epochs; 0 for never (default: 1).
    #[arg(long)]
    pub ood_every: Option<usize>,
}

impl ConfigOptions {
    /// Reads a file: JSON if its name ends so, else TOML.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Io`] or [`ConfigError::Malformed`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let malformed = |reason: String| ConfigError::Malformed { path: path.to_owned(), reason };
        let options: Self = match is_json {
            true => read_json(&text).map_err(|error| malformed(error.to_string()))?,
            false => toml::from_str(&text).map_err(|error| malformed(error.to_string()))?,
        };
        match options.version {
            Some(found) if found > results::VERSION => {
                Err(malformed(results::newer_version(found)))
            }
            _ => Ok(options),
        }
    }

    /// These options, and where they say nothing, the others.
    pub fn or(self, others: Self) -> Self {
        macro_rules! first {
            ($($field:ident),* $(,)?) => {
                Self {
                    select_on_test: self.select_on_test || others.select_on_test,
                    $($field: self.$field.or(others.$field)),*
                }
            };
        }
        first!(
            id_data,
            id_path,
            architecture,
            head,
            fpr,
            entropic_scale,
            logit_norm,
            outliers,
            outlier_batch_size,
            outlier_weight,
            init,
            init_sha256,
            prototypes,
            image_size,
            resize,
            orientation,
            epochs,
            batch_size,
            optimizer,
            learning_rate,
            body_learning_rate,
            train_from,
            frozen_statistics,
            dropout,
            drop_connect,
            schedule,
            milestones,
            gamma,
            warm_up,
            warm_up_epochs,
            momentum,
            weight_decay,
            augmentation,
            train_images,
            validation_images,
            calibration_images,
            share_held_out,
            stratified,
            mean,
            std,
            normalization,
            jpeg_decoder,
            version,
            selection,
            early_stopping,
            gradient_accumulation,
            devices,
            seed,
            ood,
            ood_every,
        )
    }

    /// The published recipe with these departures.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] without set, network or head, [`ConfigError::OutOfRange`].
    pub fn config(self) -> Result<TrainingConfig, ConfigError> {
        let id_data = self.id_data.ok_or(ConfigError::Missing("id-data"))?;
        let architecture = self.architecture.ok_or(ConfigError::Missing("architecture"))?;
        let head = self.head.unwrap_or(HeadKind::IsoMaxPlus);
        let path = self.id_path.or(id_data.path.clone());
        let id_data = IdSet { path, ..id_data };
        let recipe = match id_data.published() {
            Some(set) => {
                let recipe = TrainingConfig::published(set, architecture, head);
                let size = self.image_size.unwrap_or(recipe.image_size);
                TrainingConfig { image_size: size, resize: size, ..recipe }
            }
            None => TrainingConfig::of_own_images(id_data, architecture, head, self.image_size),
        };
        let channels = self.mean.zip(self.std).map(|(mean, std)| Normalization { mean, std });
        let normalization = channels.or(self.normalization).or(recipe.normalization);
        let recipe = TrainingConfig { normalization, ..recipe };
        let recipe = match self.init {
            Some(init) => recipe.fine_tuning(init, self.init_sha256)?,
            None => recipe,
        };
        let epochs = self.epochs.unwrap_or(recipe.epochs);
        let selection = match self.select_on_test {
            true => Selection::Test,
            false => self.selection.unwrap_or(recipe.selection),
        };
        // As published: all images are trained on.
        let validation_images = self.validation_images.unwrap_or(match selection {
            Selection::Test => ImageCount::Images(0),
            _ => recipe.validation_images,
        });
        let share_held_out = self.share_held_out.unwrap_or(recipe.share_held_out);
        // As many as choose the epoch, unless the recipe has another number than for that.
        let others = match recipe.calibration_images == recipe.validation_images {
            true => validation_images,
            false => recipe.calibration_images,
        };
        let calibration_images = match share_held_out {
            true => self.calibration_images.unwrap_or_default(),
            false => self.calibration_images.unwrap_or(others),
        };
        let schedule = self.schedule.unwrap_or(recipe.schedule);
        let milestones = match schedule {
            ScheduleKind::MultiStep => published_milestones(epochs),
            _ => Vec::new(),
        };
        let recipe = TrainingConfig { milestones, schedule, ..recipe };
        // Every field stands here: none can be forgotten.
        macro_rules! depart {
            ($($field:ident),* ; $($optional:ident),* $(,)?) => {
                TrainingConfig {
                    id_data: recipe.id_data,
                    id_path: recipe.id_path,
                    architecture: recipe.architecture,
                    head,
                    init: recipe.init,
                    init_sha256: recipe.init_sha256,
                    image_size: recipe.image_size,
                    schedule,
                    epochs,
                    selection,
                    validation_images,
                    calibration_images,
                    share_held_out,
                    normalization: recipe.normalization,
                    $($field: self.$field.unwrap_or(recipe.$field),)*
                    $($optional: self.$optional.or(recipe.$optional)),*
                }
            };
        }
        let config = depart!(
            fpr,
            entropic_scale,
            outlier_weight,
            prototypes,
            resize,
            orientation,
            batch_size,
            optimizer,
            learning_rate,
            frozen_statistics,
            milestones,
            gamma,
            warm_up,
            warm_up_epochs,
            momentum,
            weight_decay,
            augmentation,
            stratified,
            jpeg_decoder,
            gradient_accumulation,
            devices,
            seed,
            ood,
            ood_every;
            logit_norm,
            outliers,
            outlier_batch_size,
            body_learning_rate,
            train_from,
            dropout,
            drop_connect,
            train_images,
            early_stopping,
        );
        config.check()?;
        Ok(config)
    }
}

/// Options in JSON. A configuration that was saved before files had versions says less than it meant:
/// what it leaves out was otherwise then than it is by default now.
fn read_json(text: &str) -> Result<ConfigOptions, serde_json::Error> {
    match serde_json::from_str::<TrainingConfig>(text) {
        Ok(saved) => serde_json::from_value(serde_json::to_value(saved)?),
        Err(_) => serde_json::from_str(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::PublishedSet;
    use clap::Parser;
    use std::error::Error;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        options: ConfigOptions,
    }

    fn parse(flags: &str) -> ConfigOptions {
        Flags::parse_from(std::iter::once("train").chain(flags.split_whitespace())).options
    }

    const EXPERIMENT: &str = "--id-data cifar10 --architecture resnet-20 --head isomax+";

    #[test]
    fn the_published_recipe_is_the_default() -> Result<(), Box<dyn Error>> {
        let config = parse(EXPERIMENT).config()?;
        let expected = TrainingConfig::published(
            PublishedSet::Cifar10,
            Architecture::CifarResNet { depth: 20 },
            HeadKind::IsoMaxPlus,
        );
        assert_eq!(config, expected);
        assert_eq!(config.milestones, [150, 200, 250]);
        assert_eq!(config.experiment_name(), "cifar10_resnet-20_isomax+");
        assert!(!config.warm_up);
        let warm = parse("--id-data cifar100 --architecture resnet-110 --head softmax").config()?;
        assert!(warm.warm_up);
        Ok(())
    }

    #[test]
    fn milestones_follow_the_epochs() -> Result<(), Box<dyn Error>> {
        assert_eq!(parse(&format!("{EXPERIMENT} --epochs 8")).config()?.milestones, [4, 5, 7]);
        let given = parse(&format!("{EXPERIMENT} --epochs 8 --milestones 2,3")).config()?;
        assert_eq!(given.milestones, [2, 3]);
        assert_eq!(published_milestones(1), [1]);
        Ok(())
    }

    #[test]
    fn flags_stand_before_the_file_and_saved_configurations_are_files() -> Result<(), Box<dyn Error>>
    {
        let folder = tempfile::tempdir()?;
        let toml = folder.path().join("experiment.toml");
        fs::write(
            &toml,
            "id_data = \"svhn\"\narchitecture = \"resnet-110\"\nhead = \"dismax\"\nfpr = true\n\
             epochs = 30\nood_data = [\"cifar10\", \"mine=/data/mine\"]\n\
             augmentation = { padding = 2, flip = false }\n",
        )?;
        let config =
            parse("--epochs 6 --select-on-test").or(ConfigOptions::read(&toml)?).config()?;
        assert_eq!((config.epochs, config.fpr, config.selection), (6, true, Selection::Test));
        assert_eq!(config.ood[1].to_string(), "mine=/data/mine");
        assert_eq!(config.augmentation, Augmentation::CropAndFlip { padding: 2, flip: false });
        let json = folder.path().join("config.json");
        crate::results::write(&json, &config)?;
        assert_eq!(ConfigOptions::read(&json)?.config()?, config);
        Ok(())
    }

    #[test]
    fn saved_configurations_mean_what_they_meant() -> Result<(), Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("config.json");
        let shared =
            parse(&format!("{EXPERIMENT} --share-held-out --jpeg-decoder libjpeg")).config()?;
        assert_eq!(
            (shared.share_held_out, shared.calibration_images),
            (true, ImageCount::Images(0))
        );
        crate::results::write(&path, &shared)?;
        assert_eq!(ConfigOptions::read(&path)?.config()?, shared);

        // As a file was before there were versions: without what came with them.
        let mut old = serde_json::to_value(&shared)?;
        let fields = old.as_object_mut().ok_or("no object")?;
        for field in
            ["calibration_images", "share_held_out", "stratified", "normalization", "jpeg_decoder"]
        {
            fields.remove(field).ok_or(field)?;
        }
        fs::write(&path, old.to_string())?;
        let read = ConfigOptions::read(&path)?.config()?;
        assert_eq!(read, crate::results::read::<TrainingConfig>(&path)?);
        assert!(read.share_held_out && !read.stratified);
        assert_eq!(read.jpeg_decoder, JpegDecoder::Libjpeg);
        Ok(())
    }

    #[test]
    fn pretrained_weights_bring_a_recipe_of_their_own() -> Result<(), Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let init = folder.path().join("lite0.pth");
        fs::write(&init, "weights")?;
        let flags = format!(
            "--id-data photos --architecture efficientnet-lite0 --image-size 160 --init {}",
            init.display()
        );
        let config = parse(&flags).config()?;
        assert_eq!((config.head, config.epochs), (HeadKind::IsoMaxPlus, 20));
        assert_eq!((config.image_size, config.resize), (160, 183));
        assert_eq!(config.normalization, Some(Normalization::EFFICIENTNET_LITE));
        assert_eq!(config.prototypes, Prototypes::ClassMeans);
        assert_eq!((config.body_learning_rate, config.frozen_statistics), (Some(0.0), true));
        assert_eq!(config.milestones, [0; 0]);
        // Of the seven bytes.
        let sum = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c";
        assert_eq!(config.init_sha256.as_deref(), Some(sum));
        let path = folder.path().join("config.json");
        crate::results::write(&path, &config)?;
        assert_eq!(ConfigOptions::read(&path)?.config()?, config);
        let tail = parse(&format!("{flags} --train-from blocks.11 --body-learning-rate 1e-4"));
        let tail = tail.config()?;
        assert_eq!(tail.train_from.as_deref(), Some("blocks.11"));
        assert_eq!(tail.body_learning_rate, Some(1e-4));
        let softmax = parse(&format!("{flags} --head softmax")).config()?;
        assert_eq!(softmax.prototypes, Prototypes::Random);
        let missing = parse(&flags.replace("lite0.pth", "absent.pth")).config();
        assert!(missing.is_err_and(|error| error.to_string().contains("absent.pth")));
        Ok(())
    }

    #[test]
    fn sets_of_ones_own_have_a_path() -> Result<(), Box<dyn Error>> {
        let config = parse("--id-data shapes=/data/v2 --architecture resnet-20").config()?;
        assert_eq!(config.experiment_name(), "shapes_resnet-20_isomax+");
        assert_eq!(config.id_path.as_deref(), Some(Path::new("/data/v2")));
        assert_eq!((config.image_size, config.resize), (32, 32));
        assert_eq!(config.augmentation, Augmentation::PUBLISHED);
        assert_eq!(config.validation_images, ImageCount::Share(0.1));
        let photos = parse("--id-data photos --architecture resnet-18-imagenet").config()?;
        assert_eq!((photos.image_size, photos.resize), (224, 256));
        assert_eq!(photos.augmentation, Augmentation::PHOTOS);
        Ok(())
    }

    #[test]
    fn what_makes_no_sense_is_named() -> Result<(), Box<dyn Error>> {
        for (flags, complaint) in [
            ("--id-data cifar10 --head isomax", "architecture is missing"),
            (
                "--id-data photos --architecture resnet-20 --head softmax --prototypes class-means",
                "prototypes must be random for softmax",
            ),
            (
                "--id-data photos --architecture resnet-20 --image-size 9000",
                "image-size must be what can be cut out",
            ),
            (
                "--id-data photos --architecture resnet-20 --resize 16",
                "image-size must be what can be cut out",
            ),
            ("--id-data cifar10 --architecture resnet-20 --head isomax --fpr", "fpr must be off"),
            (
                "--id-data cifar10 --architecture resnet-20 --head isomax --epochs 0",
                "at least 1 unless prototypes begin at the class means, got 0",
            ),
            (
                "--id-data cifar10 --architecture resnet-20 --head isomax --validation-images 0",
                "validation-images must be at least 1 unless",
            ),
            (
                "--id-data cifar10 --architecture resnet-20 --head isomax --ood-data svhn,CIFAR10",
                "ood-data must be other sets than the ID set",
            ),
            (
                "--id-data cifar10 --architecture resnet-20 --head isomax --epochs 8 --milestones 4,9",
                "milestones must be within the epochs",
            ),
            (
                "--id-data cifar10 --architecture resnet-20 --head isomax --learning-rate nan",
                "learning-rate must be a positive number, got NaN",
            ),
        ] {
            let error = parse(flags).config().err().ok_or(flags)?.to_string();
            assert!(error.contains(complaint), "{error}");
        }
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("experiment.toml");
        fs::write(&path, "id_data = \"cifar10\"\nepoch = 3\n")?;
        let error = ConfigOptions::read(&path).err().ok_or("read")?.to_string();
        assert!(error.contains("experiment.toml: expected") && error.contains("epoch"), "{error}");
        Ok(())
    }
}
