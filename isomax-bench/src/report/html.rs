//! The parts of a page that needs nothing beside itself. Functions take plain text and escape it;
//! parameters named `content` are HTML.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use isomax_charts::escape;

/// A page of sections, each with a link at the top.
pub(super) struct Page {
    title: String,
    links: String,
    body: String,
}

impl Page {
    pub(super) fn new(title: &str) -> Self {
        Self { title: escape(title), links: String::new(), body: String::new() }
    }

    /// Adds a section; `id` must be a word.
    pub(super) fn section(&mut self, id: &str, heading: &str, content: &str) {
        let heading = escape(heading);
        self.links.push_str(&format!("<li><a href=\"#{id}\">{heading}</a></li>\n"));
        self.body.push_str(&format!(
            "<section id=\"{id}\" aria-labelledby=\"{id}-heading\">\n\
             <h2 id=\"{id}-heading\">{heading}</h2>\n{content}\n</section>\n"
        ));
    }

    pub(super) fn finish(self) -> String {
        let Self { title, links, body } = self;
        let charts = isomax_charts::STYLE;
        // The policy forbids browsers to fetch anything at all.
        format!(
            r#"<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>{charts}{STYLE}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<nav aria-label="Contents">
<ul>
{links}</ul>
</nav>
</header>
<main>
{body}</main>
</body>
</html>
"#
        )
    }
}

pub(super) fn heading(text: &str) -> String {
    format!("<h3>{}</h3>\n", escape(text))
}

pub(super) fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

/// A sentence on something that the page lacks.
pub(super) fn note(text: &str) -> String {
    format!("<p class=\"note\">{}</p>\n", escape(text))
}

/// A box that is not to be missed; empty without reasons.
pub(super) fn warning(heading: &str, reasons: &[String]) -> String {
    if reasons.is_empty() {
        return String::new();
    }
    let items: String = reasons.iter().map(|r| format!("<li>{}</li>\n", escape(r))).collect();
    format!(
        "<div class=\"warning\" role=\"note\">\n<p>{}</p>\n<ul>\n{items}</ul>\n</div>\n",
        escape(heading)
    )
}

/// Terms and what is to be said of each.
pub(super) fn definitions(terms: &[(&str, String)]) -> String {
    let item = |(term, text): &(&str, String)| {
        format!("<dt>{}</dt><dd>{}</dd>\n", escape(term), escape(text))
    };
    format!("<dl>\n{}</dl>\n", terms.iter().map(item).collect::<String>())
}

/// Figures side by side where there is room.
pub(super) fn figures(content: &str) -> String {
    match content {
        "" => String::new(),
        _ => format!("<div class=\"figures\">\n{content}</div>\n"),
    }
}

pub(super) fn figure(content: &str, caption: &str) -> String {
    let caption = escape(caption);
    format!("<figure>\n{content}\n<figcaption>{caption}</figcaption>\n</figure>\n")
}

/// A PNG file within the page.
pub(super) fn picture(png: &[u8], (width, height): (u32, u32), alt: &str, caption: &str) -> String {
    let (data, alt) = (STANDARD.encode(png), escape(alt));
    let size = format!("width=\"{width}\" height=\"{height}\"");
    figure(&format!("<img src=\"data:image/png;base64,{data}\" {size} alt=\"{alt}\">"), caption)
}

/// A table of rows, the first of which names the columns. Columns of numbers stand right.
pub(super) fn table(title: &str, note: Option<&str>, rows: &[Vec<String>]) -> String {
    let number =
        |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '–' | '−'));
    let class = |column: usize| {
        let cell = rows.get(1).and_then(|row| row.get(column)).filter(|_| column > 0);
        if cell.is_some_and(|cell| number(cell)) { " class=\"number\"" } else { "" }
    };
    let mut lines = String::new();
    for (index, row) in rows.iter().enumerate() {
        lines.push_str(if index == 0 { "<thead><tr>" } else { "<tr>" });
        for (column, cell) in row.iter().enumerate() {
            let (class, cell) = (class(column), escape(cell));
            lines.push_str(&match (index, column) {
                (0, _) => format!("<th scope=\"col\"{class}>{cell}</th>"),
                (_, 0) => format!("<th scope=\"row\">{cell}</th>"),
                _ => format!("<td{class}>{cell}</td>"),
            });
        }
        lines.push_str(if index == 0 { "</tr></thead>\n<tbody>\n" } else { "</tr>\n" });
    }
    if !rows.is_empty() {
        lines.push_str("</tbody>\n");
    }
    let title = escape(title);
    let note = note.map(|note| format!(" <span>{}</span>", escape(note))).unwrap_or_default();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\">\n<table>\n\
         <caption><strong>{title}</strong>{note}</caption>\n{lines}</table>\n</div>\n"
    )
}

