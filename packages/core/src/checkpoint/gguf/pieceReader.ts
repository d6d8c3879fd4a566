import { LlmoptError } from '../../errors.ts';

/** Bytes that can be read at a position. */
export interface Source {
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** Fills `target` from `position` on. @throws LLMOPT_FILE_CHANGED when the file ends before that */
  read(target: Uint8Array, position: number): Promise<void>;
}

const pieceBytes = 256 * 1024;

/** Reads a header from front to back, in pieces. */
export interface PieceReader {
  /** Position in the file, in bytes. */
  position(): number;
  /**
   * Makes sure that the next `bytes` bytes are in memory. Returns a promise only if they must be read, so
   * that the common case costs no turn of the event loop.
   * @throws LLMOPT_GGUF_INVALID before anything is allocated, if the file ends before that
   */
  need(bytes: number, what: string): Promise<void> | undefined;
  uint8(): number;
  int8(): number;
  uint16(): number;
  int16(): number;
  uint32(): number;
  int32(): number;
  float32(): number;
  float64(): number;
  /** @throws LLMOPT_GGUF_INVALID beyond the safe integers */
  uint64(what: string): number;
  /** @throws LLMOPT_GGUF_INVALID beyond the safe integers */
  int64(what: string): number;
  text(bytes: number): string;
  /** The next bytes, which must be in memory, as a view that lasts until the next `need`. */
  bytes(bytes: number): Uint8Array;
  /** All that is in memory, as such a view; it is left to be read. */
  ahead(): Uint8Array;

  /** An error that names file and position. */
  invalid(problem: string): LlmoptError;
}

/** `allocate` is replaced in tests, which check that no request exceeds the file. */
export function createPieceReader(
  source: Source,
  allocate: (bytes: number) => Buffer = Buffer.allocUnsafeSlow,
): PieceReader {
  let buffer: Buffer = Buffer.alloc(0);
  let piece = buffer;
  let start = 0;
  let at = 0;
  const position = () => start + at;

  function invalid(problem: string): LlmoptError {
    return new LlmoptError('LLMOPT_GGUF_INVALID', `${source.path} is not a sound GGUF file: ${problem}.`, {
      where: { file: source.path, offset: position() },
      hint: 'The file is truncated or corrupted; download or convert it again.',
    });
  }

  async function load(bytes: number): Promise<void> {
    const left = source.size - position();
    const wanted = Math.min(Math.max(bytes, pieceBytes), left);
    const next = wanted <= buffer.length ? buffer : allocate(wanted);
    const kept = piece.copy(next, 0, at);
    await source.read(next.subarray(kept, wanted), position() + kept);
    start += at;
    at = 0;
    buffer = next;
    piece = next.subarray(0, wanted);
  }

  function wide(high: number, low: number, what: string): number {
    const value = high * 2 ** 32 + low;
    if (Number.isSafeInteger(value)) return value;
    throw invalid(`${what} is ${(BigInt(high) << 32n) + BigInt(low)}, which no sensible file holds`);
  }

  function next<T>(bytes: number, read: (offset: number) => T): T {
    const value = read(at);
    at += bytes;
    return value;
  }

  return {
    position,
    invalid,
    need(bytes, what) {
      if (piece.length - at >= bytes) return undefined;
      const left = source.size - position();
      if (bytes > left)
        throw invalid(`${what} needs ${bytes} bytes at offset ${position()}, but only ${left} are left`);
      return load(bytes);
    },
    uint8: () => next(1, (offset) => piece.readUInt8(offset)),
    int8: () => next(1, (offset) => piece.readInt8(offset)),
    uint16: () => next(2, (offset) => piece.readUInt16LE(offset)),
    int16: () => next(2, (offset) => piece.readInt16LE(offset)),
    uint32: () => next(4, (offset) => piece.readUInt32LE(offset)),
    int32: () => next(4, (offset) => piece.readInt32LE(offset)),
    float32: () => next(4, (offset) => piece.readFloatLE(offset)),
    float64: () => next(8, (offset) => piece.readDoubleLE(offset)),
    uint64: (what) => next(8, (offset) => wide(piece.readUInt32LE(offset + 4), piece.readUInt32LE(offset), what)),
    int64: (what) => next(8, (offset) => wide(piece.readInt32LE(offset + 4), piece.readUInt32LE(offset), what)),
    text: (bytes) => next(bytes, (offset) => piece.toString('utf8', offset, offset + bytes)),
    bytes: (bytes) => next(bytes, (offset) => piece.subarray(offset, offset + bytes)),
    ahead: () => piece.subarray(at),
  };
}
