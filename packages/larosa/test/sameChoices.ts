import { type Backend, buildGraph, type Executable, type Graph, mapOps, openGguf, reference } from '@llmopt/core';
import { expect } from 'vitest';
import { compile } from '../../core/test/backends.ts';
import { realModelPath } from '../../core/test/realModel/model.ts';
import { parityFixture } from '../../core/test/realModel/parityFixture.ts';
import { larosa } from '../src/larosa.ts';
import { topK } from '../src/selection/choose.ts';

// Where the two best logits are closer than this, rounding may choose.
const tie = 1e-3;
const chunk = 64;

/** The channels that an op kept, by the name of its output, per position. */
type Choices = Map<string, Int32Array[]>;

export interface Lengths {
  /** Tokens of text, and of greedy decoding behind them. */
  prefill: number;
  decode: number;
}

/**
 * SmolLM2-135M on a backend against the reference: expects the greedy text of the reference, and returns the mean KL divergence.
 *
 * Top-K is not continuous: of two inputs that are equal but for rounding, two engines may keep another one, and from there on every layer and
 * token is that of another choice. So every choice is expected to be the Top-K of the backend's own inputs, and the reference is made to take
 * the same ones.
 */
export async function compareWithReference(backend: Backend, sparsity: number, { prefill, decode }: Lengths) {
  const checkpoint = await openGguf(await realModelPath());
  const base = buildGraph(checkpoint);
  const graph = sparsity === 0 ? base : await larosa({ sparsity }).graph!(base);
  const options = { contextLength: 256, maxRows: chunk, slots: 1 };
  const text = parityFixture().window(0).slice(0, prefill);
  const choices: Choices = new Map();

  const executable = await compile(backend, graph, options);
  const actual = await run(executable, graph, text, decode, choices);
  await executable.dispose();
  const oracle = await compile(reference(), withChoices(graph, choices), options);
  const expected = await run(oracle, base, text, decode, undefined, actual.tokens);
  await oracle.dispose();
  await checkpoint.close();

  const divergences = expected.logits.map((row, i) => divergence(row, actual.logits[i]!));
  const mean = divergences.reduce((sum, one) => sum + one, 0) / divergences.length;
  console.log(
    `${backend.name} ${JSON.stringify(backend.settings)}, LaRoSA at ${sparsity}: mean KL ${mean.toExponential(2)}, largest ` +
      `${Math.max(...divergences).toExponential(2)}; tokens/s: prefill ${actual.prefillSpeed.toFixed(2)}, decode ${actual.decodeSpeed.toFixed(2)}`,
  );
  for (const [i, row] of expected.logits.slice(text.length - 1).entries()) {
    const [best, second] = bestTwo(row);
    if (row[best]! - row[second]! < tie) break;
    expect(actual.tokens[i], `token ${i} of the greedy text`).toBe(best);
  }
  return mean;
}

/**
 * Logits of a text and of what is decoded behind it, greedily or as `forced`, and what was decoded. Keeps the channels that were chosen, and
 * checks that they are the largest.
 */
async function run(
  executable: Executable,
  graph: Graph,
  text: readonly number[],
  decode: number,
  choices?: Choices,
  forced?: number[],
) {
  const sparsified = choices ? graph.ops.filter((op) => op.kind === 'larosa.sparsify') : [];
  const names = sparsified.map(
    ({ inputs, outputs }) => [Object.values(inputs)[0]!, Object.values(outputs)[0]!] as const,
  );
  const slot = executable.kv.acquire()!;
  const logits: Float32Array[] = [];
  const forward = async (tokens: readonly number[]) => {
    const rows = tokens.map((_, i) => i);
    const from = executable.kv.length(slot);
    const result = await executable.forward({
      tokens,
      slots: rows.map(() => slot),
      positions: rows.map((i) => from + i),
      logits: rows,
      values: names.flat().map((name) => ({ name, rows })),
    });
    const width = result.logits.length / rows.length;
    for (const i of rows) logits.push(result.logits.slice(i * width, (i + 1) * width));
    for (const [input, channels] of names) {
      for (const list of checkedChoices(result.values[input]!, result.values[channels]!, rows.length)) {
        choices!.set(channels, [...(choices!.get(channels) ?? []), list]);
      }
    }
  };
  const began = performance.now();
  for (let at = 0; at < text.length; at += chunk) await forward(text.slice(at, at + chunk));
  const prefilled = performance.now();
  const tokens: number[] = [];
  for (let i = 0; i < decode; i++) {
    tokens.push(forced?.[i] ?? bestTwo(logits.at(-1)!)[0]);
    await forward([tokens.at(-1)!]);
  }
  const decoded = performance.now();
  tokens.push(bestTwo(logits.at(-1)!)[0]);
  return {
    logits,
    tokens,
    prefillSpeed: (text.length / (prefilled - began)) * 1000,
    decodeSpeed: (decode / (decoded - prefilled)) * 1000,
  };
}

function checkedChoices(input: Float32Array, mask: Float32Array, rows: number): Int32Array[] {
  const width = input.length / rows;
  return Array.from({ length: rows }, (_, row) => {
    const alive = mask.subarray(row * width, (row + 1) * width);
    const list = Int32Array.from(alive.keys()).filter((channel) => alive[channel] === 1);
    expect(list).toEqual(topK(input.subarray(row * width, (row + 1) * width), list.length));
    return list;
  });
}

/** The graph whose sparsify ops take what was chosen elsewhere, by position. */
function withChoices(graph: Graph, choices: Choices): Graph {
  return mapOps(graph, (op) => {
    if (op.kind !== 'larosa.sparsify') return op;
    const lists = choices.get(op.outputs.channels!)!;
    return {
      ...op,
      definition: {
        ...op.definition,
        kernels: {
          reference(_op, context) {
            context.batch.positions.forEach((position, row) => {
              context.channels('channels')[row] = lists[position]!;
            });
          },
        },
      },
    };
  });
}

function bestTwo(logits: Float32Array): [best: number, second: number] {
  let best = 0;
  let second = -1;
  for (let i = 1; i < logits.length; i++) {
    if (logits[i]! > logits[best]!) {
      second = best;
      best = i;
    } else if (second < 0 || logits[i]! > logits[second]!) second = i;
  }
  return [best, second];
}

function divergence(of: Float32Array, from: Float32Array): number {
  const [p, q] = [logShares(of), logShares(from)];
  return p.reduce((sum, share, i) => sum + Math.exp(share) * (share - q[i]!), 0);
}

function logShares(logits: Float32Array): Float64Array {
  const largest = logits.reduce((most, logit) => Math.max(most, logit), -Infinity);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  return Float64Array.from(logits, (logit) => logit - largest - Math.log(sum));
}
