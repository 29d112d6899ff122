//! Plots as PNG files.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Once;

use isomax_burn::atomic_file;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;

use crate::histogram::{finite_range, shares};

/// Why a plot cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// There is nothing to draw, or a score is not finite.
    #[error("panel '{panel}' of the plot has no finite scores to draw")]
    NoScores {
        /// The panel.
        panel: String,
    },
    /// The picture cannot be drawn.
    #[error("the plot cannot be drawn: {0}")]
    Drawing(String),
    /// The file cannot be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// One histogram panel: the scores of one detector for several sets.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Stands above the panel.
    pub title: String,
    /// The sets by name; by custom the in-distribution one comes first.
    pub sets: Vec<(String, Vec<f32>)>,
}

const PANEL: (u32, u32) = (760, 300);
const LEGEND_WIDTH: u32 = 140;
/// Colours that colour-blind readers tell apart (Okabe and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
];
const FONT: &str = "sans-serif";

/// Draws score histograms, one panel below the other, each set scaled to the share of its samples
/// in each of 50 bins. The file appears whole or not at all.
///
/// # Errors
///
/// [`PlotError`].
pub fn score_histograms(path: impl AsRef<Path>, panels: &[Panel]) -> Result<(), PlotError> {
    let path = path.as_ref();
    register_fonts();
    let size = (PANEL.0, PANEL.1 * panels.len() as u32);
    let mut pixels = vec![0; (size.0 * size.1 * 3) as usize];
    {
        let root = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
        root.fill(&WHITE).map_err(drawing)?;
        for (area, panel) in root.split_evenly((panels.len(), 1)).iter().zip(panels) {
            draw_panel(area, panel)?;
        }
        root.present().map_err(drawing)?;
    }
    write_png(path, size, &pixels)
}

fn draw_panel(
    area: &DrawingArea<BitMapBackend<'_>, Shift>,
    panel: &Panel,
) -> Result<(), PlotError> {
    let range = score_range(panel)?;
    let (area, legend) = area.split_horizontally(PANEL.0 - LEGEND_WIDTH);
    let histograms: Vec<_> = panel.sets.iter().map(|(_, s)| shares(s, range)).collect();
    let highest = histograms.iter().flatten().map(|&[_, _, share]| share).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(&area)
        .caption(&panel.title, (FONT, 20))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(range.0..range.1, 0.0..highest * 1.1)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_desc("score (high = in-distribution)")
        .y_desc("share of samples")
        .label_style((FONT, 13))
        .draw()
        .map_err(drawing)?;
    for (index, bars) in histograms.into_iter().enumerate() {
        let bars = bars.into_iter().filter(|&[_, _, share]| share > 0.0);
        let bar = |[left, right, share]: [f64; 3]| {
            Rectangle::new([(left, 0.0), (right, share)], colour(index).mix(0.45).filled())
        };
        chart.draw_series(bars.map(bar)).map_err(drawing)?;
    }
    draw_legend(&legend, panel)
}

/// Beside the bars, which may stand anywhere in the panel.
fn draw_legend(
    area: &DrawingArea<BitMapBackend<'_>, Shift>,
    panel: &Panel,
) -> Result<(), PlotError> {
    for (index, (name, _)) in panel.sets.iter().enumerate() {
        let y = 50 + 22 * index as i32;
        let key = Rectangle::new([(0, y), (14, y + 12)], colour(index).filled());
        area.draw(&key).map_err(drawing)?;
        area.draw(&Text::new(name.as_str(), (20, y), (FONT, 14))).map_err(drawing)?;
    }
    Ok(())
}

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

fn score_range(panel: &Panel) -> Result<(f64, f64), PlotError> {
    let scores = || panel.sets.iter().flat_map(|(_, scores)| scores);
    let all_there = panel.sets.iter().all(|(_, scores)| !scores.is_empty());
    let range = finite_range(scores()).filter(|_| all_there && scores().all(|s| s.is_finite()));
    range.ok_or_else(|| PlotError::NoScores { panel: panel.title.clone() })
}

fn write_png(path: &Path, (width, height): (u32, u32), pixels: &[u8]) -> Result<(), PlotError> {
    let write = |file: &mut File| {
        let mut encoder = png::Encoder::new(BufWriter::new(file), width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(pixels)?;
        Ok(writer.finish()?)
    };
    atomic_file::write(path, write)
        .map_err(|source| PlotError::Io { path: path.to_owned(), source })
}

/// Fonts come with the program, so that plots need nothing from the system.
fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let font = epaint_default_fonts::UBUNTU_LIGHT;
        // It fails only for bytes that are no font.
        let _ = register_font(FONT, FontStyle::Normal, font);
    });
}

fn drawing(error: impl std::error::Error) -> PlotError {
    PlotError::Drawing(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;

    fn panel(scores: &[f32]) -> Panel {
        Panel { title: "test".into(), sets: vec![("ID".into(), scores.to_vec())] }
    }

    #[test]
    fn a_plot_is_a_picture_with_ink_and_text() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("plot.png");
        score_histograms(&path, &[panel(&[1.0, 2.0, 2.5]), panel(&[7.0])])?;
        let file = std::io::BufReader::new(std::fs::File::open(&path)?);
        let mut reader = png::Decoder::new(file).read_info()?;
        let mut pixels = vec![0; reader.output_buffer_size().ok_or("size")?];
        let info = reader.next_frame(&mut pixels)?;
        assert_eq!((info.width, info.height), (760, 600));
        let ink = |x: Range<usize>, y: Range<usize>| {
            let rows = y.flat_map(|y| x.clone().map(move |x| (y * 760 + x) * 3));
            rows.filter(|&at| pixels[at..at + 3] != [255, 255, 255]).count()
        };
        assert!(ink(0..620, 0..40) > 50, "no title");
        assert!(ink(80..600, 60..240) > 1000, "no bars");
        assert!(ink(620..760, 40..80) > 50, "no legend");
        Ok(())
    }

    #[test]
    fn what_cannot_be_drawn_leaves_no_file() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("plot.png");
        for scores in [&[][..], &[f32::NAN], &[1.0, f32::INFINITY]] {
            let error = score_histograms(&path, &[panel(scores)]).err().ok_or("drawn")?;
            assert!(matches!(error, PlotError::NoScores { .. }));
        }
        let nowhere = folder.path().join("missing").join("plot.png");
        let error = score_histograms(nowhere, &[panel(&[1.0])]).err().ok_or("drawn")?;
        assert!(matches!(error, PlotError::Io { .. }));
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
        Ok(())
    }
}
