// How many are where, how that went over the last hour, what leaks most, and whether anything is being collected.

import { call } from "../api.js";
import { chart } from "../charts.js";
import { h, renew } from "../dom.js";
import { bar, table } from "../parts.js";
import { link } from "../route.js";
import { ABANDONED, STATES, clock, fieldOf, number, visible } from "../words.js";

const CHARTS = [["Held", ["held"]], ["On their way out", ["unheld", "condemned", "in-grace"]], ["Being swept", ["prepared", "sent"]], ["Quarantined", ["quarantined"]]];
const MOST_POINTS = 720;
const FIRST_TYPES = 20;

export function overview(_, { signal, again }) {
  const [states, charts, types, backlog, brake] = ["states", "lately", "types", "backlog", "brake"].map((id) => h("section", { class: id }));
  const note = h("p", { class: "faint" });
  let points = [];

  function show(now) {
    renew(states, h("h2", { class: "apart" }, "States"), h("dl", { class: "figures" }, h("div", {}, h("dt", {}, h("a", { href: link("resources") }, "all")), h("dd", {}, number(now.total.resources))), Object.keys(STATES).map((word) => figure(now, word))));
    renew(backlog, h("h2", {}, "Backlog"), facts(backlogOf(now)));
    renew(brake, h("h2", {}, "Brake"), h("p", { class: now.braked ? "wrong" : "" }, now.braked ? `Nothing is collected: ${visible(now.braked)}` : "Armed: what nobody holds is collected."), h("a", { href: link("brake") }, "Who, why, since when"));
    renew(types, h("h2", {}, "Leaks by type"), leaks(now));
    renew(charts, h("h2", {}, "The last hour"), h("div", { class: "charts" }, CHARTS.map((one) => chartOf(one, points))));
    note.textContent = `As of ${clock(now.time)}, revision ${now.revision}.`;
  }

  return {
    title: "Overview",
    element: h("div", {}, h("h1", { tabindex: -1 }, "Overview"), states, h("div", { class: "columns" }, h("div", {}, charts, types), h("div", {}, brake, backlog)), note),
    async refresh() {
      const found = (await call("Overview", { history: true }, signal)).overview;
      points = found.history.concat({ time: found.time, total: found.total });
      show(found);
    },
    onAlive: again,
    onOverview(now) {
      points = points.concat({ time: now.time, total: now.total }).slice(-MOST_POINTS);
      show(now);
    },
  };

  function figure(now, word) {
    const count = now.total[fieldOf(word)];
    return h("div", { class: count ? "" : "none" }, h("dt", {}, h("a", { class: `state ${word}`, href: link("resources", [], { state: word }), title: STATES[word] }, word)), h("dd", {}, number(count)));
  }
}

function chartOf([label, series], points) {
  const drawn = points.map((point) => ({ at: Date.parse(point.time), values: series.map((word) => point.total[fieldOf(word)]) }));
  return h("figure", {}, h("figcaption", {}, h("span", {}, label), series.length > 1 && series.map((word) => h("span", { class: `state ${word}` }, word))), chart(label, drawn, series));
}

function backlogOf(now) {
  return [
    ["wait for the sweep", now.total.unheld + now.total.condemned + now.total.inGrace, link("resources", [], { state: ["unheld", "condemned", "in-grace"] })],
    ["at their owners", now.total.prepared + now.total.sent, link("sweeps", [], { state: "sent" })],
    ["quarantined", now.total.quarantined, link("sweeps")],
    ["holders alive", now.holdersAlive, link("holders", [], { status: "alive" })],
    ["holders vanished", now.holdersVanished, link("holders", [], { status: "vanished" })],
    ["suspects: calls of ended holders, outcome unknown", now.suspects, null],
    ["records that cannot be read", now.unreadable, null],
  ];
}

function facts(rows) {
  return h("dl", { class: "facts" }, rows.map(([word, count, href]) => h("div", {}, h("dt", {}, href ? h("a", { href }, word) : word), h("dd", { class: "number" }, number(count)))));
}

function leaks(now) {
  const sum = (counts) => ABANDONED.reduce((all, field) => all + counts[field], 0);
  const rows = [...now.types].sort((one, other) => sum(other.counts) - sum(one.counts)).slice(0, FIRST_TYPES);
  const most = Math.max(1, ...rows.map((row) => sum(row.counts)));
  const columns = [
    { title: "Owner and type", cell: (row) => h("a", { class: "id", href: link("resources", [], { owner: row.owner, type: row.type }) }, `${row.owner}/${row.type}`) },
    { title: "Recorded", number: true, cell: (row) => number(row.counts.resources) },
    { title: "Abandoned", number: true, cell: (row) => number(sum(row.counts)) },
    { title: "Of what state", wide: true, cell: (row) => bar(row.counts, most) },
  ];
  const caption = now.types.length > rows.length ? `The first ${FIRST_TYPES} of ${now.types.length} types, by how many nobody holds` : "Types, by how many nobody holds";
  return table(caption, columns, rows, { empty: "Nothing is recorded yet." });
}
