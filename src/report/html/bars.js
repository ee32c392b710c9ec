// --- bars: training steps, a cluster for each classifier

// The time of every arm as a bar from 0, with its confidence interval, in one scale for each cluster: an arm is compared
// with the others of its cell, and not with those of another classifier.
function bars(host, cells) {
  const shown = (cell) => cell.arms.filter((arm) => summaryOf(arm) && !hidden.has(arm.arm));
  const clusters = cells.map((cell) => ({ cell, rows: shown(cell) })).filter(({ rows }) => rows.length > 0);
  const width = Math.max(280, host.clientWidth || 500), [label, row, gap] = [width < 480 ? 104 : 132, 22, 34];
  const height = clusters.reduce((sum, { rows }) => sum + gap + row * rows.length, 8);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "time of a step by classifier" });
  host.replaceChildren(svg);
  let top = 0;
  for (const { cell, rows } of clusters) {
    svg.append(shape("text", { x: 0, y: top + 20, class: "heading" }, `${cell.classifier}, batches of ${count(cell.rows)}`));
    top += gap;
    const longest = Math.max(...rows.map((arm) => summaryOf(arm).high));
    for (const arm of rows) {
      bar(svg, arm, { top, label, row, scale: (width - label - 84) / longest });
      top += row;
    }
  }
}

function bar(svg, arm, { top, label, row, scale }) {
  const { median, low, high } = summaryOf(arm), middle = top + row / 2;
  svg.append(shape("text", { x: label - 8, y: middle + 4, "text-anchor": "end" }, arm.arm));
  svg.append(shape("rect", { x: label, y: top + 4, width: Math.max(1, median * scale), height: row - 8, rx: 2,
    class: "bar", "data-arm": arm.arm, style: `fill: ${colour(arm.arm)}` }));
  svg.append(shape("line", { x1: label + low * scale, x2: label + high * scale, y1: middle, y2: middle, class: "whisker" }));
  svg.append(shape("text", { x: label + Math.max(median, high) * scale + 6, y: middle + 4 }, time(median)));
}

