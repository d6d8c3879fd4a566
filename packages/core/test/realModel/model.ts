import { buildGraph } from '../../src/architectures/index.ts';
import type { Backend } from '../../src/backends/backend.ts';
import { defaultCacheFolder, openGguf, resolveModel } from '../../src/checkpoint/index.ts';
import { contiguousKvCache } from '../../src/kv/contiguous.ts';

/** SmolLM2-135M-Instruct, from the cache or downloaded as a user's program would. */
export const realModelPath = () => resolveModel('smollm2-135m', {});

/** A checkpoint compiled for a backend; `dispose` also closes the file. */
export async function compileFile(file: string, backend: Backend) {
  const checkpoint = await openGguf(file);
  const executable = await backend.compile(buildGraph(checkpoint), {
    slots: 1,
    contextLength: 1024,
    maxRows: 64,
    kvCache: contiguousKvCache,
    modelKey: await checkpoint.checksum(),
    cacheDir: `${defaultCacheFolder()}/packed`,
  });
  return {
    executable,
    async dispose() {
      await executable.dispose();
      await checkpoint.close();
    },
  };
}
