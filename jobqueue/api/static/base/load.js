// Loading of what a page shows: again when its question changes, again every so often while the page is seen.

import { useCallback, useEffect, useRef, useState } from "../vendor/preact.js";

/**
 * {data, error, reload}. `ask(abort)` is asked anew when one of *what* changes; until it has answered, the old answer
 * stands. With *every* (ms), it is asked again and again; a failure leaves the data and sets the error.
 */
export function useLoad(ask, what, every = 0) {
  const [state, setState] = useState({ data: null, error: null, busy: true });
  const latest = useRef(ask);
  latest.current = ask;
  const running = useRef(null);

  const reload = useCallback(async () => {
    running.current?.abort();
    const abort = new AbortController();
    running.current = abort;
    setState((old) => ({ ...old, busy: true }));
    try {
      const data = await latest.current(abort.signal);
      if (!abort.signal.aborted) setState({ data, error: null, busy: false });
    } catch (error) {
      if (!abort.signal.aborted) setState((old) => ({ data: old.data, error, busy: false }));
    }
  }, []);

  useEffect(() => {
    reload();
    return () => running.current?.abort();
  }, what);

  useEffect(() => {
    if (!every) return undefined;
    const timer = setInterval(() => document.hidden || reload(), every);
    return () => clearInterval(timer);
  }, [every]);

  return { ...state, reload };
}
