import type { Param } from '@llmopt/core';
import type { Numbers } from '../linearAlgebra/dots.ts';
import { product, transposed } from '../linearAlgebra/product.ts';
import type { Basis } from './basis.ts';

const keyOf = (...parts: unknown[]) => JSON.stringify(['larosa', ...parts]);

/** Ones: what is left of a gain that was folded into the weights behind it. */
export function ones(width: number): Param {
  return {
    shape: [width],
    key: keyOf('ones', width),
    read: async ([from, to] = [0, width]) => new Float32Array(to - from).fill(1),
  };
}

/** weight · diag(gain) · matrix: reads its input in the basis, without the gain. */
export function inputsIn(basis: Basis, weight: Param, gain?: Param): Param {
  return {
    shape: weight.shape,
    key: keyOf('inputs', basis.key, weight.key, gain?.key),
    async read(rows) {
      const matrix = scaledRows(await basis.matrix(), basis.width, await gain?.read());
      return Float32Array.from(product(await weight.read(rows), matrix, basis.width));
    },
  };
}

/** matrixᵀ · weight, of a weight `[width, inputs]` or a bias `[width]`: writes its output in the basis. */
export function outputsIn(basis: Basis, weight: Param): Param {
  const { width } = basis;
  return {
    shape: weight.shape,
    key: keyOf('outputs', basis.key, weight.key),
    async read([from, to] = [0, width]) {
      const rows = transposed(await basis.matrix(), width).subarray(from * width, to * width);
      return Float32Array.from(product(rows, await weight.read(), width));
    },
  };
}

/** A linear from one basis to another: `toᵀ · from`. */
export function between(from: Basis, to: Basis): Param {
  const { width } = from;
  return lazy([width, width], keyOf('between', from.key, to.key), async () =>
    product(transposed(await to.matrix(), width), await from.matrix(), width),
  );
}

/** A linear into the basis: `matrixᵀ`. */
export function into({ width, key, matrix }: Basis): Param {
  return lazy([width, width], keyOf('into', key), async () => transposed(await matrix(), width));
}

/** A linear out of the basis and through a gain: `diag(gain) · matrix`. */
export function outOf({ width, key, matrix }: Basis, gain: Param): Param {
  return lazy([width, width], keyOf('out of', key, gain.key), async () =>
    scaledRows(await matrix(), width, await gain.read()),
  );
}

function lazy(shape: readonly [number, number], key: string, make: () => Promise<Float64Array>): Param {
  return {
    shape,
    key,
    async read([from, to] = [0, shape[0]]) {
      return Float32Array.from((await make()).subarray(from * shape[1], to * shape[1]));
    },
  };
}

function scaledRows(matrix: Float64Array, width: number, factors: Numbers | undefined): Float64Array {
  return factors ? matrix.map((number, i) => number * factors[Math.floor(i / width)]!) : matrix;
}
