//! The official archives of the data sets, with their addresses and sums.

use std::fmt;
use std::path::{Path, PathBuf};

/// A file that its authors publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Archive {
    /// What it is called in commands: the data set, of which several files may be parts, or the
    /// weights.
    pub name: &'static str,
    /// Name of the file.
    pub file: &'static str,
    /// Where its authors publish it.
    pub url: &'static str,
    /// Its sum.
    pub checksum: Checksum,
    /// Its size, where that is known.
    pub bytes: Option<u64>,
    /// What becomes of it.
    pub unpack: Unpack,
    /// The folder below the data folder that the file, or what is in it, goes to, or nothing for the
    /// data folder itself; for an archive that is unpacked, a folder of its own.
    pub folder: &'static str,
    /// What it holds.
    pub what: &'static str,
    /// On which terms it may be used.
    pub terms: &'static str,
}

/// A sum over the bytes of a file, in hexadecimal digits of lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Checksum {
    /// The MD5 sum, of 32 digits.
    Md5(&'static str),
    /// The SHA-256 sum, of 64 digits.
    Sha256(&'static str),
}

impl Checksum {
    /// The digits alone.
    pub const fn digits(self) -> &'static str {
        match self {
            Self::Md5(digits) | Self::Sha256(digits) => digits,
        }
    }

    #[cfg(test)]
    pub(crate) fn is_well_formed(self) -> bool {
        let length = match self {
            Self::Md5(_) => 32,
            Self::Sha256(_) => 64,
        };
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        self.digits().len() == length && self.digits().bytes().all(digit)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Md5(_) => "MD5",
            Self::Sha256(_) => "SHA-256",
        };
        write!(f, "{kind} sum {}", self.digits())
    }
}

/// What becomes of a file when it has been fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unpack {
    /// It is kept as it is.
    No,
    /// It is a tar.gz that holds a folder of the name of [`Archive::folder`], which is kept.
    Folder,
    /// It is a tar.gz, all of which is kept in [`Archive::folder`].
    All,
}

impl Archive {
    /// The file, or the folder with what was in it, once fetched.
    pub fn path(&self, data_dir: &Path) -> PathBuf {
        let folder = data_dir.join(self.folder);
        if self.unpack == Unpack::No { folder.join(self.file) } else { folder }
    }

    /// Where the file itself is downloaded to: what is to be unpacked goes beside its folder, which
    /// must not be there before it is complete.
    pub fn download_path(&self, data_dir: &Path) -> PathBuf {
        if self.unpack == Unpack::No { self.path(data_dir) } else { data_dir.join(self.file) }
    }
}

const CIFAR_TERMS: &str = "no licence given; the authors ask to cite A. Krizhevsky, Learning \
                           Multiple Layers of Features from Tiny Images, 2009";
const SVHN_TERMS: &str = "non-commercial use only; cite Y. Netzer et al., Reading Digits in \
                          Natural Images with Unsupervised Feature Learning, 2011";
const ODIN_TERMS: &str = "no licence given with the file; the images keep the terms of the set they \
                          were taken from; cite S. Liang et al., Enhancing the Reliability of \
                          Out-of-distribution Image Detection in Neural Networks, 2018";

/// All that can be fetched.
pub const ARCHIVES: &[Archive] = &[
    // Address and sum: https://www.cs.toronto.edu/~kriz/cifar.html, "binary version".
    Archive {
        name: "cifar10",
        file: "cifar-10-binary.tar.gz",
        url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        checksum: Checksum::Md5("c32a1d4ab5d03f1284b67883e8d87530"),
        bytes: Some(170_052_171),
        unpack: Unpack::Folder,
        folder: "cifar-10-batches-bin",
        what: "CIFAR-10: 50,000 training and 10,000 test images of 10 classes, 32 × 32 pixels",
        terms: CIFAR_TERMS,
    },
    // As CIFAR-10.
    Archive {
        name: "cifar100",
        file: "cifar-100-binary.tar.gz",
        url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        checksum: Checksum::Md5("03b5dce01913d631647c71ecec9e9cb8"),
        bytes: Some(168_513_733),
        unpack: Unpack::Folder,
        folder: "cifar-100-binary",
        what: "CIFAR-100: 50,000 training and 10,000 test images of 100 classes, 32 × 32 pixels",
        terms: CIFAR_TERMS,
    },
    // The page of SVHN gives no sums; these are the ones that torchvision compares.
    Archive {
        name: "svhn",
        file: "train_32x32.mat",
        url: "http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
        checksum: Checksum::Md5("e26dedcc434d2e4c54c9b2d4a06d8373"),
        bytes: Some(182_040_794),
        unpack: Unpack::No,
        folder: "svhn",
        what: "SVHN, training part: 73,257 images of house numbers, 32 × 32 pixels",
        terms: SVHN_TERMS,
    },
    // As the training part.
    Archive {
        name: "svhn",
        file: "test_32x32.mat",
        url: "http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
        checksum: Checksum::Md5("eb5a983be6a315427106f1b164d9cef3"),
        bytes: Some(64_275_384),
        unpack: Unpack::No,
        folder: "svhn",
        what: "SVHN, test part: 26,032 images of house numbers, 32 × 32 pixels",
        terms: SVHN_TERMS,
    },
    // Address: the read-me of https://github.com/facebookresearch/odin, which gives no sums; these
    // are the ones that pytorch-ood compares.
    Archive {
        name: "tiny-imagenet-resize",
        file: "Imagenet_resize.tar.gz",
        url: "https://www.dropbox.com/s/kp3my3412u5k9rl/Imagenet_resize.tar.gz?dl=1",
        checksum: Checksum::Md5("0f9ff11d45babf2eff5fe12281d1ac31"),
        bytes: None,
        unpack: Unpack::All,
        folder: "tiny-imagenet-resize",
        what: "Tiny ImageNet (resize) of ODIN: 10,000 images of 200 classes, 32 × 32 pixels",
        terms: ODIN_TERMS,
    },
    // As Tiny ImageNet.
    Archive {
        name: "lsun-resize",
        file: "LSUN_resize.tar.gz",
        url: "https://www.dropbox.com/s/moqh2wh8696c3yl/LSUN_resize.tar.gz?dl=1",
        checksum: Checksum::Md5("278b7b31c8cb7e804a1465a8ce03a2dc"),
        bytes: None,
        unpack: Unpack::All,
        folder: "lsun-resize",
        what: "LSUN (resize) of ODIN: 10,000 images of 10 scenes, 32 × 32 pixels",
        terms: ODIN_TERMS,
    },
];

/// The files of a data set; none if there is no such set.
pub fn archives_named(name: &str) -> Vec<&'static Archive> {
    ARCHIVES.iter().filter(|archive| archive.name == name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn archives_have_sums_and_places_of_their_own() {
        let (mut sums, mut paths) = (HashSet::new(), HashSet::new());
        for archive in ARCHIVES {
            assert!(archive.checksum.is_well_formed(), "{}", archive.file);
            assert!(archive.url.contains(archive.file), "{}", archive.file);
            assert!(!archive.folder.is_empty() || archive.unpack == Unpack::No, "{}", archive.file);
            assert!(sums.insert(archive.checksum), "{}", archive.file);
            assert!(paths.insert(archive.path(Path::new("data"))), "{}", archive.file);
        }
    }

    #[test]
    fn a_set_may_have_several_files() {
        let files: Vec<_> = archives_named("svhn").iter().map(|archive| archive.file).collect();
        assert_eq!(files, ["train_32x32.mat", "test_32x32.mat"]);
        assert!(archives_named("imagenet").is_empty());
    }
}
