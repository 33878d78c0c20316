// The `leasehold ...` command that does the same, ready for a shell.

import { session } from "./session.js";
import { textOf } from "./route.js";

/** One word for a POSIX shell. */
export function quoted(word) {
  return /^[A-Za-z0-9_@%+=:,./~-]+$/.test(word) && !word.startsWith("~") ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** A command line; the tenant is said unless it is the default. */
export function command(...words) {
  const tenant = session.me && session.me.tenant !== "default" ? ["--tenant", session.me.tenant] : [];
  return ["leasehold", ...tenant, ...words].map(quoted).join(" ");
}

export const commands = {
  why: (name) => command("why", textOf(name)),
  /** As far as the command line can filter: by owner, type and one state. */
  list: ({ owner, type, state }) =>
    command("get", "resources", ...(owner ? ["--owner", owner] : []), ...(type ? ["--type", type] : []), ...(state.length === 1 ? ["--state", state[0]] : [])),
  pin: (name, why) => command("pin", textOf(name), "--why", why),
  unpin: (name, why) => command("unpin", textOf(name), "--why", why),
  restore: (name, why) => command("restore", textOf(name), "--why", why),
  sweepNow: (name, why) => command("sweep-now", textOf(name), "--why", why),
  release: (name, holder, force, why) =>
    command("release", textOf(name), "--holder", holder, ...(force ? ["--force"] : []), "--why", why),
  trip: (why) => command("brake", "trip", "--reason", why),
  arm: (why) => command("brake", "arm", "--reason", why),
};
