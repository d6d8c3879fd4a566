import { EigenvalueDecomposition, Matrix } from 'ml-matrix';

/**
 * Eigenvectors of a symmetric matrix `[width, width]` as columns, by falling eigenvalue; the largest number of each is positive, so that the
 * same matrix has the same eigenvectors.
 */
export function eigenvectors(matrix: Float64Array, width: number): Float64Array {
  const { eigenvectorMatrix, realEigenvalues } = new EigenvalueDecomposition(Matrix.from1DArray(width, width, matrix), {
    assumeSymmetric: true,
  });
  const order = realEigenvalues.map((_, i) => i).sort((a, b) => realEigenvalues[b]! - realEigenvalues[a]! || a - b);
  const out = new Float64Array(width * width);
  order.forEach((from, to) => {
    const column = eigenvectorMatrix.getColumn(from);
    let largest = 0;
    for (const x of column) if (Math.abs(x) > Math.abs(largest)) largest = x;
    for (let row = 0; row < width; row++) out[row * width + to] = largest < 0 ? -column[row]! : column[row]!;
  });
  return out;
}
