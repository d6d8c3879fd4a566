import { seededRandom } from '@llmopt/core';
import { Matrix, QrDecomposition } from 'ml-matrix';
import { forgetDots } from '../linearAlgebra/dots.ts';
import { eigenvectors } from '../linearAlgebra/eigenvectors.ts';

/** An orthogonal matrix `[width, width]`, made when it is asked for: a row x becomes x · matrix. */
export interface Basis {
  readonly width: number;
  /** Names everything the numbers depend on. */
  readonly key: string;
  /** float64, row-major; its columns are the new axes. */
  matrix(): Promise<Float64Array>;
}

/** The axes along which rows of these uncentred second moments vary most, in falling order (paper, equation 7). */
export function principalBasis(key: string, width: number, moments: () => Promise<Float64Array>): Basis {
  return remembered({ width, key, matrix: async () => eigenvectors(await moments(), width) });
}

/** A random orthogonal matrix: what a rotation that knows nothing of the model does. */
export function randomBasis(width: number, seed: number): Basis {
  const matrix = async () => {
    const random = seededRandom(seed);
    const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    const numbers = Array.from({ length: width * width }, normal);
    return Float64Array.from(
      new QrDecomposition(Matrix.from1DArray(width, width, numbers)).orthogonalMatrix.to1DArray(),
    );
  };
  return remembered({ width, key: `random ${width} ${seed}`, matrix });
}

// Weights are packed layer by layer, and an adapter needs the matrices of two: numbers that are kept, beside the last two matrices.
const REMEMBERED = 2 ** 23;
let recent: { basis: object; numbers: number; matrix: Promise<Float64Array> }[] = [];

/** The same basis, whose matrix is not made again while it is among those asked for last. */
function remembered(basis: Basis): Basis {
  return {
    ...basis,
    matrix() {
      const entry = recent.find((known) => known.basis === basis) ?? {
        basis,
        numbers: basis.width ** 2,
        matrix: basis.matrix(),
      };
      let numbers = 0;
      recent = [entry, ...recent.filter((known) => known !== entry)].filter((known, i) => {
        numbers += known.numbers;
        return i < 2 || numbers <= REMEMBERED;
      });
      return entry.matrix;
    },
  };
}

/** Lets go of what is kept for the next matrix: the weights are packed. */
export function forgetBases(): void {
  recent = [];
  forgetDots();
}
