// Builds elements. Data only ever becomes text: nothing here can parse markup.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. Attributes that are null, undefined or false are left out; `on...` are listeners. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same of SVG. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), value);
    } else {
      // An address comes from `route.link`, never from data: a `javascript:` one would run.
      if (name === "href" && !String(value).startsWith("#")) throw new Error(`no link within the console: ${value}`);
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  const there = children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false);
  return there.map((one) => (one instanceof Node ? one : String(one)));
}

/** New children for `place`; what had the focus has it again, if it is still there by its id or its address. */
export function renew(place, ...children) {
  const held = place.contains(document.activeElement) ? document.activeElement : null;
  const [id, href] = held ? [held.id, held.getAttribute("href")] : ["", null];
  place.replaceChildren(...nodes(children));
  if (!held) return;
  const again = (id && document.getElementById(id)) || [...place.querySelectorAll("a")].find((a) => href && a.getAttribute("href") === href);
  if (again) again.focus({ preventScroll: true });
}
