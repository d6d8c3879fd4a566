// Packs every package, installs the tarballs into an empty project as a user would, and uses them there.
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { packageProblems } from './package-problems.mjs';

const root = path.join(import.meta.dirname, '..');
const run = promisify(execFile);
const problems = [];

/** Runs a command to its end; a failure becomes a problem instead of an exception. */
async function attempt(what, command, args, cwd) {
  try {
    return (await run(command, args, { cwd, maxBuffer: 2 ** 26, timeout: 300_000 })).stdout;
  } catch (error) {
    problems.push(`${what}: ${error.stderr || error.message}`);
    return '';
  }
}

const packages = [];
for (const folder of (await readdir(path.join(root, 'packages'))).sort()) {
  const directory = path.join(root, 'packages', folder);
  packages.push({ directory, manifest: JSON.parse(await readFile(path.join(directory, 'package.json'), 'utf8')) });
}

const project = await mkdtemp(path.join(tmpdir(), 'llmopt-packages-'));
try {
  const tarballs = [];
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
    tarballs.push(path.join(project, path.basename(filename)));
  }

  await writeFile(
    path.join(project, 'package.json'),
    JSON.stringify({ name: 'consumer', private: true, type: 'module' }),
  );
  await attempt('npm install', 'npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', ...tarballs], project);

  const lock = JSON.parse(
    await readFile(path.join(project, 'package-lock.json'), 'utf8').catch(() => '{"packages":{}}'),
  );
  for (const [location, entry] of Object.entries(lock.packages)) {
    if (entry.hasInstallScript)
      problems.push(`${location} has an install script; whoever installs these packages would run it.`);
  }

  for (const { manifest } of packages) {
    const imported = `if (Object.keys(await import('${manifest.name}')).length === 0) throw new Error('it exports nothing')`;
    await attempt(`import ${manifest.name}`, process.execPath, ['--input-type=module', '--eval', imported], project);
    for (const name of Object.keys(manifest.bin ?? {})) {
      const help = await attempt(`${name} --help`, 'npx', ['--no-install', name, '--help'], project);
      if (help && !help.includes(name)) problems.push(`${name} --help does not mention ${name}: ${help}`);
    }
  }

  const script = path.join(project, 'compose.mjs');
  await writeFile(
    script,
    `import { createPipeline } from '@llmopt/core';
import { larosa } from '@llmopt/larosa';
const error = await createPipeline({ model: './missing.gguf', plugins: [larosa({ sparsity: 0.4 })] }).then(() => {}, (error) => error);
console.log(error?.code);
`,
  );
  const code = (await attempt('compose core and larosa', process.execPath, [script], project)).trim();
  if (!code.startsWith('LLMOPT_'))
    problems.push(`compose core and larosa: expected a typed error for a missing model, got ${code || 'nothing'}.`);
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
