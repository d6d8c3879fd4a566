import { mkdir, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { LlmoptError } from '@llmopt/core';
import { type BenchmarkResult, parseBenchmarkResult } from '@llmopt/schema';
import writeFileAtomic from 'write-file-atomic';

function cannotWrite(path: string, cause: unknown): LlmoptError {
  const said = cause instanceof Error ? cause.message : String(cause);
  return new LlmoptError('LLMOPT_WRITE_FAILED', `${path} cannot be written: ${said}.`, {
    hint: 'Choose another place, or change its permissions.',
    where: { path },
    cause,
  });
}

async function kindOf(path: string): Promise<'file' | 'folder' | undefined> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch {
    return undefined;
  }
}

/**
 * Makes sure that files can be made in a folder, by making one; permissions alone do not tell. Whatever had to be
 * created for that is removed again. @throws LLMOPT_WRITE_FAILED
 */
export async function assertFolderWritable(folder: string): Promise<void> {
  const path = resolve(folder);
  let created: string | undefined;
  try {
    created = await mkdir(path, { recursive: true });
    const probe = join(path, `.llmopt-${process.pid}-${Date.now()}.tmp`);
    await writeFile(probe, '', { flag: 'wx' });
    await unlink(probe);
  } catch (cause) {
    throw cannotWrite(folder, cause);
  } finally {
    if (created !== undefined) await rm(created, { recursive: true, force: true });
  }
}

/** Makes sure that a file can be written, without leaving a trace. @throws LLMOPT_WRITE_FAILED */
export async function assertFileWritable(file: string): Promise<void> {
  if ((await kindOf(file)) === 'folder') throw cannotWrite(file, new Error('it is a folder'));
  try {
    await assertFolderWritable(dirname(file));
  } catch (cause) {
    throw cannotWrite(file, cause instanceof LlmoptError ? (cause.cause ?? cause) : cause);
  }
}

/** A result that follows the schema. @throws LLMOPT_RESULT_INVALID */
export function checkResult(value: unknown): BenchmarkResult {
  try {
    return parseBenchmarkResult(value);
  } catch (cause) {
    const said = cause instanceof Error ? cause.message : String(cause);
    throw new LlmoptError('LLMOPT_RESULT_INVALID', `The result does not follow the schema: ${said}`, { cause });
  }
}

/**
 * Writes a result. @throws LLMOPT_RESULT_INVALID if it does not follow the schema, LLMOPT_WRITE_FAILED
 */
export async function writeResult(file: string, result: BenchmarkResult): Promise<void> {
  await writeJson(file, checkResult(result));
}

/** Writes the whole file or nothing. Its folder is created if there is none. @throws LLMOPT_WRITE_FAILED */
export async function writeJson(file: string, value: unknown): Promise<void> {
  await writeText(file, `${JSON.stringify(value, null, 2)}\n`);
}

/** The same for text. @throws LLMOPT_WRITE_FAILED */
export async function writeText(file: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(resolve(file)), { recursive: true });
    await writeFileAtomic(file, text);
  } catch (cause) {
    throw cannotWrite(file, cause);
  }
}
