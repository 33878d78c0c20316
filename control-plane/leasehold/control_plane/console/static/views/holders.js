// Who holds what, and whether they live.

import { call } from "../api.js";
import { h, renew } from "../dom.js";
import { filterForm } from "../filter-form.js";
import { choice, field, holder, input, pages, table } from "../parts.js";
import { link } from "../route.js";
import { counted, number, visible } from "../words.js";

const PAGE = 100;
const KEYS = ["text", "status", "kind", "service", "order", "page", "from"];

export function holders(route, { signal, again }) {
  const query = Object.fromEntries(KEYS.map((key) => [key, route.query.get(key) ?? ""]));
  const { text, status, kind, service, order, page } = query;
  const results = h("div", {});
  const form = filterForm("holders", [
    field("text", "Search", input("text", text)),
    field("status", "Status", choice("status", status, ["alive", "ended", "vanished", "unknown"])),
    field("kind", "Kind", choice("kind", kind, ["process", "service", "timer", "unknown"])),
    field("service", "Service", input("service", service)),
  ], { order });
  const sort = { order: order || "name", link: (by) => link("holders", [], { ...query, order: by, page: "", from: "" }) };
  return {
    title: "Holders",
    element: h("div", {}, h("h1", { tabindex: -1 }, "Holders"), form, results),
    async refresh() {
      const answer = await call("ListHolders", { text, status, kind, service, orderBy: order, pageToken: page, pageSize: PAGE }, signal);
      renew(results, pages("holders", query, answer.holders.length, answer), table(`${counted(answer.total, "holder")}, as of revision ${answer.revision}`, COLUMNS, answer.holders, { sort, empty: "Nobody fits." }));
    },
    onOverview(now, before) {
      if (now.holdersAlive !== before.holdersAlive || now.holdersVanished !== before.holdersVanished) again();
    },
  };
}

const COLUMNS = [
  { title: "Holder", order: "name", wide: true, cell: (row) => holder(row.holder) },
  { title: "Status", cell: (row) => h("span", { class: `status ${row.status}` }, row.status + (row.ended ? `: ${row.ended}` : "")) },
  { title: "Kind", cell: (row) => row.kind },
  { title: "Service", cell: (row) => visible(row.service) },
  { title: "Instance", cell: (row) => visible(row.instance) },
  { title: "TTL", number: true, cell: (row) => `${row.ttlSeconds} s` },
  { title: "Resources", order: "resources", number: true, cell: (row) => number(row.resources) },
  { title: "Lease", number: true, cell: (row) => (row.lease === "0" ? "" : BigInt(row.lease).toString(16)) },
];
