// Failures by task and error class.

import { html } from "../vendor/preact.js";
import { count } from "../base/format.js";
import { Table } from "./table.js";
import { Ago } from "./time.js";

/** *to(group)* is where a group leads. */
export function GroupTable({ groups, to, empty, label = "Failures by task and error" }) {
  const columns = [
    { name: "Error", width: "14rem", cell: (group) => html`<a class="strong" href=${to(group)}>${group.error_class || "no error"}</a>` },
    { name: "Count", width: "5rem", num: true, cell: (group) => count(group.count) },
    { name: "Last message", wide: true, cell: (group) => html`<span class="clip" title=${group.last_message}>${group.last_message}</span>` },
    { name: "Task", width: "10rem", cell: (group) => html`<span class="clip">${group.type}</span>` },
    { name: "Queue", width: "7rem", mute: true, cell: (group) => html`<span class="clip">${group.queue}</span>` },
    { name: "Last", width: "7rem", num: true, mute: true, cell: (group) => html`<${Ago} at=${group.last_at} />` },
  ];
  return html`<${Table} columns=${columns} rows=${groups} rowKey=${(g) => `${g.queue}\n${g.type}\n${g.error_class}`} label=${label} empty=${empty} skeleton=${3} />`;
}
