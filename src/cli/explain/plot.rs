//! Curves as a picture: an SVG file that needs nothing else, with text as text, for light and dark pages.

use super::curves::{Curve, Point};
use super::ticks::LogAxis;
use crate::loss::{LossSpec, Quantity};

/// Size of the picture and of one panel, and where the first panel is, in pixels.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 460.0;
const PANEL_WIDTH: f64 = 390.0;
const PANEL_HEIGHT: f64 = 270.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 128.0;
/// From one panel's left edge to the next's.
const NEXT_PANEL: f64 = 472.0;

/// Range of the label's margin.
const WRONG: f64 = -10.0;
const SURE: f64 = 20.0;
/// Points of a curve; a quarter of a unit apart.
const POINTS: u32 = 121;

/// The colours of Okabe and Ito, which colour-blind readers can tell apart, darker on light pages. Without CSS variables,
/// which only browsers know: other viewers draw what they do not understand black, or not at all.
const STYLE: &str = "
  text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328; }
  .page { fill: #ffffff; }
  .title { font-size: 16px; font-weight: 600; }
  .panel { font-weight: 600; }
  .frame { fill: none; stroke: #1f2328; }
  .grid { stroke: #d8dce1; }
  .curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
  .c0 { stroke: #0072b2; }
  .c1 { stroke: #c04f00; }
  .c2 { stroke: #00805c; }
  .base { stroke: #6e7781; stroke-dasharray: 6 4; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .page { fill: #0d1117; }
    .frame { stroke: #e6edf3; }
    .grid { stroke: #30363d; }
    .c0 { stroke: #56b4e9; }
    .c1 { stroke: #f0a35e; }
    .c2 { stroke: #3fcfa4; }
    .base { stroke: #9aa4af; }
  }
";

/// The label's margins at which curves are drawn.
pub(super) fn margins() -> Vec<f64> {
    let step = (SURE - WRONG) / f64::from(POINTS - 1);
    (0..POINTS).map(|k| WRONG + f64::from(k) * step).collect()
}

/// Loss and slope of the curves, in two panels.
pub(super) fn draw(spec: &LossSpec, curves: &[Curve]) -> String {
    let title = spec.title.as_deref().unwrap_or(&spec.name);
    [
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" role=\"img\">\n<title>{}: loss and slope of a row against the label's margin</title>\n\
             <style>{STYLE}</style>\n<rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n",
            escape(title)
        ),
        text(LEFT, 28.0, "title", "start", title),
        text(LEFT, 49.0, "note", "start", &conditions(spec)),
        legend(curves),
        panel(0, "loss L", curves, |point| point.loss),
        panel(1, "slope |∂L/∂u|", curves, |point| point.slope),
        "</svg>\n".to_owned(),
    ]
    .concat()
}

/// What the curves were drawn at.
fn conditions(spec: &LossSpec) -> String {
    let mut all: Vec<String> =
        spec.parameters.iter().map(|(name, p)| format!("{name} = {}", p.value)).collect();
    all.push("class weight 1".to_owned());
    if spec.uses(Quantity::FeatureL1, &[]) {
        all.push("h: L1 norm of the features".to_owned());
    }
    all.join(", ")
}

/// The classes of the curves in the style: feature norms in order, and the one to compare with.
fn classes(curves: &[Curve]) -> impl Iterator<Item = (&Curve, String)> {
    let mut drawn = 0;
    curves.iter().map(move |curve| {
        if curve.is_baseline {
            return (curve, "curve base".to_owned());
        }
        drawn += 1;
        (curve, format!("curve c{}", (drawn - 1) % 3))
    })
}

fn legend(curves: &[Curve]) -> String {
    /// A line and its gap, and about the width of a letter.
    const KEY: f64 = 36.0;
    const LETTER: f64 = 7.5;
    let mut x = LEFT;
    let mut svg = String::new();
    for (curve, class) in classes(curves) {
        svg += &format!("<path class=\"{class}\" d=\"M{x} 72h28\"/>\n");
        svg += &text(x + KEY, 76.5, "key", "start", &curve.name);
        x += KEY + LETTER * curve.name.chars().count() as f64 + 24.0;
    }
    svg
}

fn panel(index: u32, name: &str, curves: &[Curve], value: fn(&Point) -> f64) -> String {
    let left = LEFT + f64::from(index) * NEXT_PANEL;
    let axis = LogAxis::over(curves.iter().flat_map(|curve| curve.points.iter().map(value)));
    let mut svg = format!(
        "<clipPath id=\"panel{index}\"><rect x=\"{left}\" y=\"{TOP}\" width=\"{PANEL_WIDTH}\" \
         height=\"{PANEL_HEIGHT}\"/></clipPath>\n"
    );
    svg += &text(left, TOP - 14.0, "panel", "start", name);
    if curves.iter().any(|curve| curve.points.iter().any(|point| value(point) <= 0.0)) {
        svg += &text(left + PANEL_WIDTH, TOP - 14.0, "note", "end", "values of 0 or less are left out");
    }
    svg += &margin_axis(left);
    for (tick, label) in axis.ticks() {
        let Some(y) = axis.place(tick).map(height) else { continue };
        svg += &format!("<path class=\"grid\" d=\"M{left} {y:.1}h{PANEL_WIDTH}\"/>\n");
        svg += &text(left - 8.0, y + 4.5, "tick", "end", &label);
    }
    for (curve, class) in classes(curves) {
        let places =
            curve.points.iter().map(|p| axis.place(value(p)).map(|at| (across(left, p.margin), height(at))));
        svg +=
            &format!("<path class=\"{class}\" clip-path=\"url(#panel{index})\" d=\"{}\"/>\n", path(places));
    }
    svg + &format!(
        "<rect class=\"frame\" x=\"{left}\" y=\"{TOP}\" width=\"{PANEL_WIDTH}\" height=\"{PANEL_HEIGHT}\"/>\n"
    )
}

/// Ticks of the label's margin, and what its ends mean.
fn margin_axis(left: f64) -> String {
    let bottom = TOP + PANEL_HEIGHT;
    let mut svg = String::new();
    for margin in [-10.0, -5.0, 0.0, 5.0, 10.0, 15.0, 20.0] {
        let x = across(left, margin);
        svg += &format!("<path class=\"grid\" d=\"M{x:.1} {TOP}v{PANEL_HEIGHT}\"/>\n");
        svg += &text(x, bottom + 18.0, "tick", "middle", &margin.to_string().replace('-', "−"));
    }
    svg += &text(left, bottom + 42.0, "note", "start", "← wrong");
    svg += &text(left + PANEL_WIDTH / 2.0, bottom + 42.0, "note", "middle", "margin of the label, −u");
    svg + &text(left + PANEL_WIDTH, bottom + 42.0, "note", "end", "sure →")
}

fn across(left: f64, margin: f64) -> f64 {
    left + (margin - WRONG) / (SURE - WRONG) * PANEL_WIDTH
}

fn height(place: f64) -> f64 {
    TOP + (1.0 - place) * PANEL_HEIGHT
}

/// A line through the points; it breaks where there is none.
fn path(points: impl Iterator<Item = Option<(f64, f64)>>) -> String {
    let mut d = String::new();
    let mut pen = 'M';
    for point in points {
        let Some((x, y)) = point else {
            pen = 'M';
            continue;
        };
        d += &format!("{pen}{x:.1} {y:.1}");
        pen = 'L';
    }
    d
}

fn text(x: f64, y: f64, class: &str, anchor: &str, content: &str) -> String {
    let content = escape(content);
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>\n")
}

/// For XML, which has no way to write control characters.
fn escape(text: &str) -> String {
    let visible = text.replace(|c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'), " ");
    visible.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_breaks_where_a_value_has_no_place() {
        let points = [Some((0.0, 1.0)), Some((1.0, 2.0)), None, Some((3.0, 4.0))];
        assert_eq!(path(points.into_iter()), "M0.0 1.0L1.0 2.0M3.0 4.0");
    }

    #[test]
    fn text_from_a_file_cannot_end_the_element() {
        assert_eq!(escape("a<b & \"c\">\u{7}"), "a&lt;b &amp; &quot;c&quot;&gt; ");
    }
}
