//! Pictures of the images that are told apart worst.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{ImageFormat, Rgb, RgbImage};

use super::EvaluateError;
use crate::data::Images;
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
const GAP: u32 = 2;

/// Writes a sheet of the worst images of a set, from the worst on, row after row.
pub(super) fn write(
    folder: &Path,
    set: &str,
    images: &Images,
    scores: &[f64],
    worst: Worst,
) -> Result<(), EvaluateError> {
    let path = folder.join(format!("{set}.png"));
    fs::create_dir_all(folder)
        .map_err(|source| ResultError::Io { path: folder.to_owned(), source })?;
    let mut bytes = Cursor::new(Vec::new());
    sheet(images, &ranked(scores, worst))
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

fn sheet(images: &Images, indices: &[usize]) -> RgbImage {
    let [height, width] = images.size.map(|side| side as u32 * SCALE);
    let rows = (indices.len() as u32).div_ceil(COLUMNS).max(1);
    let (across, down) = (COLUMNS * (width + GAP) + GAP, rows * (height + GAP) + GAP);
    let mut sheet = RgbImage::from_pixel(across, down, Rgb([255; 3]));
    for (place, &index) in indices.iter().enumerate() {
        let [height, width] = images.size.map(|side| side as u32);
        let Some(picture) = RgbImage::from_raw(width, height, images.image(index).to_vec()) else {
            continue;
        };
        let large = imageops::resize(&picture, width * SCALE, height * SCALE, FilterType::Nearest);
        let (column, row) = (place as u32 % COLUMNS, place as u32 / COLUMNS);
        let x = GAP + column * (width * SCALE + GAP);
        let y = GAP + row * (height * SCALE + GAP);
        imageops::replace(&mut sheet, &large, x.into(), y.into());
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_come_first() {
        let scores = [0.5, -1.0, 3.0, 2.0];
        assert_eq!(ranked(&scores, Worst::Lowest), [1, 0, 3, 2]);
        assert_eq!(ranked(&scores, Worst::Highest), [2, 3, 0, 1]);
        assert_eq!(ranked(&[0.0; 40], Worst::Lowest).len(), 16);
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
        let sheet = sheet(&images, &order);
        assert_eq!(sheet.dimensions(), (8 * 8 + 2, 2 * 6 + 2));
        assert_eq!(sheet.get_pixel(2, 2).0, [10; 3]);
        assert_eq!(sheet.get_pixel(10, 2).0, [20; 3]);
        assert_eq!(sheet.get_pixel(2, 8).0, [90; 3]);
        assert_eq!(sheet.get_pixel(0, 0).0, [255; 3]);
    }
}
