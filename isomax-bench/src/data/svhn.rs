//! SVHN, *Street View House Numbers*, in its cropped MAT files.
//!
//! Source: Y. Netzer et al., *Reading Digits in Natural Images with Unsupervised Feature Learning*,
//! 2011, <http://ufldl.stanford.edu/housenumbers/>.

use std::path::{Path, PathBuf};

use super::Images;
use super::mat::{self, MatArray, MatError, Values};

/// Why a file of SVHN cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SvhnError {
    /// The file is no whole MAT file.
    #[error(transparent)]
    Mat(#[from] MatError),
    /// An array is missing.
    #[error("{}: expected an array {name} of numbers, but found only {found:?}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The array.
        name: &'static str,
        /// The arrays of numbers that are left.
        found: Vec<String>,
    },
    /// The images have another shape; of a single one, MATLAB drops the last dimension.
    #[error("{}: expected an array X of 32 × 32 × 3 × N, but found {found:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The dimensions of the array of images.
        found: Vec<usize>,
    },
    /// A pixel is no byte, whatever type the numbers are of.
    #[error(
        "{}: expected whole numbers from 0 to 255 in X, but value {index} is {found}; save X as \
         unsigned bytes, such as uint8(255 * X) where it lies between 0 and 1",
        path.display()
    )]
    Pixel {
        /// The file.
        path: PathBuf,
        /// The first such value in the order of the file, from 0.
        index: usize,
        /// The value.
        found: f64,
    },
    /// As many labels as images are needed.
    #[error(
        "{}: expected {expected} labels, one for each image, but found {found}",
        path.display()
    )]
    Count {
        /// The file.
        path: PathBuf,
        /// Number of images.
        expected: usize,
        /// Number of labels.
        found: usize,
    },
    /// A label is no digit.
    #[error("{}: expected 1 to 10 as label of image {index}, but found {found}", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// The image, from 0.
        index: usize,
        /// Its label.
        found: f64,
    },
}

/// Height and width of an image.
const SIDE: usize = 32;
const CHANNELS: usize = 3;
/// Bytes of an image.
const BYTES: usize = SIDE * SIDE * CHANNELS;
/// Values that the arrays of a file may have. The training part has 225 million; that of
/// `extra_32x32.mat`, 1.63 billion, no network here is trained on.
const LIMIT: u64 = 256 << 20;

/// Reads images and labels of a file such as `train_32x32.mat`.
///
/// # Errors
///
/// [`SvhnError`] if the file is no whole MAT file with the arrays `X`, 32 × 32 × 3 × N whole numbers
/// from 0 to 255, and `y`, N labels from 1 to 10, in any type of numbers.
pub(super) fn read(path: &Path) -> Result<Images, SvhnError> {
    let mut arrays = mat::read(path, LIMIT)?;
    let mut take = |name: &'static str| -> Result<MatArray, SvhnError> {
        match arrays.iter().position(|array| array.name == name) {
            Some(at) => Ok(arrays.swap_remove(at)),
            None => {
                let found = arrays.iter().map(|array| array.name.clone()).collect();
                Err(SvhnError::Missing { path: path.to_owned(), name, found })
            }
        }
    };
    let (images, digits) = (take("X")?, take("y")?);
    let expected = match images.dims[..] {
        [SIDE, SIDE, CHANNELS, count] if count > 0 => count,
        [SIDE, SIDE, CHANNELS] => 1,
        _ => return Err(SvhnError::Shape { path: path.to_owned(), found: images.dims }),
    };
    let mut bytes = match images.values {
        Values::Bytes(bytes) => bytes,
        Values::Other { index, value: found } => {
            return Err(SvhnError::Pixel { path: path.to_owned(), index, found });
        }
    };
    if digits.len() != expected {
        return Err(SvhnError::Count { path: path.to_owned(), expected, found: digits.len() });
    }
    let no_digit = |index, found| SvhnError::Label { path: path.to_owned(), index, found };
    let label = |(index, digit): (usize, u8)| match digit {
        0..10 => Ok(u16::from(digit)),
        // As MATLAB counts from 1, 10 stands for the digit 0; some copies have 0 itself.
        10 => Ok(0),
        _ => Err(no_digit(index, digit.into())),
    };
    let labels: Vec<u16> = match digits.values {
        Values::Bytes(digits) => {
            digits.into_iter().enumerate().map(label).collect::<Result<_, _>>()?
        }
        Values::Other { index, value } => return Err(no_digit(index, value)),
    };
    bytes.chunks_exact_mut(BYTES).for_each(interleave);
    let classes = (0..10).map(|digit| digit.to_string()).collect();
    Ok(Images { size: [SIDE, SIDE], bytes, labels, classes })
}

