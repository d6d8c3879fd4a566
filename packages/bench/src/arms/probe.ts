import { format } from 'node:util';
import { contiguousKvCache } from '@llmopt/core';
import { type ModelShape, randomGraph } from '../kernels/shapes.ts';
import type { ProbeReport } from './protocol.ts';
import { type BackendSpec, backendOf } from './spec.ts';

const tiny: ModelShape = { width: 32, heads: 2, kvHeads: 1, headDim: 16, ffn: 32, layers: 1, vocabulary: 64 };

/** Runs a tiny model on a backend, in this process. @throws what `compile` and `forward` throw where the backend does not work */
export async function probeBackend(spec: BackendSpec): Promise<ProbeReport> {
  const notes: string[] = [];
  const { warn } = console;
  console.warn = (...words: unknown[]) => void notes.push(format(...words));
  try {
    const backend = await backendOf(spec);
    const executable = await backend.compile(randomGraph(tiny), {
      slots: 1,
      contextLength: 8,
      maxRows: 1,
      kvCache: contiguousKvCache,
      modelKey: 'probe',
      cacheDir: undefined,
    });
    try {
      const slot = executable.kv.acquire() as number;
      await executable.forward({ tokens: [1], slots: [slot], positions: [0], logits: [0] });
    } finally {
      await executable.dispose();
    }
    return { settings: backend.settings, notes };
  } finally {
    console.warn = warn;
  }
}
