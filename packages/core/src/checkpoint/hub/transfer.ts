import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { LlmoptError } from '../../errors.ts';

/** What a file must be. */
export interface Expected {
  sizeBytes?: number | undefined;
  /** In hex. */
  sha256?: string | undefined;
}

/** What a source needs to know to deliver a file. */
export interface Transfer {
  /** Name for messages and progress. */
  name: string;
  expected: Expected;
  /** Folder for temporary files; whoever called removes what is left. */
  folder: string;
  connectTimeoutMs: number;
  stallTimeoutMs: number;
  /** Share that has arrived, from 0 to 1. */
  onProgress: (fraction: number) => void;
  signal: AbortSignal | undefined;
}

export function aborted(name: string, signal: AbortSignal): LlmoptError {
  return new LlmoptError('LLMOPT_ABORTED', `Getting ${name} was aborted.`, { cause: signal.reason });
}

export function failed(name: string, problem: string, cause?: unknown): LlmoptError {
  return new LlmoptError('LLMOPT_DOWNLOAD_FAILED', `Getting ${name} failed: ${problem}.`, { cause });
}

function mismatch(name: string, problem: string): LlmoptError {
  return new LlmoptError('LLMOPT_CHECKSUM_MISMATCH', `${name} is not the expected file: ${problem}.`, {
    hint: 'What arrived was thrown away; try again later or give the path of a file.',
  });
}

/** @throws LLMOPT_CHECKSUM_MISMATCH when a size that was announced is not the expected one */
export function checkAnnouncedSize({ name, expected }: Pick<Transfer, 'name' | 'expected'>, sizeBytes: number): void {
  if (expected.sizeBytes !== undefined && sizeBytes !== expected.sizeBytes) {
    throw mismatch(name, `it has ${sizeBytes} bytes instead of ${expected.sizeBytes}`);
  }
}

/**
 * Writes the parts to the file as they come, never more than the expected size, and checks size and checksum.
 * @throws LLMOPT_CHECKSUM_MISMATCH, LLMOPT_WRITE_FAILED, and what the parts throw
 */
export async function receive(parts: AsyncIterable<Uint8Array>, file: FileHandle, transfer: Transfer): Promise<void> {
  const { name, expected, onProgress } = transfer;
  const sum = createHash('sha256');
  let received = 0;
  for await (const part of parts) {
    received += part.length;
    if (expected.sizeBytes !== undefined && received > expected.sizeBytes) {
      throw mismatch(name, `it goes on after ${expected.sizeBytes} bytes`);
    }
    sum.update(part);
    await file.appendFile(part).catch((cause: Error) => {
      throw new LlmoptError(
        'LLMOPT_WRITE_FAILED',
        `${name} cannot be written to ${transfer.folder}: ${cause.message}.`,
        {
          hint: 'Check the permissions and the free space.',
          cause,
        },
      );
    });
    if (expected.sizeBytes) onProgress(received / expected.sizeBytes);
  }
  if (expected.sizeBytes !== undefined && received < expected.sizeBytes) {
    throw failed(name, `it ended after ${received} of ${expected.sizeBytes} bytes`);
  }
  const sha256 = sum.digest('hex');
  if (expected.sha256 !== undefined && sha256 !== expected.sha256) {
    throw mismatch(name, `its SHA-256 is ${sha256} instead of ${expected.sha256}`);
  }
}
