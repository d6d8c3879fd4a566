import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { buildKernels } from './build-wasm.mjs';

let folder;
let entry;
let out;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'llmopt-wasm-'));
  entry = path.relative('.', path.join(folder, 'index.ts'));
  out = path.join(folder, 'kernels.generated.ts');
});
afterEach(() => rm(folder, { recursive: true }));

it('writes a module that runs on the shared memory, and does not touch it again', async () => {
  await writeFile(entry, 'export function twice(at: i32): void { store<i32>(at, load<i32>(at) * 2); }');
  await buildKernels(entry, out);
  const [, base64] = /wasmBase64 =\n {2}'([^']+)'/.exec(await readFile(out, 'utf8'));

  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  const { instance } = await WebAssembly.instantiate(Buffer.from(base64, 'base64'), { env: { memory } });
  const words = new Int32Array(memory.buffer);
  words[3] = 21;
  instance.exports.twice(12);
  expect(words[3]).toBe(42);

  const before = await stat(out);
  await buildKernels(entry, out);
  expect((await stat(out)).ino).toBe(before.ino);
  expect((await readdir(folder)).sort()).toEqual(['index.ts', 'kernels.generated.ts']);
});

it('refuses a kernel with a table and writes nothing', async () => {
  await writeFile(
    entry,
    'const table: StaticArray<i32> = [1, 2, 3];\nexport function at(i: i32): i32 { return table[i]; }',
  );
  await expect(buildKernels(entry, out)).rejects.toThrow(/static data/);
  expect(await readdir(folder)).toEqual(['index.ts']);
});

it('names what does not compile', async () => {
  await writeFile(entry, 'export function broken(): i32 { return missing; }');
  await expect(buildKernels(entry, out)).rejects.toThrow(/missing/);
});
