//! Charts and tables of results: [`score_histograms`] draws how well scores tell ID from OOD samples,
//! [`Chart`] curves and bars in general, as SVG; a [`Table`] is Markdown.
//!
//! Whatever the values are, a chart can be drawn: what is not finite is passed over.

mod chart;
mod histogram;
mod score_histograms;
mod table;

pub use chart::{Axis, Chart, STYLE, Style, escape};
pub use histogram::{BINS, finite_range, shares};
pub use score_histograms::{Panel, PlotError, score_histograms};
pub use table::{MeanStd, Table};
