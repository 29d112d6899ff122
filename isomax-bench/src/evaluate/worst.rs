//! Pictures of the images that are told apart worst.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{ImageFormat, Rgb, RgbImage};

use super::EvaluateError;
use crate::data::{ImageSource, UnreadableImage};
use crate::results::{self, ResultError};

/// Which end of the scores is the wrong one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worst {
    /// ID images that look OOD.
    Lowest,
    /// OOD images that look ID.
    Highest,
}

const COLUMNS: u32 = 8;
const ROWS: u32 = 2;
/// Small images are shown this many times larger.
const SCALE: u32 = 2;
/// Pixels of the longest side in a sheet.
const LARGEST: u32 = 112;
const GAP: u32 = 2;

/// Writes a sheet of the worst images of a set, from the worst on, row after row.
pub(super) fn write(
    folder: &Path,
    set: &str,
    images: &dyn ImageSource,
    scores: &[f64],
    worst: Worst,
) -> Result<(), EvaluateError> {
    let path = folder.join(format!("{set}.png"));
    fs::create_dir_all(folder)
        .map_err(|source| ResultError::Io { path: folder.to_owned(), source })?;
    let mut bytes = Cursor::new(Vec::new());
    sheet(images, &ranked(scores, worst))?
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|source| EvaluateError::Picture { path: path.clone(), source: source.into() })?;
    Ok(results::write_bytes(path, bytes.get_ref())?)
}

fn ranked(scores: &[f64], worst: Worst) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| match worst {
        Worst::Lowest => scores[a].total_cmp(&scores[b]),
        Worst::Highest => scores[b].total_cmp(&scores[a]),
    });
    order.truncate((COLUMNS * ROWS) as usize);
    order
}

fn sheet(images: &dyn ImageSource, indices: &[usize]) -> Result<RgbImage, UnreadableImage> {
    let size = images.size().map(|side| side as u32);
    let [tile_height, tile_width] = size.map(|side| shown_side(side, size));
    let rows = (indices.len() as u32).div_ceil(COLUMNS).max(1);
    let (across, down) = (COLUMNS * (tile_width + GAP) + GAP, rows * (tile_height + GAP) + GAP);
    let mut sheet = RgbImage::from_pixel(across, down, Rgb([255; 3]));
    for (place, &index) in indices.iter().enumerate() {
        let [height, width] = size;
        let pixels = images.pixels(index)?.into_owned();
        let Some(picture) = RgbImage::from_raw(width, height, pixels) else { continue };
        let is_larger = tile_width > width;
        let filter = if is_larger { FilterType::Nearest } else { FilterType::Triangle };
        let tile = imageops::resize(&picture, tile_width, tile_height, filter);
        let (column, row) = (place as u32 % COLUMNS, place as u32 / COLUMNS);
        let x = GAP + column * (tile_width + GAP);
        let y = GAP + row * (tile_height + GAP);
        imageops::replace(&mut sheet, &tile, x.into(), y.into());
    }
    Ok(sheet)
}

/// How many pixels a side has in a sheet: twice as many for small images, fewer for photos.
fn shown_side(side: u32, size: [u32; 2]) -> u32 {
    let longest = size[0].max(size[1]).max(1);
    match longest * SCALE <= LARGEST {
        true => side * SCALE,
        false => (side * LARGEST.min(longest) / longest).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Images;

    #[test]
    fn the_worst_come_first() {
        let scores = [0.5, -1.0, 3.0, 2.0];
        assert_eq!(ranked(&scores, Worst::Lowest), [1, 0, 3, 2]);
        assert_eq!(ranked(&scores, Worst::Highest), [2, 3, 0, 1]);
        assert_eq!(ranked(&[0.0; 40], Worst::Lowest).len(), 16);
    }

    #[test]
    fn photos_are_shown_smaller() {
        assert_eq!(shown_side(32, [32, 32]), 64);
        assert_eq!(shown_side(56, [56, 56]), 112);
        assert_eq!(shown_side(64, [64, 64]), 64);
        assert_eq!([224, 112].map(|side| shown_side(side, [224, 112])), [112, 56]);
    }

    #[test]
    fn a_sheet_shows_images_in_their_places() {
        let images = Images {
            size: [2, 3],
            bytes: (0..20).flat_map(|i| vec![i * 10; 18]).collect(),
            labels: vec![0; 20],
            classes: vec!["grey".to_owned()],
        };
        let order: Vec<usize> = (1..11).collect();
        let sheet = sheet(&images, &order).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(sheet.dimensions(), (8 * 8 + 2, 2 * 6 + 2));
        assert_eq!(sheet.get_pixel(2, 2).0, [10; 3]);
        assert_eq!(sheet.get_pixel(10, 2).0, [20; 3]);
        assert_eq!(sheet.get_pixel(2, 8).0, [90; 3]);
        assert_eq!(sheet.get_pixel(0, 0).0, [255; 3]);
    }
}