/// From the order of MATLAB, channel by channel and each column by column, to rows of pixels.
fn interleave(image: &mut [u8]) {
    let mut pixels = [0; BYTES];
    for (at, byte) in image.iter().enumerate() {
        let (row, column, channel) = (at % SIDE, at / SIDE % SIDE, at / (SIDE * SIDE));
        pixels[(row * SIDE + column) * CHANNELS + channel] = *byte;
    }
    image.copy_from_slice(&pixels);
}

#[cfg(test)]
mod tests {
    use super::mat::{Order, writer};
    use super::*;
    use proptest::prelude::*;
    use std::error::Error;
    use std::fs;

    type Tested = Result<(), Box<dyn Error>>;

    /// The byte of an image at a row, column and channel; the same along a diagonal, so that files
    /// are small.
    fn byte(image: usize, row: usize, column: usize, channel: usize) -> u8 {
        (100 * channel + 2 * row + column + 7 * image) as u8
    }

    fn images(order: Order, count: usize) -> Vec<u8> {
        let bytes = (0..count * BYTES).map(|at| {
            let (image, channel) = (at / BYTES, at / (SIDE * SIDE) % CHANNELS);
            byte(image, at % SIDE, at / SIDE % SIDE, channel)
        });
        let bytes: Vec<u8> = bytes.collect();
        writer::array(order, 9, "X", &[32, 32, 3, count as u32], 2, &bytes)
    }

    fn labels(order: Order, labels: &[u8]) -> Vec<u8> {
        writer::array(order, 9, "y", &[labels.len() as u32, 1], 2, labels)
    }

