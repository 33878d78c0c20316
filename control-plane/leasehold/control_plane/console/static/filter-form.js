// A filter as a form: whatever is chosen goes into the address at once, and the address is what is shown.

import { h } from "./dom.js";
import { go, link } from "./route.js";

/** `fields`: elements with controls; `kept`: what else of the query stays (such as the order). */
export function filterForm(view, fields, kept = {}) {
  const apply = (event) => {
    event.preventDefault();
    go(link(view, [], { ...queryOf(form), ...kept }));
  };
  const form = h("form", { class: "filter", role: "search", onsubmit: apply, onchange: apply }, fields,
    h("div", { class: "buttons" }, h("button", { type: "submit" }, "Show"), h("a", { id: "clear", href: link(view) }, "Clear")));
  return form;
}

function queryOf(form) {
  const query = {};
  for (const [key, value] of new FormData(form)) {
    const text = value.trim();
    if (text) query[key] = key in query ? [query[key], text].flat() : text;
  }
  return query;
}
