import type { Graph, ValueInfo } from '../../graph/graph.ts';
import { type AttentionOp, type CustomOp, isCustom, type LinearOp, type Op } from '../../ops/op.ts';
import type { GpuCall, GpuFunction, GpuKernel, GpuLayout, GpuTensor } from './abi.ts';
import { lowerAttention } from './kernels/attention.ts';
import { coreKernels } from './kernels/index.ts';

/** Puts the batch's rows of keys and values in the cache. */
export interface StoreStep {
  readonly kind: 'store';
  readonly layer: number;
  readonly key: GpuTensor;
  readonly value: GpuTensor;
}

export interface KernelStep {
  readonly kind: 'kernel';
  readonly call: GpuCall;
  /** Which of the program's kernels runs: calls of one source share a kernel, if none needs what another left in its output. */
  readonly kernel: number;
}

export interface Program {
  readonly steps: readonly (StoreStep | KernelStep)[];
  readonly kernels: readonly Pick<GpuCall, 'kernel' | 'constants'>[];
  readonly values: ReadonlyMap<string, GpuTensor>;
  readonly params: ReadonlyMap<string, GpuTensor>;
  readonly tables: readonly { readonly tensor: GpuTensor; readonly make: () => Float32Array }[];
  readonly batch: Pick<GpuLayout, 'tokens' | 'slots' | 'positions' | 'prompt' | 'logitRows'>;
  readonly keys: ReadonlyMap<number, GpuTensor>;
  readonly cachedValues: ReadonlyMap<number, GpuTensor>;
}

/** The kernel of an op that a plugin brings, if it has one for this backend. */
export function customKernel(op: CustomOp): GpuKernel<CustomOp> | undefined {
  return op.definition.kernels.gpu;
}

/** Lowers every op to kernel calls. */
export function compileProgram(graph: Graph, infos: ReadonlyMap<string, ValueInfo>, contextLength: number): Program {
  const values = new Map<string, GpuTensor>();
  for (const [name, { width, rows }] of infos) values.set(name, { size: [width, rows] });
  const params = new Map<string, GpuTensor>();
  const tables = new Map<string, { tensor: GpuTensor; make: () => Float32Array }>();
  const scratch = new Map<string, GpuTensor>();
  const batch = {
    tokens: { size: ['batch'] },
    slots: { size: ['batch'] },
    positions: { size: ['batch'] },
    prompt: { size: ['batch'] },
    logitRows: { size: ['logits'] },
  } as const;
  const keys = new Map<number, GpuTensor>();
  const cachedValues = new Map<number, GpuTensor>();
  const makers = new Map<string, Op>(
    graph.ops.flatMap((op) => Object.values<string>(op.outputs).map((name) => [name, op] as const)),
  );

  const layout: GpuLayout = {
    value: (name) => values.get(name)!,
    param: (name) => once(params, name, () => ({ size: graph.params.get(name)!.shape })),
    table: (key, size, make) => once(tables, key, () => ({ tensor: { size }, make })).tensor,
    scratch: (name, size) => once(scratch, name, () => ({ size })),
    ...batch,
    contextLength,
  };
  const kv = {
    keys: (layer: number) => once(keys, layer, cacheTensor),
    values: (layer: number) => once(cachedValues, layer, cacheTensor),
  };

  const steps = graph.ops.flatMap((op): (StoreStep | GpuCall)[] => {
    if (isCustom(op)) return [...customKernel(op)!.lower(op, layout)];
    if (op.kind === 'attention') return [storeStep(op), ...lowerAttention(op, layout, kv)];
    if (op.kind === 'linear' && op.inputs.channels !== undefined) return [...lowerSparse(op)];
    return [...(coreKernels[op.kind] as GpuKernel<Op>).lower(op, layout)];
  });

  function storeStep({ layer, inputs }: AttentionOp): StoreStep {
    return { kind: 'store', layer, key: layout.value(inputs.key), value: layout.value(inputs.value) };
  }

  function lowerSparse(op: LinearOp): readonly GpuCall[] {
    const maker = makers.get(op.inputs.channels!)!;
    const own = isCustom(maker) ? customKernel(maker)?.linear?.(op, maker, layout) : undefined;
    return own ?? coreKernels.linear.lower(op, layout);
  }

  return {
    ...shareKernels(steps, values.get(graph.logits)!),
    values,
    params,
    tables: [...tables.values()],
    batch,
    keys,
    cachedValues,
  };
}

// Sizes of the cache grow; the executable binds what there is.
const cacheTensor = (): GpuTensor => ({ size: [] });

function once<Key, Made>(made: Map<Key, Made>, key: Key, make: () => Made): Made {
  const known = made.get(key);
  if (known !== undefined) return known;
  const fresh = make();
  made.set(key, fresh);
  return fresh;
}

/** Gives each call a kernel whose last output nobody will read any more. */
function shareKernels(steps: readonly (StoreStep | GpuCall)[], logits: GpuTensor): Pick<Program, 'steps' | 'kernels'> {
  const lastRead = new Map<GpuTensor, number>();
  steps.forEach((step, index) => {
    for (const tensor of 'kernel' in step ? step.tensors : [step.key, step.value]) lastRead.set(tensor, index);
  });
  lastRead.set(logits, Infinity);

  const sources = new Map<GpuFunction, Map<string, number[]>>();
  const kernels: Pick<GpuCall, 'kernel' | 'constants'>[] = [];
  const busyUntil: number[] = [];
  const shared = steps.map((step, index): StoreStep | KernelStep => {
    if (!('kernel' in step)) return step;
    const { kernel, constants } = step;
    // The shape of a kernel's grid is compiled in, its sizes are not.
    const variant = JSON.stringify([constants, (step.threads ?? step.output.size).length]);
    const candidates: number[] = once(
      once(sources, kernel, () => new Map<string, number[]>()),
      variant,
      () => [],
    );
    let chosen = candidates.find((candidate) => busyUntil[candidate]! < index);
    if (chosen === undefined) {
      chosen = kernels.push({ kernel, constants }) - 1;
      candidates.push(chosen);
    }
    busyUntil[chosen] = Math.max(lastRead.get(step.output) ?? index, index);
    return { kind: 'kernel', call: step, kernel: chosen };
  });
  return { steps: shared, kernels };
}
