// What people and their tools did, to what, and why; the newest first.

import { call } from "../api.js";
import { h, renew } from "../dom.js";
import { filterForm } from "../filter-form.js";
import { choice, field, input, pages, table, time } from "../parts.js";
import { number, visible } from "../words.js";

const PAGE = 100;
const SHOWN = 3;
const METHODS = ["Pin", "Unpin", "Restore", "Release", "SweepNow", "PurgeQuarantine", "TripBrake", "ArmBrake", "ApplyRules"];

export function audit(route, { signal }) {
  const query = Object.fromEntries(["text", "who", "method", "page", "from"].map((key) => [key, route.query.get(key) ?? ""]));
  const { text, who, method, page } = query;
  const results = h("div", {});
  const form = filterForm("audit", [field("text", "Search", input("text", text)), field("who", "Who", input("who", who)), field("method", "Method", choice("method", method, METHODS))]);
  return {
    title: "Audit",
    element: h("div", {}, h("h1", { tabindex: -1 }, "Audit"), form, results),
    async refresh() {
      const answer = await call("ListAudit", { text, who, method, pageToken: page, pageSize: PAGE }, signal);
      renew(results, pages("audit", query, answer.entries.length, answer), table("The newest first", COLUMNS, answer.entries, { empty: "Nothing is written down." }));
    },
  };
}

const COLUMNS = [
  { title: "When", cell: (row) => time(row.time) },
  { title: "Who", cell: (row) => h("span", { title: `known by ${row.knownBy}${row.peer ? `, from ${row.peer}` : ""}` }, `${visible(row.who)}, ${row.role}`) },
  { title: "Method", cell: (row) => row.method },
  { title: "About", wide: true, cell: (row) => h("span", { class: "id" }, visible(row.about.slice(0, SHOWN).join(", ")), row.count > SHOWN && ` and ${number(row.count - SHOWN)} more`) },
  { title: "Why", wide: true, cell: (row) => visible(row.why) },
  { title: "Details", cell: (row) => Object.entries(row.details).map(([key, value]) => visible(`${key}: ${value} `)) },
  { title: "Replica", cell: (row) => visible(row.replica) },
];
