// What may be done, by whom, and in which words it is asked about. Doing it is the API's.

import { call } from "./api.js";
import { commands } from "./commands.js";
import { confirmed } from "./deed.js";
import { h } from "./dom.js";
import { textOf } from "./route.js";
import { may } from "./session.js";
import { counted, number, visible } from "./words.js";

const UNDER_WAY = ["prepared", "sent", "quarantined"];

/** Verbs on one resource, as `found` (GetResourceResponse) has it: { role, word, deed }. */
export function verbsOn(found) {
  const { name, state, pinned, mode } = found.resource;
  if (!state || UNDER_WAY.includes(state)) return [];
  const condemned = ["condemned", "in-grace"].includes(state);
  const simple = (method, word, command, says, more = {}) => ({
    role: "operator", word, command: (why) => command(name, why),
    deed: { title: `${word}: ${visible(textOf(name))}`, says, button: word, run: (why) => call(method, { name, why }), ...more },
  });
  const verbs = [];
  if (!pinned) verbs.push(simple("Pin", "Pin", commands.pin, ["It is kept, whatever becomes of its holders, until somebody unpins it."]));
  if (pinned) verbs.push(simple("Unpin", "Unpin", commands.unpin, ["If nobody holds it, its grace starts anew."]));
  if (condemned) {
    verbs.push(simple("Restore", "Restore", commands.restore, ["Its tombstone is taken away and its grace starts anew. To keep it for good, pin it."]));
    if (!pinned && mode === "sweep") {
      const says = ["The rest of its grace is waived. All is proved again before it is deleted, and any use still saves it;", "but a holder that is only cut off for a moment has no more time to come back."];
      verbs.push(simple("SweepNow", "Sweep now", commands.sweepNow, says, { destructive: true, count: 1 }));
    }
  }
  return verbs.map((verb) => ({ ...verb, deed: { ...verb.deed, command: verb.command } }));
}

/** Letting go in the name of one holder. */
export function release(name, hold) {
  const force = ["alive", "unknown"].includes(hold.status);
  const says = force
    ? [`${visible(hold.holder)} is not known to be dead and may be using it. It is not told. With no other hold left, the resource is deleted after its grace.`]
    : ["With no other hold left, the resource is condemned, and deleted after its grace."];
  return {
    role: "operator", word: force ? "Release by force" : "Release",
    deed: {
      title: `Release ${visible(textOf(name))} for ${visible(hold.holder)}`, says, button: force ? "Release by force" : "Release",
      destructive: true, count: 1, command: (why) => commands.release(name, hold.holder, force, why),
      run: (why) => call("Release", { name, holder: hold.holder, force, why }),
    },
  };
}

/** The brake. `onItsWay`: how many resources arming lets go on towards their deletion. */
export const brakeVerbs = {
  trip: () => ({
    role: "operator", word: "Trip the brake",
    deed: { title: "Trip the brake", says: ["No condemn, no prepare and no first send in this tenant until somebody arms it again. Sends under way go on."], button: "Trip", command: commands.trip, run: (why) => call("TripBrake", { why }) },
  }),
  arm: (onItsWay) => ({
    role: "admin", word: "Arm the brake",
    deed: {
      title: "Arm the brake", button: "Arm", destructive: true, count: onItsWay, command: commands.arm,
      says: ["Collecting is allowed again. Graces have gone on meanwhile: what ran out of them is swept at once.", `${counted(onItsWay, "resource")} without a holder may go on towards the sweep. Pin or restore before what shall stay.`],
      run: (why) => call("ArmBrake", { why }),
    },
  }),
};

/** What is done to all that fit: a dry run, then the dialog with what it found. Resolves as `confirmed`. */
export async function onMany({ method, word, says, asked }) {
  const dry = await call(method, asked);
  if (!dry.count) throw new Error(`${word}: nothing fits the filter`);
  return confirmed({
    title: `${word}: ${number(dry.count)} at once`, says, button: word, destructive: true, count: dry.count,
    list: dry.matched.map(visible), command: null,
    run: (why) => call(method, { ...asked, why, confirmCount: dry.count }),
  });
}

/** A button for a verb; for a role that may not, it says who may. `after(result)` when it was done. */
export function button(verb, after, failed) {
  const allowed = may(verb.role);
  const act = async () => {
    try {
      const result = await (verb.act ? verb.act() : confirmed(verb.deed));
      if (result !== null) after(verb, result);
    } catch (error) {
      failed(error);
    }
  };
  return h("button", { type: "button", disabled: !allowed, title: allowed ? null : `needs the role ${verb.role}`, onclick: act }, verb.word);
}
