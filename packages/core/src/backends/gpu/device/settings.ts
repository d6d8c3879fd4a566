import type { GpuFunction } from '../abi.ts';

/** What gpu.js must know about any kernel. */
export function kernelSettings(source: GpuFunction, constants: Readonly<Record<string, number>>) {
  return {
    constants,
    constantTypes: Object.fromEntries(
      Object.entries(constants).map(([name, value]) => [name, Number.isInteger(value) ? 'Integer' : 'Float']),
    ),
    argumentTypes: Array.from({ length: source.length }, () => 'Input'),
    returnType: 'Number',
    dynamicOutput: true,
    // The guard that gpu.js puts around loops whose bounds it does not know.
    loopMaxIterations: 2 ** 30,
  };
}
