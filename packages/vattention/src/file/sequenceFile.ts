import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { checkCapacity, type KvLayout, LlmoptError, writeAtomically } from '@llmopt/core';
import type { SequenceState } from '../cache/managedCache.ts';

/** What was saved or restored. */
export interface SavedSequence {
  readonly tokens: number;
  /** Of keys and values. */
  readonly bytes: number;
}

/** What a file must have been made for. */
export interface SequenceOwner {
  readonly modelKey: string;
  readonly layout: KvLayout;
  /** Bytes of keys and values of so many tokens. */
  sequenceBytes(tokens: number): number;
}

// Magic, version and the header's length; header; keys and values; SHA-256 of everything before.
const MAGIC = 'LLMOPTKV';
const PREAMBLE_BYTES = 16;
const CHECKSUM_BYTES = 32;
/** Raised whenever what is in the file changes its meaning. */
const VERSION = 1;
// Anything else than tokens, of which each takes at most so many bytes.
const HEADER_BYTES = 65_536;
const TOKEN_BYTES = 12;

/** Writes a sequence under its name when it is complete. @throws LLMOPT_WRITE_FAILED */
export async function writeSequence(path: string, state: SequenceState, owner: SequenceOwner): Promise<SavedSequence> {
  const { tokens, promptLength, bytes } = state;
  const shape = shapeOf(owner.layout);
  const header = Buffer.from(JSON.stringify({ model: owner.modelKey, ...shape, promptLength, tokens }));
  const preamble = Buffer.alloc(PREAMBLE_BYTES);
  preamble.write(MAGIC, 'latin1');
  preamble.writeUInt32LE(VERSION, 8);
  preamble.writeUInt32LE(header.length, 12);
  const parts = [preamble, header, bytes];
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  await writeAtomically(path, async (file) => {
    for (const part of [...parts, hash.digest()]) await file.writeFile(part);
  });
  return { tokens: tokens.length, bytes: bytes.length };
}

/**
 * Reads a sequence that was written for the same model. Every size is checked against the file before anything is allocated.
 * @throws LLMOPT_FILE_NOT_FOUND, LLMOPT_KV_FILE, LLMOPT_KV_FULL when the sequence is longer than a slot
 */
export async function readSequence(path: string, owner: SequenceOwner): Promise<SequenceState> {
  const file = await openFile(path);
  try {
    const { size } = await file.stat();
    const hash = createHash('sha256');
    const next = async (length: number, at: number) => {
      const part = await readExactly(path, file, length, at);
      hash.update(part);
      return part;
    };
    if (size < PREAMBLE_BYTES + CHECKSUM_BYTES) throw unsound(path, 'it is too short');
    const preamble = await next(PREAMBLE_BYTES, 0);
    if (preamble.toString('latin1', 0, 8) !== MAGIC) throw unsound(path, 'it is something else');
    const version = preamble.readUInt32LE(8);
    if (version !== VERSION) throw unsound(path, `it is of version ${version}; version ${VERSION} is read`);
    const headerBytes = preamble.readUInt32LE(12);
    const behind = size - PREAMBLE_BYTES - CHECKSUM_BYTES - headerBytes;
    const mostHeaderBytes = HEADER_BYTES + TOKEN_BYTES * owner.layout.capacity;
    if (behind < 0 || headerBytes > mostHeaderBytes)
      throw unsound(path, `a header of ${headerBytes} bytes does not fit`);
    const { tokens, promptLength } = parseHeader(path, await next(headerBytes, PREAMBLE_BYTES), owner);
    const expected = owner.sequenceBytes(tokens.length);
    if (behind !== expected)
      throw unsound(path, `it has ${behind} bytes for ${tokens.length} tokens instead of ${expected}`);
    const bytes = await next(behind, PREAMBLE_BYTES + headerBytes);
    const checksum = await readExactly(path, file, CHECKSUM_BYTES, size - CHECKSUM_BYTES);
    if (!hash.digest().equals(checksum)) throw unsound(path, 'its bytes are not those of its checksum');
    return { tokens, promptLength, bytes };
  } finally {
    await file.close();
  }
}

function parseHeader(path: string, text: Buffer, { modelKey, layout }: SequenceOwner) {
  let header: Record<string, unknown>;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text)) ?? {};
  } catch (cause) {
    throw unsound(path, 'its header cannot be read', cause);
  }
  if (header.model !== modelKey) {
    throw new LlmoptError('LLMOPT_KV_FILE', `${path} was saved for another model, or with other plugins or settings.`, {
      where: { file: path },
      hint: 'Restore it in a pipeline like the one that it was saved in.',
    });
  }
  for (const [name, value] of Object.entries(shapeOf(layout))) {
    if (header[name] !== value) throw unsound(path, `its ${name} is ${header[name]} instead of ${value}`);
  }
  const { tokens, promptLength } = header;
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  if (!Array.isArray(tokens) || tokens.length === 0 || !tokens.every(isCount) || !isCount(promptLength)) {
    throw unsound(path, 'its tokens cannot be read');
  }
  checkCapacity(layout, new Map([[0, tokens.length]]));
  return { tokens, promptLength };
}

const shapeOf = ({ layers, kvHeads, headDim, elementType }: KvLayout) => ({ layers, kvHeads, headDim, elementType });

async function openFile(path: string): Promise<FileHandle> {
  try {
    const file = await open(path, 'r');
    if ((await file.stat()).isFile()) return file;
    await file.close();
    throw new Error('it is not a file');
  } catch (cause) {
    throw new LlmoptError('LLMOPT_FILE_NOT_FOUND', `${path} cannot be read: ${(cause as Error).message}.`, {
      where: { file: path },
      hint: 'Check the path and the permissions.',
      cause,
    });
  }
}

async function readExactly(path: string, file: FileHandle, length: number, position: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) throw unsound(path, 'it became shorter while it was read');
    done += bytesRead;
  }
  return bytes;
}

function unsound(path: string, problem: string, cause?: unknown): LlmoptError {
  return new LlmoptError('LLMOPT_KV_FILE', `${path} is no sound saved sequence: ${problem}.`, {
    where: { file: path },
    hint: 'Save the sequence again.',
    cause,
  });
}
