//! Line and bar charts as SVG, inside a page or in a file: colours come from [`STYLE`], the size from the
//! space that there is, and whatever the values are, only numbers are written.

use std::ops::RangeInclusive;

use crate::histogram::widen;

/// Number of colours in the style sheet.
const COLOURS: usize = 7;
/// Width of a chart; what holds it may scale it.
pub(crate) const WIDTH: f64 = 480.0;
const TOP: f64 = 10.0;
const RIGHT: f64 = 14.0;
const LOW: f64 = 220.0;
const TALL: f64 = 360.0;
const LEGEND_ROW: f64 = 20.0;
/// Width of a character, a little more than it has on average.
const CHARACTER: f64 = 7.0;
const LONGEST_KEY: usize = 48;
/// Values beyond it are not drawn: the distance of two of them might be infinite.
const LARGEST: f64 = 1e100;

/// The style sheet that a page with charts needs: rules and colours, in light and dark. Colour-blind readers
/// tell the seven colours apart (Okabe and Ito).
pub const STYLE: &str = "
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#57606a;--rule:#d0d7de;--grey:#737b83;
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;--c4:#e69f00;--c5:#56b4e9;--c6:#1b1f24}
@media screen and (prefers-color-scheme:dark){:root{--paper:#12161b;--ink:#e6e9ec;--soft:#a3adb7;
--rule:#353d46;--grey:#8d97a1;--c0:#3391d4;--c1:#ef7a26;--c2:#1fbf92;--c5:#9ad6f9;--c6:#e6e9ec}}
svg text{fill:var(--ink);font-size:12px}
svg .tick{fill:var(--soft);font-size:11.5px}
.middle{text-anchor:middle}
.end{text-anchor:end}
.grid{stroke:var(--rule);stroke-width:.6}
.axis{fill:none;stroke:var(--soft);stroke-width:1}
.line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round}
.thin{stroke-width:1.1}
.dash{stroke-dasharray:5 3}
.dot{fill:var(--c)}
.band{fill:var(--c);fill-opacity:.2;stroke:var(--c);stroke-opacity:.3}
.bars{fill:var(--c);fill-opacity:.4;stroke:var(--c);stroke-width:.8;stroke-dasharray:none}
.guide{--c:var(--grey)}
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}
.c4{--c:var(--c4)}.c5{--c:var(--c5)}.c6{--c:var(--c6)}
";

/// Makes text safe between tags and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// How a mark looks.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    colour: Option<usize>,
    dashed: bool,
    thin: bool,
    dots: bool,
}

impl Style {
    /// One of several series. After the last colour they start again, dashed.
    pub const fn series(index: usize) -> Self {
        Self { colour: Some(index % COLOURS), dashed: index >= COLOURS, thin: false, dots: false }
    }

    /// A grey line that values are compared with.
    pub const fn guide() -> Self {
        Self { colour: None, dashed: true, thin: true, dots: false }
    }

    /// With a dashed line.
    pub const fn dashed(self) -> Self {
        Self { dashed: true, ..self }
    }

    /// With a thin line.
    pub const fn thin(self) -> Self {
        Self { thin: true, ..self }
    }

    /// With a dot at each point.
    pub const fn dots(self) -> Self {
        Self { dots: true, ..self }
    }

    fn class(self, kind: &str) -> String {
        let colour = self.colour.map_or("guide".to_owned(), |index| format!("c{index}"));
        let dashed = if self.dashed { " dash" } else { "" };
        let thin = if self.thin { " thin" } else { "" };
        format!("{kind} {colour}{dashed}{thin}")
    }
}

/// An axis: as long as the values need it to be, unless its range is given.
#[derive(Debug, Clone)]
pub struct Axis {
    label: String,
    range: Option<(f64, f64)>,
    whole: bool,
}

impl Axis {
    /// As long as the values need it to be.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), range: None, whole: false }
    }

    /// From 0 to 1, whatever the values.
    pub fn shares(self) -> Self {
        Self { range: Some((0.0, 1.0)), ..self }
    }

    /// For whole numbers: nothing is written between them.
    pub fn whole(self) -> Self {
        Self { whole: true, ..self }
    }
}

#[derive(Debug, Clone)]
enum Shape {
    /// Points `[x, y]`.
    Line(Vec<[f64; 2]>),
    /// Points `[x, low, high]`.
    Band(Vec<[f64; 3]>),
    /// Bars `[from, to, height]`.
    Bars(Vec<[f64; 3]>),
    /// The `x` of a line from bottom to top.
    Upright(f64),
}

