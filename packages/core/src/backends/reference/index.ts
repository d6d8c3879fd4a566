import { LlmoptError } from '../../errors.ts';
import { checkGraph } from '../../graph/check.ts';
import type { Graph } from '../../graph/graph.ts';
import { kvReport } from '../../kv/report.ts';
import { definitionOf } from '../../ops/index.ts';
import type { Op } from '../../ops/op.ts';
import type { Backend, Batch, CompileOptions, Executable, Profile } from '../backend.ts';
import { prepareBatch } from '../batch.ts';
import type { BatchRows, ReferenceContext } from './context.ts';

/** The oracle: plain TypeScript in float32 on one thread. Slow, obviously right, and what all other backends are tested against. */
export function reference(): Backend {
  return {
    name: 'reference',
    settings: { threads: 1, precision: 'float32' },
    capabilities: new Set(['channels', 'values', 'slots', 'kvCache', 'logits', 'invariance'] as const),
    supports: () => true,
    compile: compileReference,
  };
}

async function compileReference(graph: Graph, options: CompileOptions): Promise<Executable> {
  const infos = checkGraph(graph);
  const params = new Map<string, Float32Array>();
  const used = new Set(graph.ops.flatMap((op) => Object.values<string>(op.params)));
  for (const name of used) {
    options.signal?.throwIfAborted();
    params.set(name, await graph.params.get(name)!.read());
    options.onProgress?.({ stage: 'load', fraction: params.size / used.size });
  }
  const { layers, kvHeads, headDim } = graph.config;
  const kv = options.kvCache({
    layers,
    kvHeads,
    headDim,
    slots: options.slots,
    capacity: options.contextLength,
    elementType: 'float32',
  });
  const kvRows = kvStorage(options.contextLength * kvHeads * headDim);
  const times = new Map<string, Profile['entries'][number]>();
  let steps = 0;
  let stepMilliseconds = 0;
  let disposed = false;

  return {
    kv,
    async forward(batch) {
      if (disposed) throw new LlmoptError('LLMOPT_DISPOSED', 'This executable was disposed.');
      const lengths = prepareBatch(batch, graph, infos, kv, options.maxRows);
      const began = performance.now();
      const floats = new Map<string, Float32Array>();
      const lists = new Map<string, Int32Array[]>();
      const rows = batchRows(batch);
      for (const [name, info] of infos) {
        const count = info.rows === 'batch' ? rows.tokens.length : rows.logitRows.length;
        if (info.kind === 'float') floats.set(name, new Float32Array(count * info.width));
        else
          lists.set(
            name,
            Array.from({ length: count }, () => new Int32Array(0)),
          );
      }
      let last = began;
      for (const op of graph.ops) {
        definitionOf(op).kernels.reference(op, contextOf(op));
        const now = performance.now();
        note(op, now - last);
        last = now;
      }
      for (const [slot, length] of lengths) kv.commit(slot, length);
      steps++;
      stepMilliseconds += performance.now() - began;
      return { logits: floats.get(graph.logits)!, values: wantedValues(batch) };

      function contextOf(op: Op): ReferenceContext {
        const names: Record<string, string> = { ...op.inputs, ...op.outputs, ...op.params };
        const info = (role: string) => infos.get(names[role]!)!;
        return {
          batch: rows,
          float: (role) => floats.get(names[role]!)!,
          channels: (role) => lists.get(names[role]!)!,
          width: (role) => info(role).width,
          rows: (role) => (info(role).rows === 'batch' ? rows.tokens.length : rows.logitRows.length),
          param: (role) => params.get(names[role]!)!,
          has: (role) => names[role] !== undefined,
          kv: kvRows,
        };
      }

      function wantedValues(from: Batch): Record<string, Float32Array> {
        return Object.fromEntries(
          (from.values ?? []).map(({ name, rows: wanted }) => {
            const { width } = infos.get(name)!;
            const out = new Float32Array(wanted.length * width);
            Array.from(wanted).forEach((row, at) => {
              const list = lists.get(name)?.[row];
              if (list) for (const channel of list) out[at * width + channel] = 1;
              else out.set(floats.get(name)!.subarray(row * width, (row + 1) * width), at * width);
            });
            return [name, out];
          }),
        );
      }
    },
    memory() {
      const weightsBytes = [...params.values()].reduce((sum, param) => sum + param.byteLength, 0);
      return { weightsBytes, activationsBytes: 0, kv: kvReport(kv) };
    },
    profile: () => ({ steps, stepMilliseconds, entries: [...times.values()], kernels: [] }),
    async dispose() {
      disposed = true;
      params.clear();
      kvRows.clear();
    },
  };

  function note(op: Op, milliseconds: number): void {
    const key = `${op.kind} ${op.layer}`;
    const entry = times.get(key) ?? { kind: op.kind, layer: op.layer, milliseconds: 0 };
    entry.milliseconds += milliseconds;
    times.set(key, entry);
  }
}

function batchRows(batch: Batch): BatchRows {
  return {
    tokens: Int32Array.from(batch.tokens),
    slots: Int32Array.from(batch.slots),
    positions: Int32Array.from(batch.positions),
    prompt: batch.prompt ? Int32Array.from(batch.prompt) : new Int32Array(batch.tokens.length),
    logitRows: Int32Array.from(batch.logits),
  };
}

/** Key and value rows per layer and slot, made when first touched. */
function kvStorage(length: number) {
  const arrays = new Map<string, Float32Array>();
  const get = (key: string): Float32Array => {
    const array = arrays.get(key) ?? new Float32Array(length);
    arrays.set(key, array);
    return array;
  };
  return {
    keys: (layer: number, slot: number) => get(`keys ${layer} ${slot}`),
    values: (layer: number, slot: number) => get(`values ${layer} ${slot}`),
    clear: () => arrays.clear(),
  };
}
