import { silu4 } from './act';
import { int, ptr } from './args';

// Strides are padded to 64 bytes, so whole vectors may be read and written behind the width. Two per turn: V8 can join them.

// words: rows*, left, leftStride, right, rightStride, output, outputStride, width
export function add(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const end = <usize>int(args, 7) << 2;
  for (let row = thread; row < rows; row += threads) {
    const left = ptr(args, 1) + <usize>row * <usize>int(args, 2);
    const right = ptr(args, 3) + <usize>row * <usize>int(args, 4);
    const to = ptr(args, 5) + <usize>row * <usize>int(args, 6);
    for (let i: usize = 0; i < end; i += 32) {
      const a = f32x4.add(v128.load(left + i), v128.load(right + i));
      const b = f32x4.add(v128.load(left + i, 16), v128.load(right + i, 16));
      v128.store(to + i, a);
      v128.store(to + i, b, 16);
    }
  }
}

// silu(gate) · up
// words: rows*, gate, gateStride, up, upStride, output, outputStride, width
export function gatedSilu(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const end = <usize>int(args, 7) << 2;
  for (let row = thread; row < rows; row += threads) {
    const gate = ptr(args, 1) + <usize>row * <usize>int(args, 2);
    const up = ptr(args, 3) + <usize>row * <usize>int(args, 4);
    const to = ptr(args, 5) + <usize>row * <usize>int(args, 6);
    for (let i: usize = 0; i < end; i += 32) {
      const a = f32x4.mul(silu4(v128.load(gate + i)), v128.load(up + i));
      const b = f32x4.mul(silu4(v128.load(gate + i, 16)), v128.load(up + i, 16));
      v128.store(to + i, a);
      v128.store(to + i, b, 16);
    }
  }
}

// Copies the rows that an index list names.
// words: count*, indices, input, inputStride, output, outputStride, bytes
export function copyRows(args: usize, thread: i32, threads: i32): void {
  const count = load<i32>(ptr(args, 0));
  const indices = ptr(args, 1);
  for (let at = thread; at < count; at += threads) {
    const row = <usize>load<i32>(indices + (<usize>at << 2));
    memory.copy(
      ptr(args, 4) + <usize>at * <usize>int(args, 5),
      ptr(args, 2) + row * <usize>int(args, 3),
      <usize>int(args, 6),
    );
  }
}