#[derive(Debug, Clone)]
struct Key {
    label: String,
    style: Style,
    area: bool,
}

/// A chart, its legend below it. What is not finite is passed over and leaves a gap in lines.
#[derive(Debug, Clone)]
pub struct Chart {
    title: String,
    x: Axis,
    y: Axis,
    plot_height: f64,
    marks: Vec<(Style, Shape)>,
    keys: Vec<Key>,
}

impl Chart {
    /// `title` is read out in place of the picture.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        let title = title.into();
        Self { title, x, y, plot_height: LOW, marks: Vec::new(), keys: Vec::new() }
    }

    /// About as high as wide.
    pub fn tall(self) -> Self {
        Self { plot_height: TALL, ..self }
    }

    /// A line through points `[x, y]`.
    pub fn line(&mut self, style: Style, points: Vec<[f64; 2]>) {
        self.marks.push((style, Shape::Line(points)));
    }

    /// The area between two lines, by points `[x, low, high]`.
    pub fn band(&mut self, style: Style, points: Vec<[f64; 3]>) {
        self.marks.push((style, Shape::Band(points)));
    }

    /// Bars `[from, to, height]` that stand on 0.
    pub fn bars(&mut self, style: Style, bars: Vec<[f64; 3]>) {
        self.marks.push((style, Shape::Bars(bars)));
    }

    /// A line from bottom to top at `x`.
    pub fn upright(&mut self, style: Style, x: f64) {
        self.marks.push((style, Shape::Upright(x)));
    }

    /// Explains a line in the legend.
    pub fn key(&mut self, label: impl Into<String>, style: Style) {
        self.keys.push(Key { label: label.into(), style, area: false });
    }

    /// Explains bars in the legend.
    pub fn area_key(&mut self, label: impl Into<String>, style: Style) {
        self.keys.push(Key { label: label.into(), style, area: true });
    }

    /// Whether there is nothing to draw but upright lines.
    pub fn is_empty(&self) -> bool {
        self.values().1.is_empty()
    }

    /// All values that can be drawn, along both axes.
    fn values(&self) -> (Vec<f64>, Vec<f64>) {
        let (mut xs, mut ys) = (Vec::new(), Vec::new());
        for (_, shape) in &self.marks {
            match shape {
                Shape::Line(points) => {
                    for [x, y] in points.iter().filter(|point| drawable(point)) {
                        xs.push(*x);
                        ys.push(*y);
                    }
                }
                Shape::Band(points) => {
                    for [x, low, high] in points.iter().filter(|point| drawable(point)) {
                        xs.push(*x);
                        ys.extend([*low, *high]);
                    }
                }
                Shape::Bars(bars) => {
                    for [from, to, height] in bars.iter().filter(|bar| drawable(bar)) {
                        xs.extend([*from, *to]);
                        ys.extend([0.0, *height]);
                    }
                }
                Shape::Upright(x) => xs.extend(drawable(&[*x]).then_some(*x)),
            }
        }
        (xs, ys)
    }

    /// The `svg` element, for a page that has [`STYLE`].
    pub fn render(&self) -> String {
        let (content, height) = self.content();
        let title = escape(&self.title);
        format!(
            r#"<svg viewBox="0 0 {WIDTH:.0} {height:.0}" role="img"><title>{title}</title>{content}</svg>"#
        )
    }

    /// What is drawn, [`WIDTH`] wide, and its height.
    pub(crate) fn content(&self) -> (String, f64) {
        let (xs, ys) = self.values();
        let bars = self.marks.iter().any(|(_, shape)| matches!(shape, Shape::Bars(_)));
        let x_range = self.x.range.unwrap_or_else(|| extent(&xs));
        let y_range = self.y.range.unwrap_or_else(|| {
            let (low, high) = extent(&ys);
            let margin = 0.05 * (high - low);
            (if bars { low } else { low - margin }, high + margin)
        });
        let (x_ticks, y_ticks) =
            (Ticks::new(x_range, self.x.whole), Ticks::new(y_range, self.y.whole));

        let longest = y_ticks.all().map(|(_, label)| label.chars().count()).max().unwrap_or(0);
        let left = 30.0 + CHARACTER * longest as f64;
        let (right, bottom) = (WIDTH - RIGHT, TOP + self.plot_height);
        let x = Scale { range: x_range, from: left, to: right };
        let y = Scale { range: y_range, from: bottom, to: TOP };

        let (legend, legend_height) = self.legend(left, bottom + 56.0);
        let height = bottom + 44.0 + legend_height;
        let mut svg = String::new();
        for (value, label) in x_ticks.all() {
            let at = x.at(value);
            svg.push_str(&format!(r#"<path class="grid" d="M{at:.1} {TOP:.1}V{bottom:.1}"/>"#));
            svg.push_str(&text(at, bottom + 17.0, "tick middle", &label));
        }
        for (value, label) in y_ticks.all() {
            let at = y.at(value);
            svg.push_str(&format!(r#"<path class="grid" d="M{left:.1} {at:.1}H{right:.1}"/>"#));
            svg.push_str(&text(left - 6.0, at + 4.0, "tick end", &label));
        }
        self.marks.iter().for_each(|(style, shape)| svg.push_str(&draw(*style, shape, &x, &y)));
        svg.push_str(&format!(
            r#"<path class="axis" d="M{left:.1} {TOP:.1}V{bottom:.1}H{right:.1}"/>"#
        ));
        let (centre, middle) = ((left + right) / 2.0, (TOP + bottom) / 2.0);
        if xs.is_empty() || ys.is_empty() {
            svg.push_str(&text(centre, middle, "name middle", "no values to draw"));
        }
        svg.push_str(&text(centre, bottom + 36.0, "name middle", &self.x.label));
        let upwards = format!("translate(13 {middle:.1}) rotate(-90)");
        svg.push_str(&format!(
            r#"<text class="name middle" transform="{upwards}">{}</text>"#,
            escape(&self.y.label)
        ));
        (svg + &legend, height)
    }

    /// The legend, as many rows as it needs, and their height.
    fn legend(&self, left: f64, top: f64) -> (String, f64) {
        let (mut svg, mut x, mut y) = (String::new(), left, top);
        for Key { label, style, area } in &self.keys {
            let label = match label.char_indices().nth(LONGEST_KEY) {
                Some((cut, _)) => format!("{}…", &label[..cut]),
                None => label.clone(),
            };
            let width = 42.0 + CHARACTER * label.chars().count() as f64;
            if x > left && x + width > WIDTH {
                (x, y) = (left, y + LEGEND_ROW);
            }
            let (class, path) = if *area {
                (style.class("bars"), format!("M{x:.1} {:.1}h22v10h-22z", y - 5.0))
            } else {
                (style.class("line"), format!("M{x:.1} {y:.1}h22"))
            };
            svg.push_str(&format!(r#"<path class="{class}" d="{path}"/>"#));
            if style.dots {
                svg.push_str(&dot(*style, x + 11.0, y));
            }
            svg.push_str(&text(x + 28.0, y + 4.0, "name", &label));
            x += width;
        }
        let height = if self.keys.is_empty() { 0.0 } else { y - top + LEGEND_ROW + 4.0 };
        (svg, height)
    }
}

fn text(x: f64, y: f64, class: &str, text: &str) -> String {
    format!(r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{}</text>"#, escape(text))
}

fn dot(style: Style, x: f64, y: f64) -> String {
    format!(r#"<circle class="{}" cx="{x:.1}" cy="{y:.1}" r="3"/>"#, style.class("dot"))
}

fn draw(style: Style, shape: &Shape, x: &Scale, y: &Scale) -> String {
    let mut svg = String::new();
    match shape {
        Shape::Line(points) => {
            for run in runs(points) {
                if run.len() > 1 {
                    let d = path(run.iter().map(|[px, py]| (x.at(*px), y.at(*py))));
                    let class = style.class("line");
                    svg.push_str(&format!(r#"<path class="{class}" d="{d}"/>"#));
                }
                // A line of one point would not be seen.
                if run.len() == 1 || style.dots {
                    run.iter().for_each(|[px, py]| svg.push_str(&dot(style, x.at(*px), y.at(*py))));
                }
            }
        }
        Shape::Band(points) => {
            for run in runs(points) {
                let upper = run.iter().map(|[px, _, high]| (x.at(*px), y.at(*high)));
                let lower = run.iter().rev().map(|[px, low, _]| (x.at(*px), y.at(*low)));
                let (class, d) = (style.class("band"), path(upper.chain(lower)));
                svg.push_str(&format!(r#"<path class="{class}" d="{d}Z"/>"#));
            }
        }
        Shape::Bars(bars) => {
            let d = outline(bars, x, y);
            if !d.is_empty() {
                svg = format!(r#"<path class="{}" d="{d}"/>"#, style.class("bars"));
            }
        }
        Shape::Upright(value) => {
            if drawable(&[*value]) {
                let (at, class) = (x.at(*value), style.class("line"));
                let (from, to) = (y.from, y.to);
                svg = format!(r#"<path class="{class}" d="M{at:.1} {from:.1}V{to:.1}"/>"#);
            }
        }
    }
    svg
}

/// The points between gaps.
fn runs<const N: usize>(points: &[[f64; N]]) -> impl Iterator<Item = &[[f64; N]]> {
    points.split(|point| !drawable(point)).filter(|run| !run.is_empty())
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let pairs: Vec<String> = points.map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    format!("M{}", pairs.join(" "))
}

/// Bars that touch have one outline.
fn outline(bars: &[[f64; 3]], x: &Scale, y: &Scale) -> String {
    let base = y.at(0.0);
    let (mut d, mut end) = (String::new(), None);
    for [from, to, height] in bars.iter().filter(|bar| drawable(bar)) {
        if end != Some(*from) {
            if end.is_some() {
                d.push_str(&format!("V{base:.1}"));
            }
            d.push_str(&format!("M{:.1} {base:.1}", x.at(*from)));
        }
        d.push_str(&format!("V{:.1}H{:.1}", y.at(*height), x.at(*to)));
        end = Some(*to);
    }
    if end.is_some() {
        d.push_str(&format!("V{base:.1}"));
    }
    d
}

fn drawable<const N: usize>(values: &[f64; N]) -> bool {
    values.iter().all(|value| value.is_finite() && value.abs() <= LARGEST)
}

/// From the smallest to the largest of values that can be drawn.
fn extent(values: &[f64]) -> (f64, f64) {
    if values.is_empty() {
        return (0.0, 1.0);
    }
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    widen((low, values.iter().copied().fold(f64::NEG_INFINITY, f64::max)))
}

/// From values to places in the picture.
struct Scale {
    range: (f64, f64),
    from: f64,
    to: f64,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let (low, high) = self.range;
        let along = ((value - low) / (high - low)).clamp(0.0, 1.0);
        self.from + along * (self.to - self.from)
    }
}

/// Multiples of 1, 2 or 5 times a power of ten.
struct Ticks {
    multiples: RangeInclusive<i64>,
    mantissa: f64,
    exponent: i32,
}

impl Ticks {
    fn new((low, high): (f64, f64), whole: bool) -> Self {
        let rough = (high - low) / 5.0;
        let mut exponent = rough.log10().floor() as i32;
        let power = 10_f64.powi(exponent);
        let enough = |mantissa: &f64| mantissa * power >= rough * (1.0 - 1e-9);
        let mut mantissa = [1.0, 2.0, 5.0].into_iter().find(enough).unwrap_or_else(|| {
            exponent += 1;
            1.0
        });
        if whole && exponent < 0 {
            (mantissa, exponent) = (1.0, 0);
        }
        let mut ticks = Self { multiples: 0..=0, mantissa, exponent };
        let step = ticks.value(1);
        // Ends that miss a multiple by a rounding error have it.
        let (first, last) = ((low / step - 1e-6).ceil(), (high / step + 1e-6).floor());
        ticks.multiples = first as i64..=last as i64;
        ticks
    }

    fn value(&self, multiple: i64) -> f64 {
        let value = multiple as f64 * self.mantissa;
        // Dividing keeps 3 × 0.1 at 0.3.
        match self.exponent {
            exponent if exponent < 0 => value / 10_f64.powi(-exponent),
            exponent => value * 10_f64.powi(exponent),
        }
    }

    fn label(&self, multiple: i64) -> String {
        let value = self.value(multiple);
        let ends = [*self.multiples.start(), *self.multiples.end()];
        let largest = ends.map(|end| self.value(end).abs()).into_iter().fold(0.0, f64::max);
        let text = if multiple == 0 && largest >= 1e6 {
            "0".to_owned()
        } else if largest >= 1e6 || self.exponent < -5 {
            let leading = largest.max(f64::MIN_POSITIVE).log10().floor() as i32;
            let digits = (leading - self.exponent).clamp(0, 9) as usize;
            format!("{value:.digits$e}")
        } else {
            let digits = (-self.exponent).max(0) as usize;
            format!("{value:.digits$}")
        };
        text.replace('-', "−")
    }

    fn all(&self) -> impl Iterator<Item = (f64, String)> + '_ {
        self.multiples.clone().map(move |multiple| (self.value(multiple), self.label(multiple)))
    }
}

#[cfg(test)]
mod tests;
