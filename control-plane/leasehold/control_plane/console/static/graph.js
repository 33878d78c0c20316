// Who holds what and which resources need each other, as SVG. From left to right: whoever is on the left needs what
// is on its right.

import { s } from "./dom.js";
import { PIN } from "./parts.js";
import { link, linkTo, nameOf } from "./route.js";
import { visible } from "./words.js";

const WIDE = 204;
const HIGH = 30;
const GAP_X = 52;
const GAP_Y = 12;
const SHOWN_HOLDERS = 4;
const LETTERS = 26;

/** `nodes`: of the API's Graph; `centre`: `owner/type/id`. */
export function graph(nodes, centre) {
  const boxes = boxesOf(nodes);
  const arrows = arrowsOf(nodes, boxes);
  place(boxes, arrows, centre);
  const all = [...boxes.values()];
  const width = Math.max(...all.map((box) => box.x)) + WIDE + 8;
  const height = Math.max(...all.map((box) => box.y)) + HIGH + 8;
  return s("svg", { class: "graph", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Holders and references: what is on the left needs what is on its right" },
    arrows.map(([from, to]) => arrow(boxes.get(from), boxes.get(to))), all.map((box) => drawn(box, centre)));
}

function boxesOf(nodes) {
  const boxes = new Map(nodes.map((node) => [`r ${node.resource}`, { node, text: node.resource, state: node.state }]));
  for (const node of nodes) {
    for (const one of node.heldBy.slice(0, SHOWN_HOLDERS)) boxes.set(`h ${one}`, { text: one, holder: true });
  }
  return boxes;
}

function arrowsOf(nodes, boxes) {
  const arrows = [];
  for (const node of nodes) {
    for (const one of node.heldBy.slice(0, SHOWN_HOLDERS)) arrows.push([`h ${one}`, `r ${node.resource}`]);
    for (const one of node.needs) if (boxes.has(`r ${one}`)) arrows.push([`r ${node.resource}`, `r ${one}`]);
  }
  return arrows;
}

/** Columns by how far each is from the centre, along the arrows or against them; rows as they come. */
function place(boxes, arrows, centre) {
  const column = new Map([[`r ${centre}`, 0]]);
  const queue = [`r ${centre}`];
  for (let at = 0; at < queue.length; at += 1) {
    for (const [from, to] of arrows) {
      const [next, step] = from === queue[at] ? [to, 1] : to === queue[at] ? [from, -1] : [null, 0];
      if (next === null || column.has(next)) continue;
      column.set(next, column.get(queue[at]) + step);
      queue.push(next);
    }
  }
  const least = Math.min(...column.values());
  const filled = new Map();
  for (const [key, box] of boxes) {
    const n = (column.get(key) ?? 0) - least;
    const row = filled.get(n) ?? 0;
    filled.set(n, row + 1);
    Object.assign(box, { n, x: 4 + n * (WIDE + GAP_X), y: 4 + row * (HIGH + GAP_Y) });
  }
  const tallest = Math.max(...filled.values());
  for (const box of boxes.values()) box.y += ((tallest - filled.get(box.n)) * (HIGH + GAP_Y)) / 2;
}

function arrow(from, to) {
  const forward = to.x > from.x;
  const [x1, y1] = [forward ? from.x + WIDE : from.x, from.y + HIGH / 2];
  const [x2, y2] = [forward ? to.x - 6 : to.x + WIDE + 6, to.y + HIGH / 2];
  const bend = forward ? GAP_X / 2 : -GAP_X / 2;
  const tip = forward ? -1 : 1;
  return [
    s("path", { class: "arrow", d: `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` }),
    s("path", { class: "tip", d: `M${x2 - tip * 6} ${y2} l${tip * 7} -4 v8 z` }),
  ];
}

function drawn(box, centre) {
  const pin = box.text === PIN;
  const text = pin ? "a pin" : visible(box.text);
  const short = text.length > LETTERS ? `\u2026${text.slice(1 - LETTERS)}` : text;
  const kind = box.holder ? "holder" : `resource ${box.state}${box.text === centre ? " centre" : ""}`;
  const href = pin ? link("resources", [], { pinned: "yes" }) : box.holder ? link("resources", [], { holder: box.text }) : linkTo(nameOf(box.text));
  const said = pin ? text : box.holder ? `holder ${text}` : `${text}, ${box.state}`;
  return s("a", { href, "aria-label": said, class: kind }, s("title", {}, said),
    s("rect", { x: box.x, y: box.y, width: WIDE, height: HIGH, rx: box.holder ? HIGH / 2 : 2 }),
    !box.holder && s("rect", { class: `fill ${box.state}`, x: box.x, y: box.y, width: 5, height: HIGH }),
    s("text", { x: box.x + 14, y: box.y + HIGH / 2 + 4 }, short));
}
