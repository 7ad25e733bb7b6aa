"""Which jobs ran, how often and when: a file mapped into memory, shared by the harness, the producer and the workers.

Layout for a capacity of C jobs: C bytes with the count of each job; then, from the next multiple of 8, C doubles with
the time each job first ran; then C doubles with the time it was sent. Times are CLOCK_MONOTONIC seconds; zero is never.
Only the standard library is used: every system's own Python imports this file.
"""

import mmap
import os
import sys
from time import perf_counter

PAYLOAD_BYTES = 100


class Tally:
    """One mapped file. Made when absent; forked children inherit the mapping."""

    def __init__(self, path, capacity):
        times_start = (capacity + 7) // 8 * 8
        size = times_start + 16 * capacity
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(descriptor).st_size < size:
                os.ftruncate(descriptor, size)
            view = memoryview(mmap.mmap(descriptor, size))
        finally:
            os.close(descriptor)
        self.counts = view[:capacity]
        self.ran_at = view[times_start : times_start + 8 * capacity].cast("d")
        self.sent_at = view[times_start + 8 * capacity :].cast("d")

    def ran(self, n):
        """Count a run of job `n`; only the first run's time is kept. Warm-up jobs are negative and do not count."""
        if n < 0:
            return
        count = self.counts[n]
        if count == 0:
            self.ran_at[n] = perf_counter()
        if count < 255:
            self.counts[n] = count + 1

    def sent(self, n):
        """Note that job `n` is about to be enqueued."""
        if n >= 0:
            self.sent_at[n] = perf_counter()

    def missing(self, jobs):
        """How many of the first `jobs` jobs have not run."""
        return bytes(self.counts[:jobs]).count(0)

    def ran_twice(self, jobs):
        """How many of the first `jobs` jobs ran more than once."""
        counts = bytes(self.counts[:jobs])
        return jobs - counts.count(0) - counts.count(1)

    def span(self, jobs):
        """First and last time at which one of the first `jobs` jobs ran. All of them must have run."""
        times = self.ran_at[:jobs].tolist()
        return min(times), max(times)


_open = None


def open(path, capacity):
    """Open the file that `ran` and `sent` of this process and its later children write to."""
    global _open
    _open = Tally(path, capacity)
    return _open


def ran(n):
    if n >= 0:
        _open.ran(n)


def sent(n):
    if n >= 0:
        _open.sent(n)


def text(n):
    """Padding that makes {"n": n, "text": padding} exactly 100 bytes, as json.dumps writes it by default."""
    return "x" * (PAYLOAD_BYTES - len('{"n": , "text": ""}') - len(str(n)))


def version(distribution):
    """From the name of its dist-info folder: importlib.metadata would add a megabyte to a worker."""
    start, end = distribution.replace("-", "_").lower() + "-", ".dist-info"
    for folder in filter(os.path.isdir, sys.path):
        for name in os.listdir(folder):
            if name.lower().startswith(start) and name.endswith(end):
                return name[len(start) : -len(end)]
    return "?"
