import type { Backend, Executable } from '../backends/backend.ts';
import type { Graph } from '../graph/graph.ts';
import { contiguousKvCache } from '../kv/contiguous.ts';

export interface CompileSizes {
  /** Default 3. */
  slots?: number;
  /** Default 32. */
  maxRows?: number;
  /** Default: that of the model. */
  contextLength?: number;
}

/** Compiles a graph with nothing cached. @throws what the backend throws */
export function compile(backend: Backend, graph: Graph, sizes: CompileSizes = {}): Promise<Executable> {
  return backend.compile(graph, {
    slots: sizes.slots ?? 3,
    maxRows: sizes.maxRows ?? 32,
    contextLength: sizes.contextLength ?? graph.config.contextLength,
    kvCache: contiguousKvCache,
    modelKey: 'test',
    cacheDir: undefined,
  });
}

/** A piece of a sequence: goes on where the slot ends. */
export interface Piece {
  slot: number;
  tokens: readonly number[];
  /** Positions of the sequence below this are those of its prompt. Default 0: none is. */
  promptLength?: number;
}

/** Puts pieces in one batch, with logits for every row; returns one row of logits per token. */
export async function forwardPieces(executable: Executable, pieces: readonly Piece[]): Promise<Float32Array[]> {
  const rows = pieces.flatMap(({ slot, tokens, promptLength = 0 }) => {
    const from = executable.kv.length(slot);
    return tokens.map((token, i) => ({ token, slot, position: from + i, prompt: from + i < promptLength ? 1 : 0 }));
  });
  const { logits } = await executable.forward({
    tokens: rows.map(({ token }) => token),
    slots: rows.map(({ slot }) => slot),
    positions: rows.map(({ position }) => position),
    prompt: rows.map(({ prompt }) => prompt),
    logits: rows.map((_, i) => i),
  });
  const width = logits.length / rows.length;
  return rows.map((_, i) => logits.slice(i * width, (i + 1) * width));
}

/** Logits of a sequence fed in pieces of the given lengths, alone. */
export async function forwardAlone(
  executable: Executable,
  tokens: readonly number[],
  chunk = tokens.length,
  promptLength = 0,
): Promise<Float32Array[]> {
  const slot = executable.kv.acquire()!;
  const out: Float32Array[] = [];
  for (let at = 0; at < tokens.length; at += chunk) {
    out.push(...(await forwardPieces(executable, [{ slot, tokens: tokens.slice(at, at + chunk), promptLength }])));
  }
  executable.kv.release(slot);
  return out;
}
