/**
 * c[i, j] += Σ a[i, k] · b[j, k], all float64 and row-major: a `[rows, inner]`, b `[columns, inner]`, c `[rows, columns]`; rows is a multiple
 * of 4, columns and inner of 2. With `triangle`, only what lies on or above the diagonal is sure to be there.
 */
export function addDots(a: usize, b: usize, c: usize, rows: i32, columns: i32, inner: i32, triangle: bool): void {
  const stride = <usize>inner << 3;
  for (let i = 0; i < rows; i += 4) {
    const a0 = a + <usize>i * stride;
    const a1 = a0 + stride;
    const a2 = a1 + stride;
    const a3 = a2 + stride;
    for (let j = triangle ? i & ~1 : 0; j < columns; j += 2) {
      const b0 = b + <usize>j * stride;
      const b1 = b0 + stride;
      // s00 is the sum of row 0 and column 0, even and odd terms apart.
      let s00 = f64x2.splat(0);
      let s01 = s00;
      let s10 = s00;
      let s11 = s00;
      let s20 = s00;
      let s21 = s00;
      let s30 = s00;
      let s31 = s00;
      for (let k: usize = 0; k < stride; k += 16) {
        const x = v128.load(b0 + k);
        const y = v128.load(b1 + k);
        let u = v128.load(a0 + k);
        s00 = f64x2.add(s00, f64x2.mul(u, x));
        s01 = f64x2.add(s01, f64x2.mul(u, y));
        u = v128.load(a1 + k);
        s10 = f64x2.add(s10, f64x2.mul(u, x));
        s11 = f64x2.add(s11, f64x2.mul(u, y));
        u = v128.load(a2 + k);
        s20 = f64x2.add(s20, f64x2.mul(u, x));
        s21 = f64x2.add(s21, f64x2.mul(u, y));
        u = v128.load(a3 + k);
        s30 = f64x2.add(s30, f64x2.mul(u, x));
        s31 = f64x2.add(s31, f64x2.mul(u, y));
      }
      const step = <usize>columns << 3;
      let at = c + ((<usize>i * columns + j) << 3);
      addPair(at, s00, s01);
      at += step;
      addPair(at, s10, s11);
      at += step;
      addPair(at, s20, s21);
      at += step;
      addPair(at, s30, s31);
    }
  }
}

// @ts-ignore: decorator
@inline
function addPair(at: usize, left: v128, right: v128): void {
  const even = i64x2.shuffle(left, right, 0, 2);
  const odd = i64x2.shuffle(left, right, 1, 3);
  v128.store(at, f64x2.add(v128.load(at), f64x2.add(even, odd)));
}
