// Packs every package, installs the tarballs into an empty project as a user would, and uses them there.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { writeTinyModel } from '../packages/core/test/tinyModel.ts';
import { leanInstallProblems } from './lean-install.mjs';
import { packageProblems } from './package-problems.mjs';

const root = path.join(import.meta.dirname, '..');
const run = promisify(execFile);
const problems = [];
const composeScript = `
import { createPipeline } from '@llmopt/core';
import { larosa } from '@llmopt/larosa';
import { vattention } from '@llmopt/vattention';
const plugins = [larosa({ sparsity: 0.4 }), vattention()];
await using pipeline = await createPipeline({ model: process.argv[2], plugins });
const { usage } = await pipeline.generate('hello', { maxNewTokens: 8, ignoreEndToken: true });
console.log(usage.outputTokens + ' tokens');
`;

/** Runs a command to its end and returns its output. */
async function output(command, args, cwd) {
  const env = { ...process.env, LLMOPT_CACHE: project };
  return (await run(command, args, { cwd, env, maxBuffer: 2 ** 26, timeout: 300_000 })).stdout;
}

/** The same, where a failure becomes a problem instead of an exception. */
async function attempt(what, command, args, cwd) {
  try {
    return await output(command, args, cwd);
  } catch (error) {
    problems.push(`${what}: ${error.stderr || error.message}`);
    return '';
  }
}

const packages = [];
for (const folder of (await readdir(path.join(root, 'packages'))).sort()) {
  const directory = path.join(root, 'packages', folder);
  if (!existsSync(path.join(directory, 'src/index.ts'))) {
    console.log(`skipped: packages/${folder} has no src/index.ts yet`);
    continue;
  }
  packages.push({ directory, manifest: JSON.parse(await readFile(path.join(directory, 'package.json'), 'utf8')) });
}

const project = await mkdtemp(path.join(tmpdir(), 'llmopt-packages-'));
try {
  const tarballs = new Map();
  for (const { directory, manifest } of packages) {
    const { messages, pkg } = await publint({ pkgDir: directory, strict: true });
    for (const message of messages)
      problems.push(`${manifest.name}: publint: ${formatMessage(message, pkg, { color: false })}`);

    const packed = await attempt(
      `${manifest.name}: npm pack`,
      'npm',
      ['pack', '--json', '--ignore-scripts', '--pack-destination', project],
      directory,
    );
    if (!packed) continue;
    // A list up to npm 11, an object by package name from npm 12 on.
    const [{ filename, files }] = Object.values(JSON.parse(packed));
    problems.push(
      ...packageProblems(
        manifest,
        files.map((file) => file.path),
      ),
    );
    tarballs.set(manifest.name, path.join(project, path.basename(filename)));
  }

  await writeFile(
    path.join(project, 'package.json'),
    JSON.stringify({ name: 'consumer', private: true, type: 'module' }),
  );
  await attempt(
    'npm install',
    'npm',
    // What the entry for tests needs beside them.
    ['install', '--no-audit', '--no-fund', '--ignore-scripts', ...tarballs.values(), 'fast-check@4'],
    project,
  );

  const lock = JSON.parse(
    await readFile(path.join(project, 'package-lock.json'), 'utf8').catch(() => '{"packages":{}}'),
  );
  for (const [location, entry] of Object.entries(lock.packages)) {
    if (entry.hasInstallScript)
      problems.push(`${location} has an install script; whoever installs these packages would run it.`);
  }

  for (const { manifest } of packages) {
    for (const entry of Object.keys(manifest.exports).filter((name) => !name.endsWith('.json'))) {
      const name = path.posix.join(manifest.name, entry);
      const imported = `if (Object.keys(await import('${name}')).length === 0) throw new Error('it exports nothing')`;
      await attempt(`import ${name}`, process.execPath, ['--input-type=module', '--eval', imported], project);
    }
    for (const name of Object.keys(manifest.bin ?? {})) {
      const help = await attempt(`${name} --help`, 'npx', ['--no-install', name, '--help'], project);
      if (help && !help.includes(name)) problems.push(`${name} --help does not mention ${name}: ${help}`);
    }
  }

  // A real request, so that workers and kernels are found where the installed package has them.
  const model = await writeTinyModel(path.join(project, 'tiny.gguf'));
  await writeFile(path.join(project, 'compose.mjs'), composeScript);
  const answer = await attempt(
    'compose core, larosa and vattention',
    process.execPath,
    ['compose.mjs', model],
    project,
  );
  if (answer && answer.trim() !== '8 tokens')
    problems.push(`compose core, larosa and vattention: expected 8 tokens, got ${answer}`);

  const lean = ['@llmopt/core', '@llmopt/larosa'].map((name) => tarballs.get(name));
  problems.push(...(await leanInstallProblems(lean, model, output)));
} finally {
  await rm(project, { recursive: true, force: true });
}

for (const problem of problems) console.error(`- ${problem.trim()}`);
if (problems.length > 0) {
  console.error(`${problems.length} problems in the packages.`);
  process.exitCode = 1;
} else {
  console.log(
    `${packages.length} packages can be installed and used: ${packages.map(({ manifest }) => manifest.name).join(', ')}`,
  );
}
