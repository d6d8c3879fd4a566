import { LlmoptError } from '../../errors.ts';

const PAGE = 65536;
const MAX_PAGES = 65536;
const ALIGNMENT = 64;
// Kernels read whole vectors behind the end of what they need, and compare addresses with those behind the end: these must not be 0.
const END = (MAX_PAGES - 1) * PAGE;

/** Hands out ranges of one shared WebAssembly memory, one behind the other. */
export interface Arena {
  readonly memory: WebAssembly.Memory;
  /** A range aligned to 64 bytes, or to another multiple of them, zeroed when fresh. @throws LLMOPT_OUT_OF_MEMORY */
  allocate(bytes: number, what: string, alignment?: number): number;
  /** Where the next range would begin. */
  position(): number;
  /** Bytes that can still be handed out. */
  free(): number;
}

export function createArena(): Arena {
  const memory = reserve();
  let next = ALIGNMENT;
  return {
    memory,
    position: () => next,
    free: () => END - next,
    allocate(bytes, what, alignment = ALIGNMENT) {
      const start = Math.ceil(next / alignment) * alignment;
      const end = Math.ceil((start + bytes) / ALIGNMENT) * ALIGNMENT;
      const missing = Math.ceil(end / PAGE) - memory.buffer.byteLength / PAGE;
      try {
        if (end > END) throw new RangeError('a WebAssembly memory ends at 4 GiB');
        if (missing > 0) memory.grow(missing);
      } catch (cause) {
        throw new LlmoptError(
          'LLMOPT_OUT_OF_MEMORY',
          `${megabytes(bytes)} for ${what} do not fit behind the ${megabytes(start)} in use.`,
          {
            where: { what, bytes, used: start },
            hint: 'Use int8 weights, fewer slots, a shorter contextLength or a smaller model.',
            cause,
          },
        );
      }
      next = end;
      return start;
    },
  };
}

function reserve(): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: 1, maximum: MAX_PAGES, shared: true });
  } catch (cause) {
    throw new LlmoptError(
      'LLMOPT_OUT_OF_MEMORY',
      'The address space for a WebAssembly memory of 4 GiB cannot be reserved.',
      {
        hint: 'Dispose pipelines that are not in use, or raise the limit on virtual memory.',
        cause,
      },
    );
  }
}

const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`;
