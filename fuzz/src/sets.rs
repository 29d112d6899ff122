//! Sets of images that were read from the official files.

use isomax_bench::data::{DataError, DataFolder, ImageSet, PublishedSet, Split};

use crate::scratch;

/// Height and width of the images.
const SIDE: usize = 32;
/// Bytes of an image.
pub const BYTES: usize = 3 * SIDE * SIDE;

/// Reads a set out of a folder of [`scratch`], and again if it can be read.
///
/// # Panics
///
/// If the set contradicts itself, is another one the second time, or is said not to be there.
pub fn read(folder: &str, set: PublishedSet, split: Split) -> Option<ImageSet> {
    let folder = DataFolder::new(scratch::path(folder)).without_cache();
    match folder.id_set(set, split) {
        Ok(found) => {
            let images = &found.images;
            assert_eq!(images.size(), [SIDE; 2]);
            assert_eq!(images.classes().len(), set.num_classes());
            assert!(!images.is_empty());
            let is_class = |label: &u16| usize::from(*label) < images.classes().len();
            assert!(images.labels().iter().all(is_class));
            let again = folder.id_set(set, split).expect("the same bytes can be read no more");
            assert_eq!(images.labels(), again.images.labels());
            let bytes = pixels(&found);
            assert_eq!(bytes.len(), images.len() * BYTES);
            assert!(bytes == pixels(&again), "the same bytes, another set");
            Some(found)
        }
        Err(error) => {
            assert!(!matches!(error, DataError::Absent { .. }), "{error}");
            let (message, folder) = (error.to_string(), folder.path().display().to_string());
            assert!(message.starts_with(&folder), "{message} does not name the file");
            None
        }
    }
}

/// The pixels of all images of a set, one after another.
///
/// # Panics
///
/// If an image cannot be read: sets of this size lie in memory.
pub fn pixels(set: &ImageSet) -> Vec<u8> {
    let images = &set.images;
    (0..images.len())
        .flat_map(|index| images.pixels(index).expect("an image in memory").into_owned())
        .collect()
}
