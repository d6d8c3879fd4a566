import type { GenerateResult, TextStream } from './types.ts';

/**
 * A stream around a running request. `start` gets a function that takes pieces of text and a signal that is raised when the
 * reader leaves.
 */
export function createStream(
  start: (push: (piece: string) => void, signal: AbortSignal) => Promise<GenerateResult>,
  signal: AbortSignal | undefined,
): TextStream {
  const left = new AbortController();
  const pieces: string[] = [];
  let wake = () => {};
  let over = false;
  const push = (piece: string) => {
    pieces.push(piece);
    wake();
  };
  const result = start(push, signal ? AbortSignal.any([signal, left.signal]) : left.signal).finally(() => {
    over = true;
    wake();
  });
  // The reader may only want the pieces: an error reaches it there, and need not be handled twice.
  result.catch(() => {});
  return {
    result,
    async *[Symbol.asyncIterator]() {
      try {
        for (;;) {
          const piece = pieces.shift();
          if (piece !== undefined) yield piece;
          else if (over) break;
          else await new Promise<void>((resolve) => (wake = resolve));
        }
        await result;
      } finally {
        left.abort(new Error('The reader left the stream.'));
      }
    },
  };
}
