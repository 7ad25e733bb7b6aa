// The keys.

import { html } from "../vendor/preact.js";
import { helpShown } from "../base/keyboard.js";
import { Choice, Dialog } from "./dialog.js";

const KEYS = [
  [["/"], "search"], [["j"], "next row"], [["k"], "previous row"], [["Enter"], "open the row"],
  [["g", "o"], "overview"], [["g", "j"], "jobs"], [["g", "q"], "queues"], [["g", "d"], "dead letters"], [["g", "s"], "schedules"], [["g", "w"], "workers"], [["g", "p"], "playground"],
  [["?"], "this help"], [["Esc"], "close"],
];

export function Help() {
  if (!helpShown.value) return null;
  const close = () => (helpShown.value = false);
  return html`
    <${Dialog} title="Keyboard shortcuts" onClose=${close}>
      <dl class="keys">${KEYS.map(([keys, what]) => html`<dt>${keys.map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${what}</dd>`)}</dl>
      <${Choice} onClose=${close} />
    <//>`;
}
