import { setFlagsFromString } from 'node:v8';
import { LlmoptError } from '../../errors.ts';
import { abiVersion, type WasmModule } from './abi.ts';
import { wasmBase64 } from './kernels.generated.ts';

/** Bits of the vector instructions that kernels are compiled to. */
export type VectorBits = 128 | 256;

// Versions of V8 that the kernels' tests have passed on with 256 bits: the joining is experimental.
const TESTED_V8 = /^14\./;

/** 256 where V8 can join neighbouring 128-bit operations: on x64, and it checks for AVX2 itself. */
export const widestVectors: VectorBits = process.arch === 'x64' && TESTED_V8.test(process.versions.v8) ? 256 : 128;

// WebAssembly has vectors of 128 bits. V8 can join pairs of them into 256-bit ones, which keeps every bit of the result, but only
// behind a flag, and only in its optimising compiler.
const WIDE = ['experimental-wasm-revectorize'];
// Compile everything at once and for good, so that no flag need outlive the compilation. Inlining would ask for what earlier runs saw.
const EAGER = ['no-liftoff', 'no-wasm-lazy-compilation', 'no-wasm-inlining'];

// Of equal bytes V8 hands out what it compiled before, whatever the flags were then: an empty custom section makes them differ.
const WIDE_MARK = Buffer.from('\0\x05\x04wide', 'latin1');

const compiledModules = new Map<string, WebAssembly.Module>();

/** Compiles the kernels of core or of a plugin, once per process. @throws LLMOPT_PLAN when they are for another version of the ABI */
export function compileModule(module: WasmModule | 'core', vectorBits: VectorBits): WebAssembly.Module {
  if (module !== 'core' && module.abiVersion !== abiVersion) {
    throw new LlmoptError(
      'LLMOPT_PLAN',
      `The kernels of "${module.name}" are built for version ${module.abiVersion} of the kernel ABI; this is version ${abiVersion}.`,
      { hint: 'Use versions of the packages that fit together.' },
    );
  }
  const base64 = module === 'core' ? wasmBase64 : module.base64;
  const key = `${vectorBits} ${base64}`;
  const known = compiledModules.get(key);
  if (known) return known;
  const bytes = Buffer.concat([Buffer.from(base64, 'base64'), vectorBits === 256 ? WIDE_MARK : Buffer.of()]);
  const compiled = withFlags(vectorBits === 256 ? [...EAGER, ...WIDE] : [], () => new WebAssembly.Module(bytes));
  compiledModules.set(key, compiled);
  return compiled;
}

/** V8's flags are the process's: they are set for one synchronous call and put back. */
function withFlags<T>(flags: readonly string[], run: () => T): T {
  for (const flag of flags) setFlagsFromString(`--${flag}`);
  try {
    return run();
  } finally {
    for (const flag of flags) setFlagsFromString(flag.startsWith('no-') ? `--${flag.slice(3)}` : `--no-${flag}`);
  }
}
