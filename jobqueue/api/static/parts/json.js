// JSON and text that users made: coloured by spans of text, never by markup. Collapsible, with a copy.

import { html } from "../vendor/preact.js";
import { Copy } from "./copy.js";

const COLOURED_CHARS = 60_000;
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

export function Json({ title, value, open = true }) {
  const text = JSON.stringify(value, null, 2) ?? "null";
  return html`
    <details class="fold" open=${open}>
      <summary>${title}</summary>
      <div class="code"><${Copy} text=${text} what=${title} /><pre tabindex="0" aria-label=${title}>${coloured(text)}</pre></div>
    </details>`;
}

export function Trace({ text, title = "Traceback", open = false }) {
  return html`
    <details class="fold" open=${open}>
      <summary>${title}</summary>
      <div class="code"><${Copy} text=${text} what="traceback" /><pre tabindex="0" aria-label=${title}>${text}</pre></div>
    </details>`;
}

function coloured(text) {
  if (text.length > COLOURED_CHARS) return text;
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    parts.push(text.slice(at, match.index), piece(match));
    at = match.index + match[0].length;
  }
  return [...parts, text.slice(at)];
}

function piece([all, string, colon]) {
  if (colon) return html`<span class="j-key">${string}</span>${colon}`;
  return html`<span class=${string ? "j-string" : "j-value"}>${all}</span>`;
}
