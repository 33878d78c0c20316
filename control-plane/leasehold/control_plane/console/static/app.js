// Puts the page together: who one is, where one is, and what the server tells meanwhile.
//
// A view is a function `(route, context) -> { title, element, refresh, filter, onOverview }`. `refresh()` asks the
// server and shows the answer; `filter` is what the stream shall tell of (absent: the overview alone), and `concerns(name)`
// whether a change of that resource matters (absent: it does).

import { ApiError, call } from "./api.js";
import { h, renew } from "./dom.js";
import { Live } from "./live.js";
import { paced } from "./pace.js";
import { link, parse } from "./route.js";
import { session, signOut, token } from "./session.js";
import { signInForm } from "./sign-in.js";
import { clock, visible } from "./words.js";
import { audit } from "./views/audit.js";
import { brake } from "./views/brake.js";
import { holders } from "./views/holders.js";
import { overview } from "./views/overview.js";
import { owners } from "./views/owners.js";
import { resource } from "./views/resource.js";
import { resources } from "./views/resources.js";
import { sweeps } from "./views/sweeps.js";

const VIEWS = { overview, resources, resource, holders, owners, sweeps, brake, audit };
const NAV = [["overview", "Overview"], ["resources", "Resources"], ["holders", "Holders"], ["owners", "Owners"], ["sweeps", "Quarantine"], ["brake", "Brake"], ["audit", "Audit"]];
const at = (id) => document.getElementById(id);

let present = null; // { view, abort, refresh, problem }
let figures = null; // the last overview
const live = new Live(heard, (words, stale) => {
  if (at("live").textContent !== words) at("live").textContent = words;
  at("live").className = stale ? "stale" : "";
});

async function begin() {
  try {
    const me = await call("WhoAmI");
    figures = (await call("Overview")).overview;
    // Last: who one is, is what everything else waits for.
    session.me = me;
  } catch (error) {
    if (error.code === "UNAUTHENTICATED" || error.code === "PERMISSION_DENIED") return askWho(token() ? error.message : "");
    renew(at("main"), h("h1", {}, "Leasehold"), h("p", { class: "wrong", role: "alert" }, error.message), h("button", { type: "button", onclick: begin }, "Try again"));
    return undefined;
  }
  showWho();
  showBrake();
  open();
  return undefined;
}

function askWho(wrong) {
  live.stop();
  live.asked = undefined;
  present?.abort.abort();
  present = null;
  renew(at("nav"));
  renew(at("brake"));
  renew(at("who"));
  renew(at("main"), signInForm(wrong, begin));
}

function showWho() {
  const { who, role, knownBy, tenant, replica, version } = session.me;
  at("tenant").textContent = tenant;
  at("tenant").title = `tenant ${tenant}, served by ${replica}, version ${version}`;
  const out = () => {
    signOut();
    askWho("");
  };
  renew(at("who"), h("span", { title: `known by ${knownBy}` }, `${visible(who)}, ${role}`), token() && h("button", { type: "button", class: "quiet", id: "sign-out", onclick: out }, "Sign out"));
}

function showBrake() {
  const { armed, braked } = figures;
  const words = braked ? (armed ? "Not collecting" : "Braked") : "Armed";
  const chip = h("a", { class: braked ? "chip braked" : "chip armed", href: link("brake"), title: braked || "collecting" }, words);
  if (at("brake").textContent !== words) renew(at("brake"), chip);
}

/** Opens what the address says. */
function open() {
  if (!session.me) return;
  const route = parse(location.hash);
  const make = VIEWS[route?.view];
  const before = present?.name;
  const focused = document.activeElement?.id;
  present?.abort.abort();
  // What was asked about belongs to what was seen.
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  const abort = new AbortController();
  const problem = h("p", { class: "wrong", role: "alert" });
  const context = { signal: abort.signal, figures: () => figures, told, failed, again: () => refresh() };
  const view = make && Object.hasOwn(VIEWS, route.view) ? make(route, context) : nowhere();
  present = { name: route?.view, view, abort, problem, refresh: paced(() => ask(view, abort.signal, problem), abort.signal) };
  at("main").replaceChildren(problem, view.element);
  document.title = `${view.title} \u00b7 ${session.me.tenant} \u00b7 Leasehold`;
  showNav(route?.view);
  const again = before === present.name && focused && at(focused);
  (again || at("main").querySelector("h1") || at("main")).focus({ preventScroll: before === present.name });
  live.follow(view.filter ?? null);
  refresh();
}

function nowhere() {
  return { title: "Nothing here", element: h("div", {}, h("h1", { tabindex: -1 }, "Nothing here"), h("p", {}, "No view has this address. "), h("a", { href: link("overview") }, "Overview")), refresh: async () => {} };
}

function showNav(view) {
  const shown = view === "resource" ? "resources" : view;
  renew(at("nav"), NAV.map(([name, word]) => h("a", { id: `nav-${name}`, href: link(name), "aria-current": name === shown && "page" }, word)));
}

async function ask(view, signal, problem) {
  at("main").setAttribute("aria-busy", "true");
  try {
    await view.refresh();
    if (!signal.aborted) problem.textContent = "";
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof ApiError)) console.error(error);
    failed(error);
  } finally {
    if (!signal.aborted) at("main").removeAttribute("aria-busy");
  }
}

function refresh() {
  present?.refresh();
}

/** An error goes where the view is, and what was shown before stays. */
function failed(error) {
  if (error.code === "UNAUTHENTICATED") {
    askWho(error.message);
  } else if (present) {
    present.problem.textContent = [error.message, ...(error.details ?? [])].join("\n");
  }
}

/** A deed was done. */
function told(words) {
  at("told").textContent = `${clock(new Date().toISOString(), false)} ${words}`;
  refresh();
}

function heard(message) {
  if (!present) return;
  if (message.refused) {
    failed(message.refused);
  } else if (message.overview) {
    const before = figures;
    figures = message.overview;
    showBrake();
    present.view.onOverview?.(figures, before);
  } else if (message.alive) {
    present.view.onAlive?.();
  } else if (message.lagged || concerns(message.changed?.name ?? message.gone)) {
    refresh();
  }
}

function concerns(name) {
  return Boolean(name) && (present.view.concerns?.(name) ?? true);
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const search = at("filter-text");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  }
});
at("skip").addEventListener("click", (event) => {
  // The address is taken by the views.
  event.preventDefault();
  at("main").focus();
});
addEventListener("hashchange", open);
begin();
