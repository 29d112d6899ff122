//! Histograms of detection scores as SVG files, which browsers show.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use isomax_burn::atomic_file;

use crate::chart::{self, Axis, Chart, Style, escape};
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

const HEADING: f64 = 34.0;
const MARGIN: f64 = 12.0;

/// Draws score histograms as an SVG file, two panels side by side, each set scaled to the share of its
/// samples in each of 50 bins. The file appears whole or not at all.
///
/// ```
/// use isomax_charts::{Panel, score_histograms};
///
/// let sets = vec![("ID".to_owned(), vec![0.9, 0.8, 0.7]), ("OOD".to_owned(), vec![0.1, 0.3])];
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// score_histograms(folder.join("scores.svg"), &[Panel { title: "MPS".to_owned(), sets }])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`PlotError`].
pub fn score_histograms(path: impl AsRef<Path>, panels: &[Panel]) -> Result<(), PlotError> {
    let path = path.as_ref();
    let charts: Vec<Chart> = panels.iter().map(chart).collect::<Result<_, _>>()?;
    let titles = panels.iter().map(|panel| panel.title.as_str());
    let svg = page(&titles.zip(&charts).collect::<Vec<_>>());
    atomic_file::write(path, |file| file.write_all(svg.as_bytes()))
        .map_err(|source| PlotError::Io { path: path.to_owned(), source })
}

fn chart(panel: &Panel) -> Result<Chart, PlotError> {
    let range = score_range(panel)?;
    let mut chart = Chart::new(
        panel.title.as_str(),
        Axis::new("score (high = in-distribution)"),
        Axis::new("share of samples"),
    );
    for (index, (name, scores)) in panel.sets.iter().enumerate() {
        chart.bars(Style::series(index), shares(scores, range));
        chart.area_key(name.as_str(), Style::series(index));
    }
    Ok(chart)
}

fn score_range(panel: &Panel) -> Result<(f64, f64), PlotError> {
    let scores = || panel.sets.iter().flat_map(|(_, scores)| scores);
    let all_there = panel.sets.iter().all(|(_, scores)| !scores.is_empty());
    let range = finite_range(scores()).filter(|_| all_there && scores().all(|s| s.is_finite()));
    range.ok_or_else(|| PlotError::NoScores { panel: panel.title.clone() })
}

/// Charts with a heading each, as one picture.
fn page(charts: &[(&str, &Chart)]) -> String {
    let (mut content, mut top) = (String::new(), 0.0);
    for row in charts.chunks(2) {
        let mut bottom: f64 = top;
        for (column, (title, chart)) in row.iter().enumerate() {
            let (drawn, height) = chart.content();
            let left = MARGIN + column as f64 * (chart::WIDTH + 2.0 * MARGIN);
            let (below, title) = (top + HEADING, escape(title));
            content.push_str(&format!(
                r#"<g transform="translate({left:.0} {below:.0})"><text class="heading" x="0" y="-12">{title}</text>{drawn}</g>"#
            ));
            bottom = bottom.max(below + height + MARGIN);
        }
        top = bottom;
    }
    let width = charts.len().clamp(1, 2) as f64 * (chart::WIDTH + 2.0 * MARGIN);
    let titles: Vec<_> = charts.iter().map(|(title, _)| escape(title)).collect();
    let (style, titles) = (chart::STYLE, titles.join("; "));
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {top:.0}" role="img" font-family="system-ui,sans-serif"><title>{titles}</title>
<style>{style}.paper{{fill:var(--paper)}}
svg .heading{{font-size:16px;font-weight:bold}}
</style>
<rect class="paper" width="100%" height="100%"/>
{content}
</svg>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(title: &str, scores: &[f32]) -> Panel {
        Panel { title: title.into(), sets: vec![("ID".into(), scores.to_vec())] }
    }

    #[test]
    fn a_plot_has_a_heading_bars_and_a_key_for_each_panel() -> Result<(), Box<dyn std::error::Error>>
    {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("plot.svg");
        let panels = [
            panel("a < b", &[1.0, 2.0, 2.5]),
            panel("second", &[7.0]),
            panel("third", &[1.0, 9.0]),
        ];
        score_histograms(&path, &panels)?;
        let svg = std::fs::read_to_string(&path)?;
        assert_eq!(svg.matches("<g ").count(), 3);
        assert_eq!(svg.matches(r#"class="bars c0""#).count(), 2 * 3);
        assert_eq!(svg.matches(">ID</text>").count(), 3);
        assert!(svg.contains(">a &lt; b</text>") && !svg.contains("a < b"));
        assert!(svg.starts_with(r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1008 "#));
        Ok(())
    }

    #[test]
    fn what_cannot_be_drawn_leaves_no_file() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("plot.svg");
        for scores in [&[][..], &[f32::NAN], &[1.0, f32::INFINITY]] {
            let error = score_histograms(&path, &[panel("test", scores)]).err().ok_or("drawn")?;
            assert!(matches!(error, PlotError::NoScores { .. }));
        }
        let nowhere = folder.path().join("missing").join("plot.svg");
        let error = score_histograms(nowhere, &[panel("test", &[1.0])]).err().ok_or("drawn")?;
        assert!(matches!(error, PlotError::Io { .. }));
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
        Ok(())
    }
}
