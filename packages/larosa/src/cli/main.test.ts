import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../core/test/tinyModel.ts';
import { main } from './main.ts';

let folder: string;
let model: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'larosa-cli-'));
  model = await writeTinyModel(path.join(folder, 'tiny.gguf'));
  await writeFile(path.join(folder, 'text.txt'), 'hello world and all the others '.repeat(100));
});
afterAll(() => rm(folder, { recursive: true }));

function sink() {
  const parts: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      parts.push(String(chunk));
      done();
    },
  });
  return { stream, text: () => parts.join('') };
}

async function run(...args: string[]) {
  const [stdout, stderr] = [sink(), sink()];
  const code = await main(args, { stdout: stdout.stream, stderr: stderr.stream });
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}

describe('llmopt-larosa', () => {
  it('calibrates, prints the path, and finds the file again', async () => {
    const out = path.join(folder, 'tiny.safetensors');
    const args = ['calibrate', '--model', model, '--text', path.join(folder, 'text.txt'), '--out', out, '--no-search'];
    const first = await run(...args, '--tokens', '300', '--samples', '32', '--window', '64');
    expect(first).toMatchObject({ code: 0, stdout: `${out}\n` });
    expect(first.stderr).toBe('Loading the model\nCollecting activations\nWeighing the sites\nWriting the file\n');
    const second = await run(...args, '--tokens=300', '--samples=32', '--window=64');
    expect(second).toMatchObject({ code: 0, stdout: `${out}\n`, stderr: 'Loading the model\nIt was there already.\n' });
  });

  it('says what its search was worth', async () => {
    const args = ['--model', model, '--tokens', '260', '--samples', '32', '--window', '64', '--search-seconds', '2'];
    const { code, stderr } = await run('calibrate', ...args, '--out', path.join(folder, 'searched.safetensors'));
    expect(code).toBe(0);
    expect(stderr).toMatch(/Looking for budgets\nWriting the file\n(At 0\.\d+ a KL divergence of [\d.]+, with .*\n)+$/);
  });

  it('shows its usage', async () => {
    expect((await run('--help')).stdout).toContain('calibrate');
    expect((await run('calibrate', '--help')).stdout).toMatch(/--model.*--text.*--tokens/s);
    expect((await run()).code).toBe(0);
  });

  it.each([
    [['callibrate'], 2, 'There is no command "callibrate"'],
    [['calibrate', '--tokenz', '3'], 2, "Unknown option '--tokenz'"],
    [['calibrate', '--tokens', 'many'], 2, '--tokens must be a whole number'],
    [['calibrate', '--tokens'], 2, 'argument missing'],
    [['calibrate', '--no-search', '--search-seconds', '9'], 2, 'are both given'],
    [['calibrate', '--search-seconds', '0'], 2, 'seconds of the search is 0'],
    [['calibrate', '--text', '/nowhere/text'], 1, '/nowhere/text cannot be read'],
    [['calibrate', '--model', '/nowhere/model.gguf'], 1, '/nowhere/model.gguf'],
  ] as const)('says what is wrong with %j', async (args, code, message) => {
    const result = await run(...args);
    expect(result.code).toBe(code);
    expect(result.stderr).toContain(message);
    expect(result.stdout).toBe('');
  });

  const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

  if (!existsSync(cli)) console.log('Ctrl-C is not tested: the package is not built.');
  it.skipIf(!existsSync(cli))('leaves nothing half-written at Ctrl-C', async () => {
    const cache = path.join(folder, 'cache');
    const child = spawn(
      process.execPath,
      [cli, 'calibrate', '--model', model, '--tokens', '1000000', '--window', '256'],
      { env: { ...process.env, LLMOPT_CACHE: cache }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let said = '';
    let asked = false;
    child.stderr.on('data', (part) => {
      said += part;
      if (!asked && said.includes('Writing text')) asked = child.kill('SIGINT');
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(said).toContain('Interrupted; nothing was written.');
    expect(code).toBe(130);
    expect(await readdir(path.join(cache, 'larosa')).catch(() => [])).toEqual([]);
  });
});
