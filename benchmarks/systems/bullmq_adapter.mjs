// BullMQ (node) as the benchmark suite drives it: describe, produce, work.
//
// It must lie beside its node_modules: the harness copies it there.

import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { Queue, Worker } from "bullmq";

const PAYLOAD_BYTES = 100;
const FLUSH_MS = 50;
const ABOUT = {
  name: `BullMQ ${JSON.parse(readFileSync(new URL("node_modules/bullmq/package.json", import.meta.url))).version}`,
  modes: ["one", "gathered", "bulk"],
  results: true,
  delayed: true,
  crash_safe: true,
  settings:
    `node ${process.versions.node}, concurrency as asked, async processor, removeOnComplete when results are off` +
    " (kept for an hour when on), maxRetriesPerRequest null as its documentation asks; bulk is addBulk;" +
    " a killed worker's jobs run again after the lock and a stalled check (30 to 60 s)",
};

// The same file as tally.py's. Node cannot map files: it is written every FLUSH_MS and at the end, entry by entry,
// because another worker process may be writing other entries.
class Tally {
  constructor(path, capacity) {
    this.timesStart = Math.ceil(capacity / 8) * 8;
    this.capacity = capacity;
    this.file = openSync(path, "r+");
    const size = this.timesStart + 16 * capacity;
    if (fstatSync(this.file).size < size) ftruncateSync(this.file, size);
    this.counts = new Uint8Array(capacity);
    this.ranAt = new Float64Array(capacity);
    this.sentAt = new Float64Array(capacity);
    this.unwritten = [];
    this.timer = setInterval(() => this.flush(), FLUSH_MS);
  }

  ran(n) {
    if (n < 0) return;
    if (this.counts[n]++ === 0) this.ranAt[n] = now();
    this.unwritten.push(n);
  }

  sent(n) {
    this.sentAt[n] = now();
    writeSync(this.file, bytesOf(this.sentAt, n, n), 0, 8, this.timesStart + 8 * (this.capacity + n));
  }

  flush() {
    const numbers = Int32Array.from(this.unwritten).sort();
    this.unwritten = [];
    for (let i = 0; i < numbers.length; ) {
      const first = numbers[i];
      let last = first;
      const more = [];
      for (; i < numbers.length && numbers[i] <= last + 1; i++) {
        last = numbers[i];
        more[last - first] = (more[last - first] ?? 0) + 1;
      }
      this.write(first, last, more);
    }
  }

  write(first, last, more) {
    const times = bytesOf(this.ranAt, first, last);
    writeSync(this.file, times, 0, times.length, this.timesStart + 8 * first);
    const counts = new Uint8Array(more.length);
    readSync(this.file, counts, 0, counts.length, first);
    for (let i = 0; i < counts.length; i++) counts[i] = Math.min(255, counts[i] + more[i]);
    writeSync(this.file, counts, 0, counts.length, first);
  }

  close() {
    clearInterval(this.timer);
    this.flush();
    closeSync(this.file);
  }
}

function bytesOf(doubles, first, last) {
  return new Uint8Array(doubles.buffer, 8 * first, 8 * (last - first + 1));
}

// CLOCK_MONOTONIC in seconds, as Python's perf_counter.
function now() {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds + nanoseconds / 1e9;
}

function payload(n) {
  return { n, text: "x".repeat(PAYLOAD_BYTES - '{"n": , "text": ""}'.length - String(n).length) };
}

async function produce(options) {
  const tally = options.tally ? new Tally(options.tally, options.capacity) : null;
  const jobOptions = { removeOnComplete: options.results ? { age: 3600 } : true };
  const queue = new Queue("bench", { connection: { url: options.url }, defaultJobOptions: jobOptions });
  for (let i = 0; i < 10; i++) await queue.add("noop", payload(-1));

  const delay = options.delay_s ? { delay: Math.round(options.delay_s * 1000) } : undefined;
  const add = (n) => queue.add(options.task, payload(n), delay);
  const numbers = Array.from({ length: options.jobs }, (_, i) => options.first + i);
  const started = now();
  const startedCpu = process.cpuUsage();
  if (options.interval_s) {
    await sendPaced(add, numbers, options.interval_s, tally);
  } else if (options.mode === "one") {
    for (const n of numbers) await add(n);
  } else if (options.mode === "gathered") {
    for (let i = 0; i < numbers.length; i += 100) await Promise.all(numbers.slice(i, i + 100).map(add));
  } else {
    for (let i = 0; i < numbers.length; i += 1000) {
      const group = numbers.slice(i, i + 1000);
      await queue.addBulk(group.map((n) => ({ name: options.task, data: payload(n), opts: delay })));
    }
  }
  const seconds = now() - started;
  const cpu = process.cpuUsage(startedCpu);
  await queue.close();
  tally?.close();
  return { seconds, cpu_seconds: (cpu.user + cpu.system) / 1e6 };
}

async function sendPaced(add, numbers, intervalS, tally) {
  const started = now();
  for (const [turn, n] of numbers.entries()) {
    await sleep(Math.max(0, (started + turn * intervalS - now()) * 1000));
    tally.sent(n);
    await add(n);
  }
}

async function work(options) {
  const tally = new Tally(options.tally, options.capacity);
  const run = async (job) => {
    if (job.name === "io") await sleep(10);
    tally.ran(job.data.n);
  };
  const worker = new Worker("bench", run, {
    connection: { url: options.url, maxRetriesPerRequest: null },
    concurrency: options.concurrency,
  });
  worker.on("error", (error) => console.error(error));
  await new Promise((stop) => process.once("SIGTERM", stop));
  await worker.close();
  tally.close();
}

const [command, json] = process.argv.slice(2);
if (command === "describe") console.log(JSON.stringify(ABOUT));
else if (command === "produce") console.log(JSON.stringify(await produce(JSON.parse(json))));
else await work(JSON.parse(json));
