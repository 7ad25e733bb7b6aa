// One job, watched until it has ended; again when something was done to it.

import { useCallback, useEffect, useState } from "../vendor/preact.js";
import { get, path } from "./api.js";

const ENDED = new Set(["completed", "dead", "cancelled", "expired"]);
const AGAIN_MS = 3_000;
const LOOK_MS = 700;
const LOOKS_AFTER = 5;

export const ended = (job) => ENDED.has(job.state);

/** {job, error, reload}: the API's `JobDetail`, kept up to date while the page is seen. */
export function useJob(id) {
  const [state, setState] = useState({ job: null, error: null });
  const [round, setRound] = useState(0);
  const reload = useCallback(() => setRound((n) => n + 1), []);

  useEffect(() => setState({ job: null, error: null }), [id]);
  useEffect(() => watch(id, round ? LOOKS_AFTER : 0, (job) => setState({ job, error: null }), (error) => setState((old) => ({ ...old, error }))), [id, round]);
  return { ...state, reload };
}

// *looks* more are taken at a job that has ended: after a retry it may seem dead until its way back is told everywhere.
function watch(id, looks, take, fail) {
  let source = null;
  let timer = 0;
  let over = false;
  let last = null;

  const read = async () => {
    clearTimeout(timer);
    try {
      last = await get(path("jobs", id));
      if (over) return;
      take(last);
      if (document.hidden) return;
      // The history of an end follows within a second or so; the stream waits for it.
      if (!ended(last) || !last.attempts.length) listen();
      else lookAgain();
    } catch (error) {
      if (over) return;
      fail(error);
      if (error.status !== 404 && error.status !== 403) timer = setTimeout(read, AGAIN_MS);
    }
  };
  const listen = () => {
    source?.close();
    source = new EventSource(`api/v1/events?${new URLSearchParams({ job: id })}`);
    source.addEventListener("job", (event) => {
      last = JSON.parse(event.data);
      take(last);
    });
    // Also said when nothing is known of it any more: reading it tells.
    source.addEventListener("end", () => {
      stop();
      if (ended(last)) lookAgain();
      else read();
    });
    source.addEventListener("error", () => {
      stop();
      timer = setTimeout(read, AGAIN_MS);
    });
  };
  const lookAgain = () => {
    if (looks > 0) timer = setTimeout(read, LOOK_MS);
    looks -= 1;
  };
  const stop = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const turn = () => (document.hidden ? stop() : read());

  document.addEventListener("visibilitychange", turn);
  read();
  return () => {
    over = true;
    document.removeEventListener("visibilitychange", turn);
    stop();
  };
}