    fn read_bytes(bytes: &[u8]) -> Result<Images, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("test_32x32.mat");
        fs::write(&path, bytes)?;
        Ok(read(&path)?)
    }

    fn refused(arrays: &[Vec<u8>]) -> String {
        let read = read_bytes(&writer::file(Order::Little, true, arrays));
        read.map_or_else(|error| error.to_string(), |_| "read".to_owned())
    }

    #[test]
    fn rows_of_pixels() -> Tested {
        for order in [Order::Little, Order::Big] {
            for compressed in [false, true] {
                let arrays = [labels(order, &[1, 10, 0, 9]), images(order, 4)];
                let read = read_bytes(&writer::file(order, compressed, &arrays))?;
                assert_eq!((read.size, read.labels.len()), ([32, 32], 4));
                assert_eq!(read.labels, [1, 0, 0, 9]);
                assert_eq!(read.classes, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
                assert_eq!(read.bytes.len(), 4 * BYTES);
                for (at, found) in read.bytes.iter().enumerate() {
                    let (image, row) = (at / BYTES, at / (SIDE * CHANNELS) % SIDE);
                    let (column, channel) = (at / CHANNELS % SIDE, at % CHANNELS);
                    assert_eq!(*found, byte(image, row, column, channel), "{at}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn labels_of_any_type() -> Tested {
        let order = Order::Big;
        let doubles: Vec<u8> =
            [3.0, 10.0_f64].iter().flat_map(|label| label.to_be_bytes()).collect();
        let singles: Vec<u8> =
            [3.0, 10.0_f32].iter().flat_map(|label| label.to_be_bytes()).collect();
        let shorts: Vec<u8> = [3, 10_i16].iter().flat_map(|label| label.to_be_bytes()).collect();
        let longs: Vec<u8> = [3, 10_u64].iter().flat_map(|label| label.to_be_bytes()).collect();
        for (class, storage, data) in
            [(6, 9, doubles), (7, 7, singles), (10, 3, shorts), (15, 13, longs)]
        {
            let labels = writer::array(order, class, "y", &[1, 2], storage, &data);
            let read = read_bytes(&writer::file(order, true, &[images(order, 2), labels]))?;
            assert_eq!(read.labels, [3, 0]);
        }
        Ok(())
    }

    #[test]
    fn pixels_of_any_type() -> Tested {
        for order in [Order::Little, Order::Big] {
            let y = labels(order, &[4, 10]);
            let expected = read_bytes(&writer::file(order, true, &[images(order, 2), y.clone()]))?;
            // Class, type of storage, and how a byte is written, lowest byte first.
            type Encode = fn(u8) -> Vec<u8>;
            let types: [(u32, u32, Encode); 5] = [
                (6, 9, |byte| f64::from(byte).to_le_bytes().to_vec()),
                (7, 7, |byte| f32::from(byte).to_le_bytes().to_vec()),
                (10, 3, |byte| i16::from(byte).to_le_bytes().to_vec()),
                (13, 6, |byte| u32::from(byte).to_le_bytes().to_vec()),
                // What MATLAB makes of doubles that are whole numbers.
                (6, 2, |byte| vec![byte]),
            ];
            for (class, storage, write) in types {
                let bytes = (0..2 * BYTES).flat_map(|at| {
                    let (image, channel) = (at / BYTES, at / (SIDE * SIDE) % CHANNELS);
                    let mut value = write(byte(image, at % SIDE, at / SIDE % SIDE, channel));
                    if order == Order::Big {
                        value.reverse();
                    }
                    value
                });
                let bytes: Vec<u8> = bytes.collect();
                let x = writer::array(order, class, "X", &[32, 32, 3, 2], storage, &bytes);
                for compressed in [false, true] {
                    let file = writer::file(order, compressed, &[x.clone(), y.clone()]);
                    assert_eq!(read_bytes(&file)?, expected, "{class} {storage}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_single_image_has_three_dimensions() -> Tested {
        let order = Order::Little;
        let four = [images(order, 1), labels(order, &[7])];
        let four = read_bytes(&writer::file(order, true, &four))?;
        let bytes: Vec<u8> =
            (0..BYTES).map(|at| byte(0, at % SIDE, at / SIDE % SIDE, at / (SIDE * SIDE))).collect();
        let x = writer::array(order, 9, "X", &[32, 32, 3], 2, &bytes);
        let y = writer::array(order, 6, "y", &[1, 1], 9, &7_f64.to_le_bytes());
        let three = read_bytes(&writer::file(order, true, &[x, y]))?;
        assert_eq!((three.labels.as_slice(), &three), (&[7][..], &four));
        Ok(())
    }

    #[test]
    fn what_is_not_svhn_is_named() {
        let order = Order::Little;
        let (x, y) = (images(order, 2), labels(order, &[1, 2]));
        let shaped = |dims: &[u32]| {
            let count = dims.iter().product::<u32>() as usize;
            writer::array(order, 9, "X", dims, 2, &vec![0; count])
        };
        let pixels = |value: f32| {
            let values: Vec<u8> = [0.0, 1.0, value].iter().flat_map(|x| x.to_le_bytes()).collect();
            writer::array(order, 7, "X", &[32, 32, 3, 2], 7, &values.repeat(2 * BYTES / 3))
        };
        let half = writer::array(order, 6, "y", &[2, 1], 9, &[0.5_f64.to_le_bytes(); 2].concat());
        let nan = writer::array(order, 6, "y", &[2, 1], 9, &[f64::NAN.to_le_bytes(); 2].concat());
        let cases = [
            (vec![x.clone()], "expected an array y of numbers, but found only []"),
            (vec![y.clone()], "expected an array X of numbers, but found only [\"y\"]"),
            (vec![shaped(&[28, 28, 3, 2]), y.clone()], "N, but found [28, 28, 3, 2]"),
            (vec![shaped(&[32, 32]), y.clone()], "N, but found [32, 32]"),
            (vec![shaped(&[32, 32, 3]), y.clone()], "expected 1 labels, one for each image"),
            (vec![shaped(&[32, 32, 1, 2]), y.clone()], "N, but found [32, 32, 1, 2]"),
            (vec![shaped(&[32, 32, 3, 0]), y.clone()], "N, but found [32, 32, 3, 0]"),
            (vec![shaped(&[32, 32, 3, 1, 2]), y.clone()], "N, but found [32, 32, 3, 1, 2]"),
            (vec![pixels(0.5), y.clone()], "from 0 to 255 in X, but value 2 is 0.5; save X as"),
            (vec![pixels(256.0), y.clone()], "but value 2 is 256"),
            (vec![pixels(-1.0), y.clone()], "but value 2 is -1"),
            (vec![pixels(f32::NAN), y], "but value 2 is NaN"),
            (
                vec![x.clone(), labels(order, &[1])],
                "expected 2 labels, one for each image, but found 1",
            ),
            (vec![x.clone(), labels(order, &[1, 11])], "label of image 1, but found 11"),
            (vec![x.clone(), half], "label of image 0, but found 0.5"),
            (vec![x, nan], "label of image 0, but found NaN"),
        ];
        for (arrays, expected) in cases {
            let error = refused(&arrays);
            assert!(error.contains("test_32x32.mat: ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn parts_of_files_are_refused() {
        for compressed in [false, true] {
            let arrays = [images(Order::Little, 2), labels(Order::Little, &[1, 2])];
            let whole = writer::file(Order::Little, compressed, &arrays);
            assert!(read_bytes(&whole).is_ok());
            for twentieth in 0..20 {
                assert!(read_bytes(&whole[..whole.len() * twentieth / 20]).is_err(), "{twentieth}");
            }
        }
    }

    #[test]
    #[ignore = "not run: needs ISOMAX_REFERENCE, see CONTRIBUTING.md"]
    fn real_digits() -> Tested {
        let folder = std::env::var_os("ISOMAX_REFERENCE").ok_or("ISOMAX_REFERENCE is not set")?;
        let folder = Path::new(&folder).join("data/svhn-mini");
        // File, images of each digit, first labels, and pixels: row 0, column 0 and row 5, column
        // 17 of the first image, row 31, column 3 of the last one.
        let cases = [
            (
                "train_32x32.mat",
                [32_usize, 112, 79, 72, 55, 53, 34, 36, 43, 38],
                [1, 2, 1, 1, 3, 6, 2, 2],
                [[156, 144, 133], [150, 139, 148], [126, 119, 146]],
            ),
            (
                "test_32x32.mat",
                [26, 94, 85, 52, 48, 31, 50, 36, 27, 37],
                [2, 2, 4, 1, 2, 8, 5, 7],
                [[87, 93, 139], [65, 91, 136], [170, 171, 189]],
            ),
        ];
        for (file, counts, first, pixels) in cases {
            let images = read(&folder.join(file))?;
            assert_eq!(images.labels.len(), counts.iter().sum::<usize>());
            for (digit, count) in counts.iter().enumerate() {
                let found = images.labels.iter().filter(|label| usize::from(**label) == digit);
                assert_eq!(found.count(), *count, "{file}: {digit}");
            }
            assert_eq!(images.labels[..8], first);
            let places = [(0, 0, 0), (0, 5, 17), (images.labels.len() - 1, 31, 3)];
            for ((image, row, column), expected) in places.into_iter().zip(pixels) {
                let at = image * BYTES + (row * SIDE + column) * CHANNELS;
                assert_eq!(images.bytes[at..at + CHANNELS], expected, "{file}");
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 64,
            failure_persistence: None,
            ..Default::default()
        })]

        #[test]
        fn flipped_bits_of_compressed_files_are_found(
            at in any::<prop::sample::Index>(),
            bit in 0_u32..8,
        ) {
            let arrays = [images(Order::Little, 2), labels(Order::Little, &[1, 2])];
            let mut bytes = writer::file(Order::Little, true, &arrays);
            let whole = read_bytes(&bytes).map_err(|error| error.to_string());
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(images) = read_bytes(&bytes) {
                prop_assert_eq!(Ok(images), whole);
            }
        }

        #[test]
        fn damage_never_panics(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let arrays = [labels(Order::Little, &[1, 2]), images(Order::Little, 2)];
            let mut bytes = writer::file(Order::Little, false, &arrays);
            // Nearly all else are pixels, any of which is as good as another.
            let head = 300;
            for (index, byte) in changes {
                bytes[124 + index.index(head - 124)] = byte;
            }
            if let Ok(images) = read_bytes(&bytes) {
                prop_assert_eq!(images.bytes.len(), images.labels.len() * BYTES);
                prop_assert!(images.labels.iter().all(|label| *label < 10));
            }
        }
    }
}
