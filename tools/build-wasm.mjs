// Compiles AssemblyScript and writes it as a TypeScript module: node tools/build-wasm.mjs ENTRY OUT.generated.ts [--unshared]
// Kernels of the wasm backend get a memory that threads share; other code, with --unshared, one of its own.
import { readFile, rename, writeFile } from 'node:fs/promises';
import asc from 'assemblyscript/asc';
import { checkKernelModule } from './check-kernel-module.mjs';

const options = [
  ...['-O3', '--enable', 'simd', '--enable', 'threads', '--enable', 'relaxed-simd', '--runtime', 'stub'],
  ...['--importMemory', '--noExportMemory', '--initialMemory', '1', '--maximumMemory', '65536'],
  ...['--noAssert', '--uncheckedBehavior', 'always'],
];

/** The compiled module's bytes. */
export async function compileKernels(entry, { shared = true } = {}) {
  let binary;
  const memory = shared ? ['--sharedMemory'] : [];
  const { error, stderr } = await asc.main([entry, '--outFile', 'kernels.wasm', ...options, ...memory], {
    writeFile: (_name, contents) => {
      if (typeof contents !== 'string') binary = contents;
    },
  });
  if (error || !binary) throw new Error(`${entry} does not compile:\n${stderr.toString()}`);
  return binary;
}

/** Compiles, checks and writes; the file stays as it is when nothing changed, so that its time stamp means something. */
export async function buildKernels(entry, out, memory = {}) {
  const binary = await compileKernels(entry, memory);
  checkKernelModule(binary, entry);
  const base64 = Buffer.from(binary).toString('base64');
  const source = `// Made from ${entry} by tools/build-wasm.mjs.\nexport const wasmBase64 =\n  '${base64}';\n`;
  if ((await readFile(out, 'utf8').catch(() => '')) === source) return;
  const temporary = `${out}.${process.pid}.tmp`;
  await writeFile(temporary, source);
  await rename(temporary, out);
}

if (import.meta.main) {
  const [entry, out, memory] = process.argv.slice(2);
  if (!entry || !out || (memory && memory !== '--unshared')) {
    console.error('Usage: node tools/build-wasm.mjs ENTRY OUT.generated.ts [--unshared]');
    process.exitCode = 2;
  } else {
    await buildKernels(entry, out, { shared: !memory });
  }
}
