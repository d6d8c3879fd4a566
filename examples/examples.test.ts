import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../packages/core/test/tinyModel.ts';

// The examples run as a user runs them: on the built packages, as processes of their own.

const run = promisify(execFile);
let folder: string;
let model: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'llmopt-examples-'));
  model = await writeTinyModel(path.join(folder, 'tiny.gguf'));
});
afterAll(() => rm(folder, { recursive: true }));

const example = (name: string, ...args: string[]) =>
  run(process.execPath, [path.join(import.meta.dirname, name), ...args], {
    env: { ...process.env, LLMOPT_CACHE: folder },
  });

describe('examples', () => {
  it('compose.mjs streams an answer and its figures', async () => {
    const { stdout } = await example('compose.mjs', model, 'hello');
    expect(stdout).toMatch(/\n\n\d+ tokens, [\d.]+ ms per token\n$/);
  });

  it('custom-plugin.mjs never repeats a token', async () => {
    const { stdout } = await example('custom-plugin.mjs', model, 'hello world');
    expect(stdout.startsWith('hello world')).toBe(true);
    expect(stdout.trim().length).toBeGreaterThan('hello world'.length);
  });

  it.each(['0', '0.4'])(
    'onnx-export: the file says in plain onnxruntime-node what the pipeline says, sparsity %s',
    async (sparsity) => {
      const file = path.join(folder, `model-${sparsity}.onnx`);
      const { stdout } = await example('onnx-export/export.mjs', model, file, sparsity);
      const said = /^behind tokens ([\d ]+) comes (\d+), with logit (.*)$/m;
      const [, tokens = '', best, logit] = said.exec(stdout) ?? [];
      const other = said.exec((await example('onnx-export/run.mjs', file, ...tokens.split(' '))).stdout) ?? [];
      expect(tokens).toMatch(/^\d+ \d/);
      expect(other.slice(1, 3)).toEqual([tokens, best]);
      expect(Number(other[3])).toBeCloseTo(Number(logit), 3);
    },
  );
});
