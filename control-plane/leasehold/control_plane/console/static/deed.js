// The dialog before every deed: what will happen, why it is done, how many it touches, and the command that does the
// same. Nothing is sent before it is confirmed.

import { h } from "./dom.js";
import { copyable } from "./parts.js";
import { number } from "./words.js";

const UNCERTAIN = ["UNREACHABLE", "UNAVAILABLE", "DEADLINE_EXCEEDED"];
let serial = 0;

/**
 * `deed`: { title, says: [sentence], button, command(why) (null: there is none), count (to be typed; null: need not
 * be), list: [what it touches], run(why) }. Resolves to what `run` gave, or to null when nothing was done.
 */
export function confirmed(deed) {
  const n = (serial += 1);
  const why = h("textarea", { id: `why-${n}`, name: "why", rows: 2, required: true, maxlength: 1000, "aria-describedby": `wrong-${n}` });
  const count = deed.count === undefined || deed.count === null ? null : h("input", { id: `count-${n}`, name: "count", inputmode: "numeric", autocomplete: "off", required: true });
  const wrong = h("p", { id: `wrong-${n}`, class: "wrong", role: "alert" });
  const go = h("button", { type: "submit", class: deed.destructive ? "danger" : "main" }, deed.button);
  const line = deed.command ? copyable(deed.command("...")) : null;
  if (line) why.addEventListener("input", () => line.show(deed.command(why.value.trim() || "...")));
  const form = h("form", { novalidate: true },
    h("h2", { id: `deed-${n}` }, deed.title), deed.says.map((one) => h("p", {}, one)), touched(deed.list),
    h("label", { for: why.id }, "Why? It is stored, for whoever asks later."), why,
    count && [h("label", { for: count.id }, `Type ${deed.count} to confirm how many this touches.`), count],
    line && [h("p", { class: "label" }, "The same on the command line:"), line.element], wrong,
    h("div", { class: "buttons" }, go, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel")));
  const dialog = h("dialog", { "aria-labelledby": `deed-${n}` }, form);
  return new Promise((resolve) => {
    let result = null;
    let running = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const missing = problem(deed, why, count);
      wrong.textContent = missing ?? "";
      if (missing || running) return;
      running = true;
      go.disabled = true;
      try {
        result = (await deed.run(why.value.trim())) ?? {};
        dialog.close();
      } catch (error) {
        wrong.textContent = UNCERTAIN.includes(error.code) ? `${error.message}. It may have been done all the same: look before you repeat it.` : error.message;
      } finally {
        running = false;
        go.disabled = false;
      }
    });
    // While it is under way nobody can act as if it had been called off.
    dialog.addEventListener("cancel", (event) => running && event.preventDefault());
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    document.body.append(dialog);
    dialog.showModal();
    why.focus();
  });
}

function problem(deed, why, count) {
  if (!why.value.trim()) {
    why.focus();
    return "Why? Expected a reason.";
  }
  if (count && count.value.trim().replaceAll(",", "") !== String(deed.count)) {
    count.focus();
    return `Expected ${deed.count}, the number that this touches; nothing was done.`;
  }
  return null;
}

const LISTED = 100;

function touched(list) {
  if (!list) return null;
  const more = list.length > LISTED ? h("li", { class: "faint" }, `and ${number(list.length - LISTED)} more`) : null;
  return h("ul", { class: "touched", tabindex: 0, "aria-label": "What it touches" }, list.slice(0, LISTED).map((one) => h("li", { class: "id" }, one)), more);
}
