// Lists by cursor: the first page refreshes by itself, further ones are asked for.

import { html, useEffect, useState } from "../vendor/preact.js";
import { useLoad } from "../base/load.js";
import { attempt } from "./toast.js";

/** {rows, error, busy, reload, more}: *ask(cursor, abort)* gives a page; *what* is the question it answers. */
export function usePages(ask, what, every = 0) {
  const [further, setFurther] = useState({ rows: [], cursor: undefined });
  const first = useLoad((abort) => ask(undefined, abort), what, further.rows.length ? 0 : every);
  useEffect(() => setFurther({ rows: [], cursor: undefined }), what);

  const cursor = further.cursor === undefined ? first.data?.next_cursor : further.cursor;
  const more = async () => {
    const page = await attempt(() => ask(cursor));
    if (page) setFurther((old) => ({ rows: [...old.rows, ...page.items], cursor: page.next_cursor }));
  };
  const reload = () => {
    setFurther({ rows: [], cursor: undefined });
    return first.reload();
  };
  const rows = first.data && unique([...first.data.items, ...further.rows]);
  return { rows, error: first.error, busy: first.busy, reload, more: cursor ? more : null };
}

export function More({ of }) {
  if (!of.more) return null;
  return html`<p class="more"><button type="button" onClick=${of.more}>Show more</button></p>`;
}

// A row may come twice when the list moved between two pages.
function unique(rows) {
  const seen = new Set();
  return rows.filter((row) => !seen.has(row.id) && seen.add(row.id));
}
