// The chart: from the history where there is one, else from what was seen since the page was opened.

import { html, useMemo } from "../vendor/preact.js";
import { get } from "../base/api.js";
import { count, rate, span, time } from "../base/format.js";
import { samples } from "../base/live.js";
import { useLoad } from "../base/load.js";
import { filter, route } from "../base/route.js";
import { Chart } from "../parts/chart.js";
import { Trouble } from "../parts/trouble.js";

// How far back, in steps of what: some 60 bars each.
const RANGES = { "1h": [3_600, "1m"], "6h": [21_600, "5m"], "24h": [86_400, "20m"], "7d": [604_800, "3h"], "30d": [2_592_000, "12h"] };
const AGAIN_MS = 10_000;

export function History() {
  const range = RANGES[route.value.query.range] ? route.value.query.range : "1h";
  const [seconds, bucket] = RANGES[range];
  const since = () => new Date(Date.now() - seconds * 1_000).toISOString();
  const { data, error, reload } = useLoad((abort) => get("executions/stats", { since: since(), bucket }, abort), [range], AGAIN_MS);
  const buckets = data?.buckets ?? [];
  const series = useMemo(() => [buckets.map((b) => Date.parse(b.at) / 1_000), buckets.map((b) => b.completed), buckets.map((b) => b.failed)], [data]);
  const read = (i) => (i === null || !buckets[i] ? whole(buckets, range) : one(buckets[i]));
  return html`
    <div class="card-head">
      <h2>Attempts completed and failed</h2>
      <div class="choices" role="group" aria-label="Range">
        ${Object.keys(RANGES).map((each) => html`<button key=${each} type="button" aria-pressed=${String(each === range)} onClick=${() => filter({ range: each })}>${each}</button>`)}
      </div>
    </div>
    <${Trouble} error=${error} again=${reload} />
    <${Chart} data=${series} bars=${true} read=${read} label=${`Attempts that completed and failed, last ${range}`} />`;
}

export function Recent() {
  const seen = samples.value;
  const series = useMemo(() => [seen.map((s) => s.at / 1_000), seen.map((s) => s.completed), seen.map((s) => s.failed)], [seen]);
  const read = (i) => {
    const sample = seen[i ?? seen.length - 1];
    if (!sample) return "Waiting for the first numbers…";
    return [html`<b>${time(sample.at)}</b>`, key("good", `${rate(sample.completed)} completed`), key("bad", `${rate(sample.failed)} failed`)];
  };
  return html`
    <div class="card-head"><h2>Attempts completed and failed</h2><p class="mute">since this page was opened; history needs Postgres</p></div>
    <${Chart} data=${series} bars=${false} read=${read} label="Jobs a second that completed and failed, since this page was opened" />`;
}

const key = (tone, text) => html`<span class=${`key ${tone}`}>${text}</span>`;

function whole(buckets, range) {
  const sum = (name) => buckets.reduce((all, bucket) => all + bucket[name], 0);
  return [html`<b>last ${range}</b>`, key("good", `${count(sum("completed"))} completed`), key("bad", `${count(sum("failed"))} failed`)];
}

function one({ at, completed, failed, p95_ms: slow }) {
  return [html`<b>${time(at)}</b>`, key("good", `${count(completed)} completed`), key("bad", `${count(failed)} failed`), slow !== null && html`<span>p95 ${span(slow)}</span>`];
}
