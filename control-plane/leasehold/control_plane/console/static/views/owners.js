// Owners: whether they are called, how a delete is guarded there, what they have of ours, and how they answer.

import { call } from "../api.js";
import { h, renew } from "../dom.js";
import { bar, table } from "../parts.js";
import { link } from "../route.js";
import { counted, number, visible } from "../words.js";

const LOOKED_AT = 1000;
const ALL = ["held", "unheld", "condemned", "inGrace", "prepared", "sent", "quarantined", "observeOnly", "unaccounted"];

export function owners(_, { signal, again }) {
  const place = h("div", {});

  function show([{ owners: found, revision }, { sweeps, total }]) {
    const most = Math.max(1, ...found.map((one) => one.counts.resources));
    const columns = [
      { title: "Owner", cell: (row) => h("a", { class: "id", href: link("resources", [], { owner: row.name }) }, visible(row.name)) },
      { title: "Breaker", cell: (row) => [h("span", { class: row.calling === "calling" || !row.calling ? "" : "wrong" }, row.calling ? visible(row.calling) : "not called yet"), row.problem && h("p", { class: "wrong" }, visible(row.problem))] },
      { title: "Precondition", cell: (row) => row.precondition || "unknown" },
      { title: "Where", cell: (row) => h("span", { class: "id" }, visible(row.origin)) },
      { title: "Rules", cell: (row) => row.rules.map((one) => [h("a", { href: link("resources", [], { rule: one }) }, visible(one)), " "]) },
      { title: "Recorded", number: true, cell: (row) => number(row.counts.resources) },
      { title: "Of what state", wide: true, cell: (row) => bar(row.counts, most, ALL) },
      { title: "Last answers", cell: (row) => mix(sweeps.filter((one) => one.resource.name.owner === row.name)) },
    ];
    renew(place, table(`${counted(found.length, "owner")}, as of revision ${revision}`, columns, found, { empty: "No owner is configured." }),
      h("p", { class: "faint" }, `Last answers are of sweeps that are under way or quarantined${total > sweeps.length ? `, the first ${sweeps.length} of ${number(total)}` : ""}; what is gone is not among them.`));
  }

  return {
    title: "Owners",
    element: h("div", {}, h("h1", { tabindex: -1 }, "Owners"), place),
    refresh: async () => show(await Promise.all([call("ListOwners", {}, signal), call("ListSweeps", { pageSize: LOOKED_AT }, signal)])),
    onOverview: () => again(),
  };
}

/** How often each outcome was the last. */
function mix(sweeps) {
  const found = new Map();
  for (const { sweep } of sweeps) {
    const outcome = sweep?.outcome || "no answer yet";
    found.set(outcome, (found.get(outcome) ?? 0) + 1);
  }
  if (!found.size) return h("span", { class: "faint" }, "none");
  const rows = [...found].sort((one, other) => other[1] - one[1]);
  return h("ul", { class: "names" }, rows.map(([outcome, count]) => h("li", {}, `${number(count)} \u00d7 ${visible(outcome)}`)));
}
