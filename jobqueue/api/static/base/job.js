// One job, watched until it has ended; again when something was done to it.

import { useCallback, useEffect, useState } from "../vendor/preact.js";
import { get, path } from "./api.js";

const ENDED = new Set(["completed", "dead", "cancelled", "expired"]);
const AGAIN_MS = 3_000;

export const ended = (job) => ENDED.has(job.state);

/** {job, error, reload}: the API's `JobDetail`, kept up to date while the page is seen. */
export function useJob(id) {
  const [state, setState] = useState({ job: null, error: null });
  const [round, setRound] = useState(0);
  const reload = useCallback(() => setRound((n) => n + 1), []);

  useEffect(() => setState({ job: null, error: null }), [id]);
  useEffect(() => watch(id, (job) => setState({ job, error: null }), (error) => setState((old) => ({ ...old, error }))), [id, round]);
  return { ...state, reload };
}

function watch(id, take, fail) {
  let source = null;
  let timer = 0;
  let over = false;

  const read = async () => {
    clearTimeout(timer);
    try {
      const job = await get(path("jobs", id));
      if (over) return;
      take(job);
      // The history of an end follows within a second or so; the stream waits for it.
      if (!document.hidden && !(ended(job) && job.attempts.length)) listen();
    } catch (error) {
      if (over) return;
      fail(error);
      if (error.status !== 404 && error.status !== 403) timer = setTimeout(read, AGAIN_MS);
    }
  };
  const listen = () => {
    source?.close();
    source = new EventSource(`api/v1/events?${new URLSearchParams({ job: id })}`);
    source.addEventListener("job", (event) => take(JSON.parse(event.data)));
    source.addEventListener("end", stop);
    source.addEventListener("error", () => {
      stop();
      timer = setTimeout(read, AGAIN_MS);
    });
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
