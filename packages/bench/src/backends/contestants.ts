import type { ArmSpec, BackendSpec } from '../arms/spec.ts';
import type { BackendsSettings } from './options.ts';

/** A backend that is measured, if it works here. */
export interface Contestant {
  /** What it is called until it has said more about itself. */
  title: string;
  backend: BackendSpec;
}

/** In the order of the table. */
export function contestantsOf({ threads }: Pick<BackendsSettings, 'threads'>): Contestant[] {
  return [
    { title: 'wasm int8', backend: { name: 'wasm', threads, precision: 'int8' } },
    { title: 'wasm float32', backend: { name: 'wasm', threads, precision: 'float32' } },
    { title: 'onnx float32', backend: { name: 'onnx', threads } },
    { title: 'gpu', backend: { name: 'gpu' } },
    { title: 'reference', backend: { name: 'reference' } },
  ];
}

/** The arm of a contestant; all run the same graph. */
export function armOf(
  { title, backend }: Contestant,
  { larosaSparsity }: Pick<BackendsSettings, 'larosaSparsity'>,
  model: string,
): ArmSpec {
  const plugins =
    larosaSparsity === undefined ? [] : [{ name: 'larosa' as const, options: { sparsity: larosaSparsity } }];
  return { name: title, model, backend, plugins };
}
