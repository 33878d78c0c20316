// All resources: searched, filtered, sorted and paged by the server; the address has it all.

import { call } from "../api.js";
import { commands } from "../commands.js";
import { h, renew } from "../dom.js";
import { filterForm } from "../filter-form.js";
import { choice, copyable, field, holder, input, pages, resource, state, table } from "../parts.js";
import { link } from "../route.js";
import { may } from "../session.js";
import { button, onMany } from "../verbs.js";
import { STATES, counted, number, visible } from "../words.js";

const PAGE = 100;

export function resources(route, { signal, figures, told, failed }) {
  const query = queryOf(route.query);
  const asked = { filter: filterOf(query), pageSize: PAGE, pageToken: query.page, orderBy: query.order };
  const results = h("div", {});
  const types = figures().types;
  const names = (key) => [...new Set(types.map((one) => one[key]))].sort();
  const form = filterForm("resources", [
    field("text", "Search", input("text", query.text)),
    field("owner", "Owner", choice("owner", query.owner, names("owner"))),
    field("type", "Type", choice("type", query.type, names("type"))),
    field("holder", "Holder", input("holder", query.holder)),
    field("rule", "Rule", input("rule", query.rule)),
    h("fieldset", {}, h("legend", { class: "apart" }, "State"), Object.keys(STATES).map((word) => box("state", word, query.state.includes(word), word)), box("pinned", "yes", query.pinned !== "", "pinned")),
  ], { order: query.order });
  const sort = { order: query.order || "name", link: (order) => link("resources", [], { ...query, order, page: "", from: "" }) };

  function show(answer) {
    const rows = answer.resources;
    renew(results, pages("resources", query, rows.length, answer), table(`${counted(answer.total, "resource")}, as of revision ${answer.revision}`, COLUMNS, rows, { sort, empty: "Nothing fits." }));
  }

  return {
    title: "Resources",
    element: h("div", {}, h("h1", { tabindex: -1 }, "Resources"), form, many(asked.filter, told, failed), results, h("p", { class: "label" }, "The same on the command line:"), copyable(commands.list(query)).element),
    filter: asked.filter,
    refresh: async () => show(await call("ListResources", asked, signal)),
  };
}

const COLUMNS = [
  { title: "Resource", order: "name", wide: true, cell: (row) => resource(row.name) },
  { title: "State", order: "state", cell: (row) => [state(row.state), row.pinned && h("span", { class: "tag" }, "pinned"), row.hastened && h("span", { class: "tag" }, "hastened")] },
  { title: "Held by", cell: heldBy },
  { title: "Rule", cell: (row) => [visible(row.rule), row.mode !== "sweep" && h("span", { class: "tag" }, row.mode)] },
  { title: "Grace", cell: (row) => row.graceClass },
  { title: "Needed by", number: true, cell: (row) => (row.referencedBy ? number(row.referencedBy) : "") },
  { title: "Created at", order: "created", number: true, cell: (row) => row.createdRevision },
  { title: "Condemned at", order: "condemned", number: true, cell: (row) => (row.tombstoneRevision === "0" ? "" : row.tombstoneRevision) },
];

function heldBy(row) {
  const [first] = row.heldBy;
  if (!first) return h("span", { class: "faint" }, row.holds ? `nobody; ${number(row.holds)} before` : "nobody");
  return [holder(first), row.heldBy.length > 1 && ` and ${row.heldBy.length - 1} more`];
}

function box(name, value, checked, word) {
  const id = `filter-${name}-${value}`;
  return h("label", { class: "box", for: id, title: STATES[word] }, h("input", { type: "checkbox", id, name, value, checked }), name === "state" ? h("span", { class: `state ${word}` }, word) : word);
}

/** What may be done to all that fit: only with a filter, and only by an admin. */
function many(filter, told, failed) {
  if (!may("admin")) return null;
  const says = {
    sweep: ["The rest of the grace of all these is waived. All is proved again before anything is deleted, and any use still saves it."],
    release: ["These holds of dead holders are let go of. What has no other hold left is condemned, and deleted after its grace."],
  };
  const nothing = Object.keys(filter).length === 0;
  const done = (verb, result) => told(`${verb.word}: ${result.done} of ${result.count} done${result.refused.length ? `; refused: ${result.refused[0].what}: ${result.refused[0].why}` : ""}`);
  const verb = (method, word, why) => ({ role: "admin", word, act: () => onMany({ method, word, says: why, asked: { filter } }) });
  const buttons = [button(verb("SweepNowMany", "Sweep now", says.sweep), done, failed), button(verb("ReleaseMany", "Release dead holds", says.release), done, failed)];
  if (nothing) for (const one of buttons) one.disabled = true;
  return h("div", { class: "many" }, h("span", { class: "label" }, nothing ? "With all that fit (set a filter first):" : "With all that fit:"), buttons);
}

function queryOf(found) {
  const one = (key) => found.get(key) ?? "";
  return { text: one("text"), owner: one("owner"), type: one("type"), holder: one("holder"), rule: one("rule"), state: found.getAll("state"), pinned: one("pinned"), order: one("order"), page: one("page"), from: one("from") };
}

function filterOf(query) {
  const filter = {};
  for (const key of ["text", "owner", "type", "holder", "rule"]) if (query[key]) filter[key] = query[key];
  if (query.state.length) filter.states = query.state;
  if (query.pinned) filter.pinned = true;
  return filter;
}
