import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { LlmoptError } from '../../errors.ts';
import { type Expected, failed, mismatch, type Transfer } from './transfer.ts';

/** A file that is arriving, and whose checksums are computed as it does. */
export interface Reception {
  readonly path: string;
  /** Bytes that are there, those of an earlier call with them. */
  received(): number;
  /** Adds a part. @throws LLMOPT_CHECKSUM_MISMATCH beyond the expected size, LLMOPT_WRITE_FAILED */
  add(part: Uint8Array): Promise<void>;
  /** Throws away what is there. */
  restart(): Promise<void>;
  /** Checks that all is there and right, and that it is on the disk. @throws LLMOPT_DOWNLOAD_FAILED, LLMOPT_CHECKSUM_MISMATCH */
  finish(): Promise<void>;
  close(): Promise<void>;
}

const partBytes = 1024 * 1024;

/** Opens a file to receive; what it holds already is taken for the beginning. @throws LLMOPT_WRITE_FAILED */
export async function openReception(path: string, expected: Expected, transfer: Transfer): Promise<Reception> {
  const { name, onProgress } = transfer;
  const { sizeBytes } = expected;
  const guarded = <T>(work: Promise<T>): Promise<T> =>
    work.catch((cause: Error) => {
      throw new LlmoptError('LLMOPT_WRITE_FAILED', `${name} cannot be written to ${path}: ${cause.message}.`, {
        where: { file: path },
        hint: 'Check the permissions and the free space.',
        cause,
      });
    });
  const file: FileHandle = await guarded(open(path, 'a+'));
  let sums = createSums(expected);
  let received = 0;

  function count(part: Uint8Array): void {
    received += part.length;
    for (const { hash } of sums) hash.update(part);
    if (sizeBytes) onProgress(Math.min(1, received / sizeBytes));
  }
  async function restart(): Promise<void> {
    await guarded(file.truncate(0));
    sums = createSums(expected);
    received = 0;
  }
  try {
    const part = new Uint8Array(partBytes);
    for (let read = -1; read !== 0; ) {
      read = (await guarded(file.read(part, 0, part.length, received))).bytesRead;
      count(part.subarray(0, read));
    }
    if (sizeBytes !== undefined && received > sizeBytes) await restart();
  } catch (error) {
    await file.close();
    throw error;
  }
  return {
    path,
    received: () => received,
    restart,
    async add(part) {
      if (sizeBytes !== undefined && received + part.length > sizeBytes) {
        throw mismatch(name, `it goes on after ${sizeBytes} bytes`);
      }
      await guarded(file.appendFile(part));
      count(part);
    },
    async finish() {
      if (sizeBytes !== undefined && received < sizeBytes) {
        throw failed(name, `it ended after ${received} of ${sizeBytes} bytes`);
      }
      for (const { what, hash, value } of sums) {
        const own = hash.digest('hex');
        if (own !== value) throw mismatch(name, `its ${what} is ${own} instead of ${value}`);
      }
      await guarded(file.sync());
    },
    close: () => file.close(),
  };
}

interface Sum {
  what: string;
  hash: Hash;
  value: string;
}

function createSums({ sizeBytes, sha256, gitSha1 }: Expected): Sum[] {
  const sums: Sum[] = [];
  if (sha256 !== undefined) sums.push({ what: 'SHA-256', hash: createHash('sha256'), value: sha256 });
  if (gitSha1 !== undefined && sizeBytes !== undefined) {
    sums.push({ what: 'SHA-1 in git', hash: createHash('sha1').update(`blob ${sizeBytes}\0`), value: gitSha1 });
  }
  return sums;
}
