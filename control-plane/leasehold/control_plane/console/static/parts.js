// Small things that several views show: states, names, times, holders, bars, tables, pages, copies.

import { h, s } from "./dom.js";
import { link, linkTo, nameOf, textOf } from "./route.js";
import { ABANDONED, STATES, clock, fieldOf, number, stateOf, visible } from "./words.js";

/** The holder in whose name a pin keeps a resource. */
export const PIN = "!pin";

export function state(word) {
  return h("span", { class: `state ${word in STATES ? word : ""}`, title: STATES[word] }, word || "gone");
}

/** A link to one resource. */
export function resource(name) {
  const prefix = h("span", { class: "prefix" }, `${name.owner}/${name.type}/`);
  return h("a", { class: "id", href: linkTo(name), title: textOf(name) }, prefix, visible(name.id));
}

/** The same, of `owner/type/id`. */
export const resourceNamed = (text) => resource(nameOf(text));

/** A link to what a holder holds. A pin keeps a resource as a holder does, and is none. */
export function holder(text) {
  if (text === PIN) return h("a", { href: link("resources", [], { pinned: "yes" }) }, "a pin");
  return h("a", { class: "id", href: link("resources", [], { holder: text }), title: text }, visible(text));
}

export function time(text) {
  return text ? h("time", { datetime: text, title: text }, clock(text)) : null;
}

/** A bar of all states in `counts` that are named in `fields`, its whole length being `most`. */
export function bar(counts, most, fields = ABANDONED) {
  const parts = [];
  let from = 0;
  for (const field of fields) {
    const width = most ? (100 * counts[field]) / most : 0;
    if (width) parts.push(s("rect", { class: `fill ${stateOf(field)}`, x: from, y: 0, width, height: 10 }));
    from += width;
  }
  const said = fields.filter((field) => counts[field]).map((field) => `${number(counts[field])} ${stateOf(field)}`);
  const label = said.join(", ") || "none";
  return s("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img", "aria-label": label }, s("title", {}, label), parts);
}

/** `columns`: { title, cell(row), order (the API's word), number (right-aligned) }. `sort`: { order, link(order) }. */
export function table(caption, columns, rows, { sort = null, empty = "None." } = {}) {
  const head = columns.map((column) => h("th", { scope: "col", class: column.number && "number", "aria-sort": sorted(column, sort) }, title(column, sort)));
  const body = rows.map((row) => h("tr", {}, columns.map((column) => h("td", { class: column.number ? "number" : column.wide && "wide" }, column.cell(row)))));
  const none = rows.length ? null : h("tr", {}, h("td", { colspan: columns.length, class: "faint" }, empty));
  const whole = h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body, none));
  return h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: 0, onkeydown: moveByArrows }, whole);
}

function title(column, sort) {
  if (!sort || !column.order) return column.title;
  const up = sort.order === column.order;
  const mark = up ? " \u2191" : sort.order === `-${column.order}` ? " \u2193" : "";
  return h("a", { href: sort.link(up ? `-${column.order}` : column.order) }, column.title, h("span", { "aria-hidden": "true" }, mark));
}

function sorted(column, sort) {
  if (!sort || !column.order) return null;
  return sort.order === column.order ? "ascending" : sort.order === `-${column.order}` ? "descending" : null;
}

/** Arrow keys move from row to row. */
function moveByArrows(event) {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const links = [...event.currentTarget.querySelectorAll("tbody tr")].map((row) => row.querySelector("a")).filter(Boolean);
  const at = links.findIndex((one) => one.closest("tr").contains(document.activeElement));
  const next = links[at < 0 ? 0 : at + (event.key === "ArrowDown" ? 1 : -1)];
  if (!next) return;
  event.preventDefault();
  next.focus();
}

/** Which of how many are shown, and the ways to the others. `answer`: of a list that comes in pages. */
export function pages(view, query, shown, answer) {
  const from = Number(query.from ?? 0);
  const total = answer.total ?? null;
  const range = shown ? `${number(from + 1)} to ${number(from + shown)}${total === null ? "" : ` of ${number(total)}`}` : `0${total === null ? "" : ` of ${number(total)}`}`;
  const rest = { ...query, page: "", from: "" };
  const next = answer.nextPageToken && { ...query, page: answer.nextPageToken, from: from + shown };
  return h("nav", { class: "pages", "aria-label": "Pages" }, h("span", { id: "range" }, range),
    query.page && h("a", { id: "first-page", href: link(view, [], rest) }, "First page"),
    next && h("a", { id: "next-page", href: link(view, [], next) }, "Next page"));
}

/** A command, and a button that copies it. `text` may be a function, asked when it is needed. */
export function copyable(text) {
  const said = h("span", { class: "copied", role: "status" });
  const code = h("code", {}, visible(text));
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(code.dataset.exact);
      said.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(code);
      said.textContent = "selected: press Ctrl+C";
    }
  };
  code.dataset.exact = text;
  const show = (again) => {
    code.dataset.exact = again;
    code.textContent = visible(again);
    said.textContent = "";
  };
  const element = h("div", { class: "command" }, code, h("button", { type: "button", class: "quiet", "aria-label": `Copy the command ${visible(text)}`, onclick: copy }, "Copy"), said);
  return { element, show };
}

/** One field of a filter. */
export function field(name, label, control) {
  return h("label", { class: "field", for: `filter-${name}` }, h("span", {}, label), control);
}

export function input(name, value, type = "search") {
  return h("input", { id: `filter-${name}`, name, type, value, autocomplete: "off", spellcheck: "false", maxlength: 1024 });
}

export function choice(name, value, options, any = "any") {
  const all = options.includes(value) || !value ? options : [value, ...options];
  return h("select", { id: `filter-${name}`, name }, [["", any], ...all.map((one) => [one, one])].map(([key, word]) => h("option", { value: key, selected: key === value }, visible(word))));
}

export const countsIn = (counts, states) => states.reduce((sum, one) => sum + counts[fieldOf(one)], 0);
