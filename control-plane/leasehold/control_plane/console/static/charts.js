// Small charts of the last hour, as SVG. Pure: points in, an element out.

import { s } from "./dom.js";
import { clock, number } from "./words.js";

const WIDTH = 360;
const HEIGHT = 84;
const LEFT = 44;
const TOP = 6;
const BOTTOM = 16;

/** A round number at or above `value`, for the end of an axis. */
export function roundUp(value) {
  if (value <= 4) return Math.max(value, 1);
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * size).find((one) => one >= value);
}

/**
 * `points`: { at (ms), values: [number, ...] }, the oldest first; `series`: names of states, from the bottom up, each
 * stacked upon those before.
 */
export function chart(label, points, series) {
  const sums = points.map((point) => stacked(point.values));
  const most = roundUp(Math.max(0, ...sums.map((sum) => sum.at(-1) ?? 0)));
  const [first, last] = [points[0]?.at ?? 0, points.at(-1)?.at ?? 1];
  const x = (at) => LEFT + ((WIDTH - LEFT) * (at - first)) / Math.max(last - first, 1);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most);
  const now = points.at(-1)?.values.map((value, n) => `${number(value)} ${series[n]}`).join(", ") ?? "nothing yet";
  const said = `${label}: ${now}; the axis goes up to ${number(most)}`;
  return s("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": said }, s("title", {}, said),
    [0, most].map((value) => [
      s("line", { class: "axis", x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }),
      s("text", { class: "tick end", x: LEFT - 6, y: y(value) + 4 }, number(value)),
    ]),
    series.map((name, n) => area(name, points, sums, n, x, y)).reverse(),
    points.length > 1 && [
      s("text", { class: "tick", x: LEFT, y: HEIGHT - 2 }, clock(new Date(first).toISOString(), false)),
      s("text", { class: "tick end", x: WIDTH, y: HEIGHT - 2 }, clock(new Date(last).toISOString(), false)),
    ]);
}

/** [1, 2, 3] as [1, 3, 6]. */
function stacked(values) {
  let sum = 0;
  return values.map((value) => (sum += value));
}

function area(name, points, sums, n, x, y) {
  // A line at nought would hide the one that is there.
  if (points.length < 2 || points.every((point) => !point.values[n])) return null;
  const upper = points.map((point, k) => `${x(point.at).toFixed(1)},${y(sums[k][n]).toFixed(1)}`);
  const lower = points.map((point, k) => `${x(point.at).toFixed(1)},${y(n ? sums[k][n - 1] : 0).toFixed(1)}`).reverse();
  return [
    s("polygon", { class: `area ${name}`, points: [...upper, ...lower].join(" ") }),
    s("polyline", { class: `line ${name}`, points: upper.join(" ") }),
  ];
}
