//! One page that needs nothing else: no network, no other file.

use crate::bench::Results;

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/page.css");
/// What the page draws, then the page: only the latter runs anything by itself.
const SCRIPT: [&str; 2] = [include_str!("html/bars.js"), include_str!("html/page.js")];

/// The results as a page. Samples stay in `results.json`; the page has their statistics.
pub fn html(results: &Results) -> String {
    let mut light = results.clone();
    for arm in light.cells.iter_mut().flat_map(|cell| &mut cell.arms) {
        for series in arm.cold.iter_mut().chain(&mut arm.warm) {
            series.samples_ns.clear();
        }
    }
    let data = serde_json::to_string(&light).expect("results are JSON");
    // Within a script element only `<` could end it.
    let data = data.replace('<', "\\u003c");
    let title = escape(&results.plan);
    PAGE.replace("/*STYLE*/", STYLE)
        .replace("/*SCRIPT*/", &SCRIPT.concat())
        .replace("{{title}}", &title)
        .replace("/*DATA*/", &data)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
