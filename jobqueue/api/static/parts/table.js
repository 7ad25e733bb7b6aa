// A table whose columns keep their widths: skeleton rows stand where rows will be. On a narrow screen a row is a card.

import { html } from "../vendor/preact.js";

/**
 * *columns*: [{name, cell(row), width?, num?, mute?, wide?}]; *rows* null while loading; *rowKey(row)*;
 * *label* says what is listed; *empty* is shown instead of no rows; rows are *tall* where cells have two lines.
 */
export function Table({ columns, rows, rowKey, label, empty = "Nothing here.", skeleton = 5, busy = false, tall = false }) {
  if (rows && !rows.length) return html`<div class="none-yet">${empty}</div>`;
  return html`
    <table class=${tall ? "list tall" : "list"} role="table" aria-label=${label} aria-busy=${String(rows === null || busy)}>
      <colgroup>${columns.map((column) => html`<col style=${{ width: column.width ?? "auto" }} />`)}</colgroup>
      <thead role="rowgroup">
        <tr role="row">${columns.map((column) => html`<th role="columnheader" scope="col" class=${kind(column)}>${column.name}</th>`)}</tr>
      </thead>
      <tbody role="rowgroup">
        ${rows === null ? skeletons(columns, skeleton) : rows.map((row) => html`<${Row} key=${rowKey(row)} row=${row} columns=${columns} />`)}
      </tbody>
    </table>`;
}

function Row({ row, columns }) {
  return html`
    <tr role="row" data-row tabindex="-1" onClick=${open}>
      ${columns.map((column) => html`<td role="cell" class=${kind(column)} data-label=${column.name}>${column.cell(row)}</td>`)}
    </tr>`;
}

// The whole row opens what its first link opens, unless text was selected or a control was meant.
function open(event) {
  if (event.target.closest("a, button, input, select, summary, dialog") || getSelection().toString()) return;
  event.currentTarget.querySelector("a[href]")?.click();
}

function skeletons(columns, many) {
  return Array.from({ length: many }, (_, row) => html`
    <tr role="row" key=${row} class="skeleton">
      ${columns.map((column) => html`<td role="cell" class=${kind(column)}><span class="bone"></span></td>`)}
    </tr>`);
}

const kind = ({ num, mute, wide }) => [num && "num", mute && "mute", wide && "wide"].filter(Boolean).join(" ");
