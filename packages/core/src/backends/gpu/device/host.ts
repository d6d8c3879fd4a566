import type { GpuJs, HostInput, RunKernel } from '../library.ts';
import type { Device, Operand } from './device.ts';
import { kernelSettings } from './settings.ts';

const numbersOf = (operand: Operand) => (operand.handle as HostInput).value;

/** gpu.js without a GPU: kernels as WebAssembly or as JavaScript, on this thread. */
export function openHost({ GPU, Input }: GpuJs, mode: 'webasm' | 'cpu'): Device {
  const gpu = new GPU({ mode });
  const view = (value: Float32Array, size: readonly number[]): Operand => ({
    size,
    handle: new Input(value, [...size]),
  });
  return {
    mode,
    name: mode === 'webasm' ? 'WebAssembly on one thread' : 'JavaScript on one thread',
    fixedSizes: true,
    async allocate(length, _what, fill) {
      let numbers = new Float32Array(length);
      await fill?.(numbers);
      return {
        length,
        view: (size) =>
          view(
            numbers.subarray(
              0,
              size.reduce((product, extent) => product * extent, 1),
            ),
            size,
          ),
        write: (data) => numbers.set(data),
        destroy() {
          numbers = new Float32Array(0);
        },
      };
    },
    copy(copies) {
      for (const { from, fromIndex, to, toIndex, length } of copies) {
        numbersOf(to).set(numbersOf(from).subarray(fromIndex, fromIndex + length), toIndex);
      }
    },
    kernel(source, constants) {
      const settings = kernelSettings(source, constants);
      // In mode `cpu` the strides of arguments are compiled in; in `webasm` gpu.js itself compiles for each size.
      const kernels = new Map<string, RunKernel>();
      return {
        async run(operands, threads, size) {
          const strides = mode === 'cpu' ? operands.map(({ size }) => size.slice(0, -1).join('x')).join() : '';
          const known = kernels.get(strides);
          const kernel =
            known ??
            gpu.createKernel(String(source), { ...settings, output: threads, dynamicArguments: mode === 'webasm' });
          if (known) known.setOutput(threads);
          else kernels.set(strides, kernel);
          return view(flatten(kernel(...operands.map(({ handle }) => handle)), threads), size);
        },
        destroy() {
          for (const kernel of kernels.values()) kernel.destroy();
          kernels.clear();
        },
      };
    },
    read: async (operand, length) => numbersOf(operand).slice(0, length),
    watch: () => () => undefined,
    dispose: () => gpu.destroy(),
  };
}

/** gpu.js gives arrays of arrays of rows; x runs fastest. */
function flatten(output: unknown, threads: readonly number[]): Float32Array {
  if (output instanceof Float32Array) return output;
  const flat = new Float32Array(threads.reduce((product, extent) => product * extent, 1));
  let at = 0;
  const add = (part: unknown): void => {
    if (part instanceof Float32Array) {
      flat.set(part, at);
      at += part.length;
    } else for (const inner of part as unknown[]) add(inner);
  };
  add(output);
  return flat;
}
