import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildGraph } from '../src/architectures/index.ts';
import type { Checkpoint } from '../src/checkpoint/checkpoint.ts';
import { openCheckpoint } from '../src/checkpoint/openCheckpoint.ts';

/** Random checkpoints written by transformers, with its logits; tools/fixtures/architectures.py made them. */
export const architectureFixtures = ['llama', 'phi', 'qwen2', 'qwen2-untied'] as const;

export type ArchitectureFixture = (typeof architectureFixtures)[number];

export const fixturePath = (name: ArchitectureFixture, file: string) =>
  fileURLToPath(new URL(`fixtures/architectures/${name}/${file}`, import.meta.url));

export function openFixture(name: ArchitectureFixture, format: Checkpoint['format']): Promise<Checkpoint> {
  return openCheckpoint(fixturePath(name, format === 'gguf' ? 'model.gguf' : '.'), { cacheDir: false });
}

/** Graph, prompt, and the logits behind each of its tokens. */
export async function loadFixture(name: ArchitectureFixture, format: Checkpoint['format']) {
  const checkpoint = await openFixture(name, format);
  const { tokens, vocabulary }: { tokens: number[]; vocabulary: number } = JSON.parse(
    readFileSync(fixturePath(name, 'expected.json'), 'utf8'),
  );
  const bytes = readFileSync(fixturePath(name, 'expected.bin'));
  const all = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const expected = tokens.map((_, i) => all.subarray(i * vocabulary, (i + 1) * vocabulary));
  return { graph: buildGraph(checkpoint), tokens, expected, close: () => checkpoint.close() };
}
