import { mkdir, rm, statfs } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { LlmoptError } from '@llmopt/core';

/** Names of the files with the logits that points are compared with. */
export interface References {
  float32: string;
  /** Of the sweep's precision. */
  dense: string;
}

/**
 * A folder beside the result for the logits of the dense models, which lie there while the sweep runs. What an earlier run left in it
 * goes. @throws LLMOPT_WRITE_FAILED where the disk has no room for them
 */
export async function openReferences(output: string, bytes: number): Promise<References & AsyncDisposable> {
  const folder = `${output}.logits`;
  const remove = () => rm(folder, { recursive: true, force: true });
  await remove();
  const { bavail, bsize } = await statfs(dirname(resolve(output)));
  if (bavail * bsize < bytes) {
    const gigabytes = (count: number) => (count / 1e9).toFixed(1);
    throw new LlmoptError(
      'LLMOPT_WRITE_FAILED',
      `The logits to compare with take ${gigabytes(bytes)} GB beside ${output}, and ${gigabytes(bavail * bsize)} GB are free.`,
      { hint: 'Give fewer --quality-tokens, or an --output elsewhere.' },
    );
  }
  await mkdir(folder, { recursive: true });
  return {
    float32: join(folder, 'float32.f32'),
    dense: join(folder, 'dense.f32'),
    [Symbol.asyncDispose]: remove,
  };
}
