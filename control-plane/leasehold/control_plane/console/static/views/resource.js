// One resource: where it stands, why, what comes next and when, who holds it, what needs it, and what may be done.

import { call } from "../api.js";
import { commands } from "../commands.js";
import { h, renew } from "../dom.js";
import { graph } from "../graph.js";
import { copyable, holder, resourceNamed, state, table, time } from "../parts.js";
import { link, textOf } from "../route.js";
import { button, release, verbsOn } from "../verbs.js";
import { duration, visible } from "../words.js";

const MOST_NODES = 60;
const WAITS = {
  grace: "Waits for an epoch to begin its grace.", owner: "Waits for its owner's answer.", holder: "Kept by its holders.", brake: "Waits: the brake is on, nothing is collected.",
  pin: "Kept by its pin.", collector: "Waits for the collector's next look.", operator: "Tried again about once an hour, until its owner deletes it or an admin purges it.", nothing: "Kept.",
};

export function resource(route, { signal, told, failed }) {
  const [owner = "", type = "", id = ""] = route.parts;
  const name = { owner, type, id };
  const [head, verbs, why, holds, drawn, line, facts] = ["head", "verbs", "why", "holds", "drawn", "line", "facts"].map((one) => h("section", { class: one }));
  const done = (verb) => told(`${verb.word}: done`);
  let ends = null;

  function show([found, said, around]) {
    const { waitingFor, secondsLeft } = found.countdown;
    ends = waitingFor === "grace" && secondsLeft >= 0 ? performance.now() + secondsLeft * 1000 : null;
    renew(head, h("p", { class: "stands" }, state(found.resource.state), found.resource.pinned && h("span", { class: "tag" }, "pinned"), h("span", { id: "countdown" })));
    tick(waitingFor);
    renew(why, h("h2", {}, "Why"), h("ul", {}, said.sentences.map((one) => h("li", {}, visible(one)))), h("h2", {}, "What comes next"), h("ul", {}, said.next.map((one) => h("li", {}, visible(one)))), copyable(commands.why(name)).element);
    renew(verbs, h("h2", {}, "Verbs"), verbsOf(found));
    renew(holds, h("h2", {}, "Holders"), holdsOf(found));
    renew(drawn, h("h2", {}, "Holders and references"), around.resources.length ? h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The graph" }, graph(around.resources, textOf(name))) : h("p", { class: "faint" }, "Nothing to draw."), around.truncated && h("p", { class: "faint" }, `Only the first ${MOST_NODES} are drawn.`), referencesOf(found));
    renew(line, h("h2", {}, "Timeline"), timeline(found.timeline));
    renew(facts, h("h2", {}, "Record"), h("dl", { class: "facts" }, factsOf(found).map(([word, value]) => h("div", {}, h("dt", {}, word), h("dd", {}, value)))));
  }

  function tick(waitingFor) {
    const at = document.getElementById("countdown");
    if (!at) return;
    const left = ends === null ? null : (ends - performance.now()) / 1000;
    at.textContent = left === null ? WAITS[waitingFor] ?? `Waits for ${waitingFor}.` : left > 0 ? `The sweep comes in ${duration(left)} at the earliest.` : "Its grace is over; the collector looks again.";
  }

  function verbsOf(found) {
    const able = verbsOn(found);
    if (found.resource.state === "quarantined") return h("p", {}, h("a", { href: link("sweeps", [], { owner, type, text: textOf(name) }) }, "In the quarantine an admin may purge it"));
    if (!able.length) return h("p", { class: "faint" }, found.resource.state ? "None: its sweep is under way, and the collector alone may call it off." : "None.");
    return able.map((verb) => h("div", { class: "verb" }, button(verb, done, failed), copyable(verb.deed.command("...")).element));
  }

  function holdsOf(found) {
    const open = ["prepared", "sent", "quarantined", ""].includes(found.resource.state);
    const columns = [
      { title: "Holder", wide: true, cell: (row) => holder(row.holder) },
      { title: "Status", cell: (row) => h("span", { class: `status ${row.status}` }, row.status + (row.ended ? `: ${row.ended}` : "")) },
      { title: "Kind", cell: (row) => row.kind },
      { title: "Since", cell: (row) => time(row.since) },
      { title: "Why", cell: (row) => visible(row.why) },
      { title: "Verb", cell: (row) => (open || row.status === "released" ? "" : button(release(name, row), done, failed)) },
    ];
    return table("Who has or had a hold on it", columns, found.holds, { empty: "No hold is recorded." });
  }

  const clock = setInterval(() => ends !== null && tick("grace"), 1000);
  signal.addEventListener("abort", () => clearInterval(clock));
  return {
    title: visible(textOf(name)),
    element: h("div", {}, h("p", { class: "crumbs" }, h("a", { href: link("resources") }, "Resources"), " / ", h("a", { href: link("resources", [], { owner }) }, owner), " / ", h("a", { href: link("resources", [], { owner, type }) }, type)), h("h1", { class: "id", tabindex: -1 }, visible(id)), head,
      h("div", { class: "columns" }, h("div", {}, why, holds, drawn), h("div", {}, verbs, line, facts))),
    filter: { owner, type, text: textOf(name) },
    concerns: (changed) => textOf(changed) === textOf(name),
    async refresh() {
      const asked = { name };
      show(await Promise.all([call("GetResource", asked, signal), call("Why", asked, signal), call("Graph", { around: name, maxNodes: MOST_NODES }, signal)]));
    },
  };
}

function referencesOf(found) {
  const list = (word, names) => names.length > 0 && h("div", {}, h("dt", {}, word), h("dd", {}, h("ul", { class: "names" }, names.map((one) => h("li", {}, resourceNamed(one))))));
  return h("dl", { class: "facts" }, list("needs", found.references), list("needed by", found.referencedBy));
}

function timeline(events) {
  return h("ol", { class: "timeline" }, events.map((one) => h("li", { class: one.what }, h("span", { class: "what" }, one.what), h("span", { class: "when" }, time(one.time)), h("span", { class: "who id" }, visible(one.who)), h("span", { class: "text" }, visible(one.text)), h("span", { class: "faint" }, `revision ${one.revision}`))));
}

function factsOf(found) {
  const { rule, mode, graceClass, creator, incarnation, createdRevision, revision } = found.resource;
  const { tombstone, sweep, pin, labels, trace, grave } = found;
  return [
    ["rule", `${visible(rule)} (${mode})`], ["grace", graceClass], ["created by", creator ? holder(creator) : "nobody said"],
    ["incarnation", h("span", { class: "id" }, visible(incarnation))], ["revisions", `created at ${createdRevision}, changed at ${revision}, read at ${found.revision}`],
    trace && ["trace", h("span", { class: "id" }, visible(trace))],
    pin && ["pinned by", `${visible(pin.who)}: ${visible(pin.why)}`],
    tombstone && ["condemned", `${visible(tombstone.reason)} (evidence of revision ${tombstone.evidenceRevision})`],
    tombstone && ["epoch", tombstone.epoch === "0" ? "none has opened since" : `${tombstone.epoch}, ${tombstone.epochDone ? "done" : "running"}`],
    tombstone?.cycle.length > 0 && ["condemned with", tombstone.cycle.map((one) => [resourceNamed(one), " "])],
    sweep && ["sweep", `${sweep.state}, attempt ${sweep.attempt}, fence ${sweep.fence}: ${visible(sweep.outcome) || "no answer yet"}`],
    grave && ["before", visible(grave)],
    ...Object.entries(labels).map(([key, value]) => [`label ${visible(key)}`, visible(value)]),
  ].filter(Boolean);
}
