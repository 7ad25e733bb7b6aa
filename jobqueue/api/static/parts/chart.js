// Completed and failed over time: bars from the history, or lines of what was seen since the page was opened.

import { html, useEffect, useRef, useSignal } from "../vendor/preact.js";
import uPlot from "../vendor/uplot.js";
import { theme } from "../base/theme.js";

const HEIGHT = 190;
const STEPS = [1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 172_800, 432_000, 864_000];
const dark = matchMedia("(prefers-color-scheme: dark)");

/** *data*: [seconds[], completed[], failed[]]; *bars* draws one bar per point; *say(i)* is the legend at a point. */
export function Chart({ data, bars, label, read }) {
  const box = useRef(null);
  const plot = useRef(null);
  const latest = useRef(data);
  const at = useSignal(null);
  latest.current = data;

  useEffect(() => {
    const element = box.current;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(element, bars, at), stacked(latest.current), element);
    };
    const size = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    draw();
    size.observe(element);
    dark.addEventListener("change", draw);
    return () => {
      size.disconnect();
      dark.removeEventListener("change", draw);
      plot.current.destroy();
      plot.current = null;
    };
  }, [bars, theme.value]);

  useEffect(() => plot.current?.setData(stacked(data)), [data]);

  const index = at.value !== null && at.value < data[0].length ? at.value : null;
  return html`
    <figure class="chart">
      <figcaption class="legend">${read(index)}</figcaption>
      <div ref=${box} class="plot" role="img" aria-label=${label}></div>
    </figure>`;
}

// Failed is drawn from 0 to the sum, completed over it: what stays to be seen of it is its share.
const stacked = ([seconds, completed, failed]) => [seconds, completed.map((n, i) => n + failed[i]), completed];

function options(box, bars, at) {
  const style = getComputedStyle(box);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: colour("--mute"), font: `11px ${style.fontFamily}`, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false },
  };
  const paths = bars ? uPlot.paths.bars({ size: [0.75, 24], align: 0 }) : undefined;
  const series = (name, width) => ({ stroke: colour(name), fill: bars ? colour(name) : undefined, width, paths, points: { show: false } });
  return {
    width: box.clientWidth,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: !bars, size: 7 } },
    scales: { x: { range: bars ? roomForBars : undefined }, y: { range: (_, low, high) => [0, Math.max(high * 1.1, 1)] } },
    axes: [{ ...axis, grid: { show: false }, size: 24, incrs: STEPS, values: clock }, { ...axis, size: 48, values: (_, all) => all.map(short) }],
    series: [{}, series("--bad", bars ? 0 : 1.5), series("--series", bars ? 0 : 1.5)],
    hooks: { setCursor: [(chart) => (at.value = chart.cursor.idx ?? null)] },
  };
}

// Half a bar more on either side.
function roomForBars(chart, low, high) {
  const [first, second] = chart.data[0];
  const half = second === undefined ? 30 : (second - first) / 2;
  return [low - half, high + half];
}

const short = (n) => (n >= 1e6 ? `${+(n / 1e6).toFixed(1)}M` : n >= 1e3 ? `${+(n / 1e3).toFixed(1)}k` : `${+n.toFixed(2)}`);

const two = (n) => String(n).padStart(2, "0");

function clock(chart, splits, axis, space, step) {
  return splits.map((seconds) => {
    const date = new Date(seconds * 1_000);
    if (step >= 86_400) return `${date.getDate()}/${date.getMonth() + 1}`;
    return `${two(date.getHours())}:${two(date.getMinutes())}${step < 60 ? `:${two(date.getSeconds())}` : ""}`;
  });
}
