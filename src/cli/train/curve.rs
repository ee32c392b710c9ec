//! The loss of a run as an SVG picture: every batch faintly, and the mean of each epoch.

use crate::cli::explain::ticks::LogAxis;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 72.0;
const TOP: f64 = 48.0;
const PANEL_WIDTH: f64 = 660.0;
const PANEL_HEIGHT: f64 = 270.0;
/// Most labelled epochs.
const MOST_TICKS: usize = 10;
/// Most points of the line of batches; more are thinned out, each point the mean of its neighbours.
const MOST_POINTS: usize = 2000;

/// Colours for light and dark pages; the blue is Okabe and Ito's. Without CSS variables, as in the picture of `ibgraph
/// explain`: only browsers know them.
const STYLE: &str = "
  text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328; }
  .page { fill: #ffffff; }
  .frame { fill: none; stroke: #1f2328; }
  .grid { stroke: #d8dce1; }
  .batch, .mean { fill: none; stroke-linejoin: round; }
  .batch { stroke: #9ec9e2; }
  .mean { stroke: #0072b2; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .page { fill: #0d1117; }
    .frame { stroke: #e6edf3; }
    .grid { stroke: #30363d; }
    .batch { stroke: #2a5876; }
    .mean { stroke: #56b4e9; }
  }
";

/// The picture of `losses`, one a batch, with `batches` an epoch.
pub(super) fn draw(losses: &[f32], batches: usize) -> String {
    let values: Vec<f64> = losses.iter().map(|loss| f64::from(*loss)).collect();
    let batches = batches.max(1);
    let axis = LogAxis::over(values.iter().copied());
    let across = |batch: f64| LEFT + batch / values.len().max(1) as f64 * PANEL_WIDTH;
    let means = values.chunks(batches).enumerate().map(|(epoch, losses)| {
        let middle = (epoch * batches) as f64 + losses.len() as f64 / 2.0;
        (across(middle), mean(losses))
    });
    let width = values.len().div_ceil(MOST_POINTS).max(1);
    let points = values
        .chunks(width)
        .enumerate()
        .map(|(k, losses)| (across((k * width) as f64 + losses.len() as f64 / 2.0), mean(losses)));
    [
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" role=\"img\">\n<title>Loss of each batch, and its mean over each epoch</title>\n\
             <style>{STYLE}</style>\n<rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n"
        ),
        text(LEFT, 28.0, "start", "loss: every batch, and the mean of each epoch"),
        grid(axis, values.len(), batches),
        line("batch", axis, points),
        line("mean", axis, means),
        format!(
            "<rect class=\"frame\" x=\"{LEFT}\" y=\"{TOP}\" width=\"{PANEL_WIDTH}\" height=\"{PANEL_HEIGHT}\"/>\n</svg>\n"
        ),
    ]
    .concat()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn grid(axis: LogAxis, losses: usize, batches: usize) -> String {
    let mut svg = String::new();
    for (tick, label) in axis.ticks() {
        let Some(y) = axis.place(tick).map(height) else { continue };
        svg += &format!("<path class=\"grid\" d=\"M{LEFT} {y:.1}h{PANEL_WIDTH}\"/>\n");
        svg += &text(LEFT - 8.0, y + 4.5, "end", &label);
    }
    let bottom = TOP + PANEL_HEIGHT;
    let epochs = losses / batches;
    let step = epochs.div_ceil(MOST_TICKS).max(1);
    for epoch in (0..=epochs).step_by(step) {
        let x = LEFT + (epoch * batches) as f64 / losses.max(1) as f64 * PANEL_WIDTH;
        svg += &format!("<path class=\"grid\" d=\"M{x:.1} {TOP}v{PANEL_HEIGHT}\"/>\n");
        svg += &text(x, bottom + 18.0, "middle", &epoch.to_string());
    }
    svg + &text(LEFT + PANEL_WIDTH / 2.0, bottom + 42.0, "middle", "epochs")
}

/// A line through the points; it breaks at a value without a place on the axis.
fn line(class: &str, axis: LogAxis, points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut d = String::new();
    let mut pen = 'M';
    for (x, loss) in points {
        match axis.place(loss) {
            Some(at) => {
                d += &format!("{pen}{x:.1} {:.1}", height(at));
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    format!("<path class=\"{class}\" d=\"{d}\"/>\n")
}

fn height(place: f64) -> f64 {
    TOP + (1.0 - place) * PANEL_HEIGHT
}

fn text(x: f64, y: f64, anchor: &str, content: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_has_a_line_through_the_batches_and_one_through_the_epochs() {
        let svg = draw(&[4.0, 2.0, 1.0, 0.5], 2);
        // Half a batch is a sixteenth of the panel's width; the axis runs over decades.
        assert!(
            svg.contains("class=\"batch\" d=\"M154.5 ") && svg.contains("class=\"mean\" d=\"M237.0 "),
            "{svg}"
        );
        assert!(svg.ends_with("</svg>\n"));
    }

    #[test]
    fn a_loss_without_a_place_breaks_the_line() {
        let svg = draw(&[1.0, f32::NAN, 2.0], 1);
        let path = svg.split("class=\"batch\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert!(!draw(&[], 0).is_empty());
    }
}
