// Keys: `/` search, `j` and `k` rows, Enter opens, `g` and a letter goes to a page, `?` tells.

import { signal } from "../vendor/preact.js";
import { go } from "./route.js";

const PAGES = { o: "overview", j: "jobs", q: "queues", d: "dead", s: "schedules", w: "workers", p: "playground" };
const CHORD_MS = 1_200;

export const helpShown = signal(false);

let chordUntil = 0;

export function watchKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.querySelector("dialog[open]")) return;
    if (press(event.key)) event.preventDefault();
  });
}

function press(key) {
  const chord = performance.now() < chordUntil;
  chordUntil = 0;
  if (chord && PAGES[key]) {
    go(PAGES[key]);
    return true;
  }
  switch (key) {
    case "g": chordUntil = performance.now() + CHORD_MS; return true;
    case "/": return focus(document.querySelector("[data-search]"));
    case "j": return step(1);
    case "k": return step(-1);
    case "Enter": return openRow();
    case "?": helpShown.value = true; return true;
    default: return false;
  }
}

function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  const at = rows.indexOf(document.activeElement?.closest("[data-row]"));
  const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1);
  return focus(rows[next]);
}

function openRow() {
  const row = document.activeElement;
  if (!row?.matches("[data-row]")) return false;
  row.querySelector("a[href]")?.click();
  return true;
}

function focus(element) {
  element?.focus();
  element?.scrollIntoView({ block: "nearest" });
  element?.select?.();
  return Boolean(element);
}

const typing = (target) => target.matches?.("input, select, textarea, [contenteditable]");
