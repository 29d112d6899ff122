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
            assert_eq!(images.size, [SIDE; 2]);
            assert_eq!(images.classes.len(), set.num_classes());
            assert!(!images.is_empty());
            assert_eq!(images.bytes.len(), images.len() * BYTES);
            let is_class = |label: &u16| usize::from(*label) < images.classes.len();
            assert!(images.labels.iter().all(is_class));
            let again = folder.id_set(set, split);
            assert!(again.is_ok_and(|again| again == found), "the same bytes, another set");
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