/// The colours are those of Okabe and Ito, which colour-blind readers tell apart.
const STYLE: &str = "
:root{--tint:#f5f7f9;--warn:#fff4d6;--warn-edge:#b35900;--link:#0a58a6}
@media screen and (prefers-color-scheme:dark){:root{--tint:#1a2027;--warn:#3a2c0b;--warn-edge:#e69f00;
--link:#7cc0ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:75rem;padding:1rem;background:var(--paper);color:var(--ink);
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:break-word}
h1,h2,h3{line-height:1.25}
h2{margin-top:2.5rem;padding-top:.5rem;border-top:1px solid var(--rule)}
a{color:var(--link)}
p,dl,.warning{max-width:48rem}
nav ul{padding-left:1.2rem;columns:18rem}
.note,figcaption,caption span,dt{color:var(--soft)}
.warning{background:var(--warn);border-left:.3rem solid var(--warn-edge);padding:.6rem 1rem}
.warning p{margin:0;font-weight:bold}
.warning ul{margin:.3rem 0;padding-left:1.2rem}
dt{font-weight:bold}
dd{margin:0 0 .5rem 1rem}
.scroll{overflow-x:auto;margin:1.5rem 0}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding-bottom:.4rem}
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--rule);text-align:left;white-space:nowrap}
thead th{background:var(--tint)}
tbody th{font-weight:normal}
.number{text-align:right}
.figures{display:grid;gap:1.5rem;
grid-template-columns:repeat(auto-fill,minmax(min(100%,24rem),1fr))}
figure{margin:0;min-width:0}
figcaption{font-size:.88rem}
svg{display:block;width:100%;height:auto;overflow:visible}
img{max-width:100%;min-width:min(100%,20rem);height:auto;image-rendering:pixelated}
@media print{:root{color-scheme:light}body{max-width:none;padding:0;font-size:10pt}
nav{display:none}.scroll{overflow:visible}th,td{white-space:normal;padding:.15rem .4rem}
.figures{grid-template-columns:1fr 1fr}figure,tr,.warning{break-inside:avoid}
h2,h3,caption{break-after:avoid}*{print-color-adjust:exact}}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_text_stays_text() {
        let text = "<script>alert('a' & \"b\")</script>";
        let escaped = "&lt;script&gt;alert(&#39;a&#39; &amp; &quot;b&quot;)&lt;/script&gt;";
        assert_eq!(escape(text), escaped);
        let mut page = Page::new(text);
        page.section("one", text, &paragraph(text));
        let rows = vec![vec![text.to_owned(); 2]; 2];
        page.section("two", "tables", &table(text, Some(text), &rows));
        page.section("three", "figures", &picture(b"png", (1, 2), text, text));
        page.section("four", "warnings", &warning(text, &[text.to_owned()]));
        page.section("five", "notes", &(note(text) + &heading(text)));
        page.section("six", "terms", &definitions(&[(text, text.to_owned())]));
        let page = page.finish();
        assert!(!page.contains("<script") && page.contains(escaped));
    }

    #[test]
    fn tables_have_headers_and_numbers_stand_right() {
        let rows = [["network", "AUROC"], ["resnet-20", "97.6 ± 0.4"], ["wrn-28-10", "–"]]
            .map(|row| row.map(str::to_owned).to_vec());
        let table = table("Detection", None, &rows);
        assert!(table.contains("<caption><strong>Detection</strong></caption>"));
        assert!(table.contains("<th scope=\"col\">network</th>"));
        assert!(table.contains("<th scope=\"row\">wrn-28-10</th><td class=\"number\">–</td>"));
    }

    #[test]
    fn pictures_are_within_the_page() {
        let html = picture(b"picture", (3, 4), "alt", "caption");
        assert!(html.contains("src=\"data:image/png;base64,cGljdHVyZQ==\""));
        assert!(html.contains("width=\"3\" height=\"4\" alt=\"alt\""));
    }
}
