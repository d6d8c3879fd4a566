import { LlmoptError } from '../../errors.ts';
import type { Graph } from '../../graph/graph.ts';
import type { KvMemory } from '../../kv/kvMemory.ts';
import { kvReport } from '../../kv/report.ts';
import type { CompileOptions, Executable } from '../backend.ts';
import { collectGarbage } from './collectGarbage.ts';
import { compileWasm, type WasmSettings } from './executable.ts';

/**
 * An executable that can drop its memory and make it anew, for the same cache. That is the one way in which WebAssembly alone gives memory back:
 * all of it, when nobody refers to it any more.
 */
export async function compileRecyclable(
  graph: Graph,
  settings: WasmSettings,
  options: CompileOptions,
): Promise<Executable> {
  let kvMemory: KvMemory | undefined;
  let current: Executable | undefined = await compileWasm(graph, settings, {
    ...options,
    kvCache(layout, memory) {
      kvMemory = memory;
      return options.kvCache(layout, memory && standIn(memory, () => kvMemory));
    },
  });
  const { kv } = current;
  const { slots } = kv.layout;
  const { weightsBytes, activationsBytes } = current.memory();
  let running = 0;
  let recycling: Promise<void> | undefined;
  let disposed: Promise<void> | undefined;

  const busy = (what: string) =>
    new LlmoptError('LLMOPT_BUSY', `Memory cannot be dropped while ${what}.`, { hint: 'Wait until nothing runs.' });

  // A function of its own, so that no frame keeps the old memory.
  async function drop(): Promise<void> {
    const old = current;
    current = undefined;
    kvMemory = undefined;
    await old?.dispose();
  }
  async function makeAnew(): Promise<void> {
    await drop();
    await collectGarbage();
    const { onProgress, signal, ...rest } = options;
    const anew = await compileWasm(graph, settings, {
      ...rest,
      ...{ slots, leastSlots: slots },
      kvCache(_, memory) {
        kvMemory = memory;
        return kv;
      },
    });
    current = anew;
  }

  async function forward(batch: Parameters<Executable['forward']>[0]) {
    if (disposed) throw new LlmoptError('LLMOPT_DISPOSED', 'This executable was disposed.');
    running++;
    try {
      // Without it there was an error, which all get from now on.
      if (!current) await recycling;
      return await current!.forward(batch);
    } finally {
      running--;
    }
  }
  return {
    kv,
    forward,
    ...(kv.recycled && {
      recycle() {
        if (disposed) return Promise.reject(new LlmoptError('LLMOPT_DISPOSED', 'This executable was disposed.'));
        if (!current) return recycling!;
        if (running > 0) return Promise.reject(busy('a batch is computed'));
        for (let slot = 0; slot < slots; slot++) {
          if (kv.isAcquired(slot)) return Promise.reject(busy(`slot ${slot} is taken`));
        }
        kv.recycled!();
        recycling = makeAnew();
        // Who does not wait for it gets the error from the next forward.
        recycling.catch(() => {});
        return recycling;
      },
    }),
    memory: () => ({ weightsBytes, activationsBytes, kv: kvReport(kv) }),
    profile: () => current?.profile(),
    dispose() {
      disposed ??= (async () => {
        await recycling?.catch(() => {});
        await current?.dispose();
      })();
      return disposed;
    },
  };
}

/** The memory of now, for a cache that outlives it. In between there is nothing to be given back, and the next memory is taken when written to. */
function standIn(first: KvMemory, current: () => KvMemory | undefined): KvMemory {
  const { ranges, rangeBytes, pageBytes } = first;
  const giveBack = () => (current()?.giveBack === 'madvise' ? 'madvise' : 'recycle');
  const present = () => {
    const memory = current();
    if (memory) return memory;
    throw new LlmoptError('LLMOPT_BUSY', 'The memory of all slots is being made anew.', { hint: 'Try again later.' });
  };
  return {
    get giveBack() {
      return giveBack();
    },
    ranges,
    rangeBytes,
    pageBytes,
    commit: (slot, from, to) => current()?.commit(slot, from, to),
    release: (slot, tokens) => current()?.release(slot, tokens),
    copy: (source, target, tokens) => present().copy(source, target, tokens),
    read: (slot, tokens) => present().read(slot, tokens),
    write: (slot, tokens, bytes) => present().write(slot, tokens, bytes),
    residentBytes: () => current()?.residentBytes(),
  };
}
