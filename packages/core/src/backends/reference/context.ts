import type { KvRows } from '../../kv/kvCache.ts';

/** The rows of a batch as kernels see them. */
export interface BatchRows {
  /** One per row of the batch. */
  readonly tokens: Int32Array;
  readonly slots: Int32Array;
  readonly positions: Int32Array;
  /** 1 for rows that belong to a prompt. */
  readonly prompt: Int32Array;
  /** Indices of the rows that want logits. */
  readonly logitRows: Int32Array;
}

/** What a reference kernel works on. Roles are those of the op. */
export interface ReferenceContext {
  readonly batch: BatchRows;
  /** A value by role, `[rows, width]` float32, to read or to fill. */
  float(role: string): Float32Array;
  /** Channel lists by role, one ascending list per row; a kernel that makes them replaces the entries. */
  channels(role: string): Int32Array[];
  width(role: string): number;
  /** Rows of a value: all of the batch's, or only those that want logits. */
  rows(role: string): number;
  /** A parameter by role, row-major. */
  param(role: string): Float32Array;
  has(role: string): boolean;
  readonly kv: KvRows;
}
