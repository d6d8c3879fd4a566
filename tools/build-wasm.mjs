// Compiles AssemblyScript kernels and writes them as a TypeScript module: node tools/build-wasm.mjs ENTRY OUT.generated.ts
import { readFile, rename, writeFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import asc from 'assemblyscript/asc';
import { checkKernelModule } from './check-kernel-module.mjs';

const options = [
  ...['-O3', '--enable', 'simd', '--enable', 'threads', '--enable', 'relaxed-simd', '--runtime', 'stub'],
  ...['--importMemory', '--sharedMemory', '--initialMemory', '1', '--maximumMemory', '65536'],
  ...['--noAssert', '--uncheckedBehavior', 'always'],
];

/** The compiled module's bytes. */
export async function compileKernels(entry) {
  let binary;
  const { error, stderr } = await asc.main([entry, '--outFile', 'kernels.wasm', ...options], {
    writeFile: (_name, contents) => {
      if (typeof contents !== 'string') binary = contents;
    },
  });
  if (error || !binary) throw new Error(`${entry} does not compile:\n${stderr.toString()}`);
  return binary;
}

async function main([entry, out]) {
  if (!entry || !out) throw new Error('Usage: node tools/build-wasm.mjs ENTRY OUT.generated.ts');
  const binary = await compileKernels(entry);
  checkKernelModule(binary, entry);
  const source = `// Made from ${entry} by tools/build-wasm.mjs.\nexport const wasmBase64 =\n  '${Buffer.from(binary).toString('base64')}';\n`;
  if ((await readFile(out, 'utf8').catch(() => '')) === source) return;
  await writeFile(`${out}.tmp`, source);
  await rename(`${out}.tmp`, out);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await main(process.argv.slice(2));
