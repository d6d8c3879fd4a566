import { workerData } from 'node:worker_threads';
import {
  CELL_WORD,
  callMode,
  control,
  sharedMilliseconds,
  TIMES_HEADER,
  WORDS_PER_CALL,
  type WorkerData,
} from './control.ts';

type Kernel = (args: number, thread: number, threads: number) => void;

const data = workerData as WorkerData;
const { memory, thread, threads } = data;
const instances = data.modules.map((module) => new WebAssembly.Instance(module, { env: { memory } }));
const kernels = data.kernels.map(({ module, name }) => instances[module]!.exports[name] as Kernel);
const barrier = instances[0]!.exports.barrier as (at: number, threads: number, patience: number) => void;
const barrierAt = data.control + control.barrier * 4;
const patience = data.control + (control.patience + control.patienceStride * thread) * 4;
const state = new Int32Array(memory.buffer, data.control, control.bytes / 4);

const warm = instances[0]!.exports.warm as (from: number, bytes: number) => number;

// Long enough to catch the next step of a busy executable, short enough to cost an idle one nothing.
const SPINS = 2000;
const WARM_PIECE = 16_384;

function waitForStart(seen: number): number {
  // While the main thread chooses the next token, memory would be idle: all threads but one, whose core is the main thread's, read ahead.
  const { from, bytes } = data.readAhead;
  for (let at = thread === 0 ? bytes : 0; at < bytes; at += WARM_PIECE) {
    const start = Atomics.load(state, control.start);
    if (start !== seen) return start;
    warm(from + at, Math.min(WARM_PIECE, bytes - at));
  }
  for (let spin = 0; spin < SPINS; spin++) {
    const start = Atomics.load(state, control.start);
    if (start !== seen) return start;
  }
  for (;;) {
    const start = Atomics.load(state, control.start);
    if (start !== seen) return start;
    Atomics.wait(state, control.start, seen);
  }
}

function call(words: Int32Array, at: number): void {
  const mode = words[at + 3]!;
  const kernel = kernels[words[at]!]!;
  if (mode & callMode.alone) kernel(words[at + 1]!, 0, 1);
  else kernel(words[at + 1]!, thread, threads);
  if (!(mode & callMode.open)) barrier(barrierAt, threads, patience);
}

function run(words: Int32Array, from: number, calls: number): void {
  for (let at = from, end = from + calls * WORDS_PER_CALL; at < end; at += WORDS_PER_CALL) call(words, at);
}

function runTimed(words: Int32Array, from: number, calls: number, times: Float64Array): void {
  let last = sharedMilliseconds();
  times[0] = last;
  for (let at = from, end = from + calls * WORDS_PER_CALL; at < end; at += WORDS_PER_CALL) {
    call(words, at);
    const now = sharedMilliseconds();
    times[TIMES_HEADER + words[at + CELL_WORD]!]! += now - last;
    last = now;
  }
  times[1] = last;
}

let words = new Int32Array(memory.buffer);
for (let seen = 0; ; ) {
  seen = waitForStart(seen);
  if (Atomics.load(state, control.stop) === 1) break;
  if (words.byteLength !== memory.buffer.byteLength) words = new Int32Array(memory.buffer);
  const program = (state[control.program]! + thread * state[control.stride]!) >>> 2;
  const calls = state[control.calls]!;
  if (thread === 0 && state[control.timing] === 1)
    runTimed(words, program, calls, new Float64Array(memory.buffer, data.times));
  else run(words, program, calls);
  if (thread === 0) {
    Atomics.store(state, control.done, seen);
    Atomics.notify(state, control.done);
  }
}
