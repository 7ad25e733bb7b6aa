// Where one is: `#/jobs?state=dead`. The address holds the page and every filter, so that it can be shared and gone back to.

import { signal } from "../vendor/preact.js";

/** {parts: ["jobs", "<id>"], query: {state: "dead"}} */
export const route = signal(read());

addEventListener("hashchange", () => {
  route.value = read();
});

/** The address of a page, for `href`. */
export function href(parts, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const search = given.length ? `?${new URLSearchParams(given)}` : "";
  return `#/${[parts].flat().map(encodeURIComponent).join("/")}${search}`;
}

export function go(parts, query) {
  location.hash = href(parts, query);
}

/** Change filters of this page; "" takes one away. Adds nothing to the history of the browser. */
export function filter(changes) {
  const { parts, query } = route.value;
  history.replaceState(history.state, "", href(parts, { ...query, ...changes }));
  route.value = read();
}

function read() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean).map(decoded);
  return { parts: parts.length ? parts : ["overview"], query: Object.fromEntries(new URLSearchParams(search)) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
