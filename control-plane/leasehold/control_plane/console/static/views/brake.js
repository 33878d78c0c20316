// Whether the tenant may collect, who said so, why and since when, and what would stop it.

import { call } from "../api.js";
import { h, renew } from "../dom.js";
import { copyable, time } from "../parts.js";
import { brakeVerbs, button } from "../verbs.js";
import { duration, number, visible } from "../words.js";

export function brake(_, { signal, figures, told, failed, again }) {
  const place = h("div", {});

  function show(found) {
    const on = onItsWay(figures().total);
    const verb = found.armed ? brakeVerbs.trip() : brakeVerbs.arm(on);
    renew(place,
      h("p", { class: found.braked ? "big wrong" : "big" }, found.armed ? (found.braked ? "Armed, but nothing is collected" : "Armed") : "Braked"),
      h("p", {}, found.braked ? visible(found.braked) : "What nobody holds is condemned, and swept after its grace."),
      h("dl", { class: "facts" }, factsOf(found).map(([word, value]) => h("div", {}, h("dt", {}, word), h("dd", {}, value)))),
      h("div", { class: "verb" }, button(verb, (one) => told(`${one.word}: done`), failed), copyable(verb.deed.command("...")).element));
  }

  return {
    title: "Brake",
    element: h("div", {}, h("h1", { tabindex: -1 }, "Brake"), place),
    refresh: async () => show(await call("BrakeStatus", {}, signal)),
    onOverview(now, before) {
      if (now.armed !== before.armed || now.braked !== before.braked) again();
    },
  };
}

function factsOf(found) {
  const warm = found.warmUpSecondsLeft;
  return [
    [found.armed ? "armed by" : "tripped by", found.who ? visible(found.who) : "nobody said"],
    ["why", found.why ? visible(found.why) : "nobody said"],
    ["since", time(found.since)],
    !found.armed && ["cause", found.cause || "unknown"],
    ["vanished without a word lately", `${number(found.vanishedHolders)} holders, with ${number(found.vanishedResources)} resources`],
    ["live resources", number(found.liveResources)],
    ["records lost lately", number(found.lostResources)],
    ["warm-up", warm > 0 ? `${duration(warm)} left: ${visible(found.warmUpReason)}` : warm < 0 ? `nobody can tell how long: ${visible(found.warmUpReason)}` : "over"],
  ].filter(Boolean);
}

function onItsWay(total) {
  return total.unheld + total.condemned + total.inGrace + total.prepared;
}
