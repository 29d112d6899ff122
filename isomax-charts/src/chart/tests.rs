use super::*;

fn chart(points: &[[f64; 2]]) -> Chart {
    let mut chart = Chart::new("title", Axis::new("x"), Axis::new("y"));
    let style = Style::series(9).dots();
    chart.line(style, points.to_vec());
    chart.band(Style::series(1), points.iter().map(|[x, y]| [*x, y - 1.0, y + 1.0]).collect());
    chart.bars(Style::series(2), points.iter().map(|[x, y]| [*x, x + 1.0, *y]).collect());
    chart.upright(Style::guide(), points.first().map_or(f64::NAN, |point| point[0]));
    chart.key("a key", style);
    chart.area_key("an area", style);
    chart
}

#[test]
fn whatever_the_values_only_numbers_are_written() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let cases: [&[[f64; 2]]; 11] = [
        &[],
        &[[1.0, 2.0]],
        &[[1.0, 2.0], [1.0, 2.0]],
        &[[1.0, 0.0], [2.0, 0.0]],
        &[[nan, 1.0], [1.0, nan], [nan, nan]],
        &[[1.0, inf], [2.0, -inf], [inf, 3.0]],
        &[[1.0, 1.0], [2.0, nan], [3.0, 1.5], [4.0, 2.0]],
        &[[1.0, -1e3], [300.0, -0.5]],
        &[[f64::MIN, f64::MAX], [f64::MAX, f64::MIN]],
        &[[1e-320, 1e-300], [0.0, -1e-310]],
        &[[1e99, -1e99], [-1e99, 1e99]],
    ];
    for points in cases {
        let svg = chart(points).render();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{points:?}: {svg}");
        assert!(svg.len() < 20_000, "{points:?}: {}", svg.len());
    }
    assert!(chart(&[]).render().contains("no values to draw"));
    assert!(chart(&[]).is_empty() && !chart(&[[1.0, 2.0]]).is_empty());
}

#[test]
fn gaps_part_lines_and_lone_points_are_dots() {
    let mut chart = Chart::new("title", Axis::new("x"), Axis::new("y"));
    let points = vec![[1.0, 1.0], [2.0, f64::NAN], [3.0, 1.5], [4.0, 2.0]];
    chart.line(Style::series(0), points);
    let svg = chart.render();
    assert_eq!(svg.matches("<circle").count(), 1);
    assert_eq!(svg.matches(r#"class="line c0""#).count(), 1);
}

#[test]
fn ticks_are_round() {
    let labels = |range, whole| -> Vec<String> {
        Ticks::new(range, whole).all().map(|(_, label)| label).collect()
    };
    assert_eq!(labels((0.0, 1.0), false), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
    assert_eq!(labels((1.0, 300.0), true), ["100", "200", "300"]);
    assert_eq!(labels((0.95, 1.05), true), ["1"]);
    assert_eq!(labels((1.0, 2.0), true), ["1", "2"]);
    assert_eq!(labels((-1000.0, -500.0), false).first().map(String::as_str), Some("−1000"));
    assert_eq!(labels((0.0, 4e6), false)[..2], ["0", "1e6"]);
}

#[test]
fn words_are_escaped_and_long_keys_cut() {
    let mut chart = Chart::new("<script>", Axis::new("<x>"), Axis::new("<y>"));
    chart.key("<ä>".repeat(100), Style::series(0));
    let svg = chart.render();
    assert!(!svg.contains("<script") && !svg.contains("<x>") && !svg.contains("<ä>"));
    assert!(svg.contains("…"));
}
