// Where one is, as the part of the address behind `#`: it survives a reload, and no server or proxy gets to log it.

/** `#/view/part/part?key=value` in pieces. A broken one is `null`. */
export function parse(hash) {
  const [path, query = ""] = split(hash.replace(/^#\/?/, ""), "?");
  try {
    const [view, ...parts] = path.split("/").map(decodeURIComponent);
    return { view: view || "overview", parts, query: new URLSearchParams(query) };
  } catch (error) {
    if (error instanceof URIError) return null;
    throw error;
  }
}

/** The address of a view. Of `query`, what is empty is left out; a list is repeated. */
export function link(view, parts = [], query = {}) {
  const pairs = Object.entries(query).flatMap(([key, value]) => [value].flat().map((one) => [key, one]));
  const found = new URLSearchParams(pairs.filter(([, one]) => one !== "" && one !== false && one !== undefined)).toString();
  return `#/${[view, ...parts].map(encodeURIComponent).join("/")}${found ? `?${found}` : ""}`;
}

/** The address of one resource, `name` as the API has it. */
export function linkTo(name) {
  return link("resource", [name.owner, name.type, name.id]);
}

/** `owner/type/id` in pieces; an id may contain slashes. */
export function nameOf(text) {
  const [owner, rest] = split(text, "/");
  const [type, id] = split(rest ?? "", "/");
  return { owner, type, id: id ?? "" };
}

/** `owner/type/id` of a name. */
export function textOf(name) {
  return `${name.owner}/${name.type}/${name.id}`;
}

export function go(href) {
  if (location.hash !== href) location.hash = href;
}

function split(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
