//! A run as a picture: load and replicas over time, in SVG.

use std::fmt::Write as _;

use super::run::CurvePoint;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 50.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 30.0;
const COLOURS: [&str; 6] = ["#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a"];

/// Curves under each other, one panel for each: the work in grey, replicas ordered (thin) and serving (thick).
#[must_use]
pub fn svg(title: &str, curves: &[(String, Vec<CurvePoint>)]) -> String {
    let height = HEIGHT * crate::number::from_len(curves.len().max(1));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n<title>{}</title>\n",
        escaped(title)
    );
    let highest = curves
        .iter()
        .flat_map(|(_, points)| points)
        .map(|point| f64::from(point.ordered.max(point.ready)).max(point.work_replicas))
        .fold(1.0, f64::max);
    for (index, (name, points)) in curves.iter().enumerate() {
        let top = HEIGHT * crate::number::from_len(index);
        panel(&mut text, (name, points), top, highest, COLOURS[index % COLOURS.len()]);
    }
    text.push_str("</svg>\n");
    text
}

fn panel(text: &mut String, (name, points): (&str, &[CurvePoint]), top: f64, highest: f64, colour: &str) {
    let end_s = points.last().map_or(1.0, |point| point.at_s.max(1.0));
    let plot_height = HEIGHT - TOP - BOTTOM;
    let x = |at_s: f64| LEFT + at_s / end_s * (WIDTH - LEFT - 10.0);
    let y = |value: f64| top + TOP + plot_height * (1.0 - value / highest);
    let (floor, label_y, axis_x) = (y(0.0), top + 18.0, LEFT - 6.0);
    // Writing to a String cannot fail.
    writeln!(text, "<text x=\"{LEFT}\" y=\"{label_y:.1}\">{}</text>", escaped(name)).ok();
    for share in [0.0, 0.5, 1.0] {
        let (value, right, at) = (highest * share, WIDTH - 10.0, y(highest * share));
        writeln!(
            text,
            "<line x1=\"{LEFT}\" x2=\"{right:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#d0d7de\"/>\
             <text x=\"{axis_x:.1}\" y=\"{at:.1}\" text-anchor=\"end\">{value:.0}</text>"
        )
        .ok();
    }
    let hours = end_s / 3_600.0;
    writeln!(
        text,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{hours:.2} h</text>",
        WIDTH - 10.0,
        floor + 16.0
    )
    .ok();
    line(text, points, "#8c959f", 1.0, |point| (x(point.at_s), y(point.work_replicas)));
    line(text, points, colour, 0.7, |point| (x(point.at_s), y(f64::from(point.ordered))));
    line(text, points, colour, 1.8, |point| (x(point.at_s), y(f64::from(point.ready))));
}

fn line(
    text: &mut String,
    points: &[CurvePoint],
    colour: &str,
    width: f64,
    place: impl Fn(&CurvePoint) -> (f64, f64),
) {
    write!(text, "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" points=\"").ok();
    for point in points {
        let (x, y) = place(point);
        write!(text, "{x:.1},{y:.1} ").ok();
    }
    text.push_str("\"/>\n");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
