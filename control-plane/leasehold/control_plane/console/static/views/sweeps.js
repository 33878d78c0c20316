// Sweeps that are under way or quarantined, each with the last answer of its owner.

import { call } from "../api.js";
import { h, renew } from "../dom.js";
import { filterForm } from "../filter-form.js";
import { choice, field, input, pages, resource, state, table, time } from "../parts.js";
import { link } from "../route.js";
import { may } from "../session.js";
import { button, onMany } from "../verbs.js";
import { counted, number, visible } from "../words.js";

const PAGE = 100;
const KEYS = ["text", "owner", "type", "page", "from"];

export function sweeps(route, { signal, figures, told, failed, again }) {
  const query = { ...Object.fromEntries(KEYS.map((key) => [key, route.query.get(key) ?? ""])), state: route.query.get("state") ?? "quarantined" };
  const { text, owner, type, page } = query;
  const wanted = query.state === "all" ? "" : query.state;
  const results = h("div", {});
  const names = (key) => [...new Set(figures().types.map((one) => one[key]))].sort();
  const form = filterForm("sweeps", [
    field("text", "Search", input("text", text)),
    field("owner", "Owner", choice("owner", owner, names("owner"))),
    field("type", "Type", choice("type", type, names("type"))),
    field("state", "State", stateChoice(query.state)),
  ]);
  return {
    title: "Quarantine",
    element: h("div", {}, h("h1", { tabindex: -1 }, "Quarantine and sweeps under way"), h("p", {}, "What an owner would not delete is tried again by itself about once an hour, for ever. Once the owner is well again it needs nothing more."), form, purge({ text, owner, type }, told, failed), results),
    async refresh() {
      const answer = await call("ListSweeps", { text, owner, type, state: wanted, pageToken: page, pageSize: PAGE }, signal);
      renew(results, pages("sweeps", query, answer.sweeps.length, answer), table(`${counted(answer.total, "sweep")}, as of revision ${answer.revision}`, COLUMNS, answer.sweeps, { empty: "None." }));
    },
    onOverview(now, before) {
      if (["prepared", "sent", "quarantined"].some((field) => now.total[field] !== before.total[field])) again();
    },
  };
}

const COLUMNS = [
  { title: "Resource", wide: true, cell: (row) => resource(row.resource.name) },
  { title: "State", cell: (row) => state(row.sweep.state) },
  { title: "Attempts", number: true, cell: (row) => number(row.sweep.attempt) },
  { title: "Last answer", wide: true, cell: (row) => visible(row.sweep.outcome) || h("span", { class: "faint" }, "none yet") },
  { title: "Since", cell: (row) => time(row.sweep.since) },
  { title: "Found dead", cell: (row) => h("span", { class: "id" }, visible(row.sweep.holders.join(", "))) },
];

function stateChoice(value) {
  return h("select", { id: "filter-state", name: "state" }, ["quarantined", "prepared", "sent", "all"].map((one) => h("option", { value: one, selected: one === value }, one)));
}

/** Forgetting needs a filter of one's own: nobody means everything by having said nothing. */
function purge(query, told, failed) {
  if (!may("admin")) return null;
  const filter = Object.fromEntries(Object.entries(query).filter(([, value]) => value));
  const says = ["These are forgotten: their owners are not asked again, and what is left there is nobody's business any more. It cannot be undone."];
  const verb = { role: "admin", word: "Purge", act: () => onMany({ method: "PurgeQuarantine", word: "Purge", says, asked: { filter: { ...filter, states: ["quarantined"] } } }) };
  const done = (_, result) => told(`Purge: ${result.done} of ${result.count} forgotten${result.refused.length ? `; refused: ${result.refused[0].what}: ${result.refused[0].why}` : ""}`);
  const nothing = Object.keys(filter).length === 0;
  const purges = button(verb, done, failed);
  if (nothing) purges.disabled = true;
  return h("div", { class: "many" }, h("span", { class: "label" }, nothing ? "With all quarantined that fit (set a filter first):" : "With all quarantined that fit:"), purges, h("a", { href: link("owners") }, "What their owners answer"));
}
