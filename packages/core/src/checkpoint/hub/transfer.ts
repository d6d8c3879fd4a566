import { LlmoptError } from '../../errors.ts';

/** What a file must be. */
export interface Expected {
  sizeBytes?: number | undefined;
  /** In hex. */
  sha256?: string | undefined;
  /** What git calls the file: SHA-1 over `blob`, its size and its bytes, in hex. */
  gitSha1?: string | undefined;
}

/** What a source needs to know to deliver a file. */
export interface Transfer {
  /** Name for messages and progress. */
  name: string;
  expected: Expected;
  /** Folder for temporary files; whoever called removes what is left. */
  folder: string;
  /** Where to keep the beginning of a file of this checksum, so that a later call can go on with it. */
  partial: (checksum: string) => string;
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

export function mismatch(name: string, problem: string): LlmoptError {
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
