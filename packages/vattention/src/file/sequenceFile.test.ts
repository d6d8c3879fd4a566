import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { smallLayout } from '../../test/fakeMemory.ts';
import { readSequence, type SequenceOwner, writeSequence } from './sequenceFile.ts';

const owner: SequenceOwner = { modelKey: 'model', layout: smallLayout, sequenceBytes: (tokens) => 64 * tokens };
const tokens = [5, 1, 49_151, 0];
const state = { tokens, promptLength: 3, bytes: Uint8Array.from({ length: 256 }, (_, i) => i) };

describe('a saved sequence', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'llmopt-sequence-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const written = async () => {
    const file = path.join(folder, 'sound');
    await writeSequence(file, state, owner);
    return readFile(file);
  };
  const readBack = async (bytes: Uint8Array, by: Partial<SequenceOwner> = {}) => {
    const file = path.join(folder, 'read');
    await writeFile(file, bytes);
    return readSequence(file, { ...owner, ...by });
  };
  /** The same header with other fields, in a file that is sound otherwise. */
  const withHeader = async (change: (header: Record<string, unknown>) => unknown) => {
    const { createHash } = await import('node:crypto');
    const bytes = await written();
    const headerBytes = bytes.readUInt32LE(12);
    const header = JSON.parse(bytes.toString('utf8', 16, 16 + headerBytes));
    const text = Buffer.from(JSON.stringify(change(header)));
    const body = Buffer.concat([bytes.subarray(0, 16), text, bytes.subarray(16 + headerBytes, -32)]);
    body.writeUInt32LE(text.length, 12);
    return Buffer.concat([body, createHash('sha256').update(body).digest()]);
  };

  it('is read as it was written, and leaves nothing else behind', async () => {
    expect(await writeSequence(path.join(folder, 'deep/sequence'), state, owner)).toEqual({ tokens: 4, bytes: 256 });
    expect(await readdir(path.join(folder, 'deep'))).toEqual(['sequence']);
    const { bytes, ...rest } = await readSequence(path.join(folder, 'deep/sequence'), owner);
    expect(rest).toEqual({ tokens, promptLength: 3 });
    expect([...bytes]).toEqual([...state.bytes]);
  });

  it('is refused with any byte changed, missing or added', async () => {
    const bytes = await written();
    const refused = expect.objectContaining({ code: 'LLMOPT_KV_FILE' });
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 1 << (at % 8);
      await expect(readBack(changed), `byte ${at}`).rejects.toEqual(refused);
      if (at % 3 === 0) await expect(readBack(bytes.subarray(0, at)), `${at} bytes`).rejects.toEqual(refused);
    }
    await expect(readBack(Buffer.concat([bytes, bytes.subarray(0, 1)]))).rejects.toEqual(refused);
  });

  it.each<[string, (header: Record<string, unknown>) => unknown, string]>([
    [
      'another model',
      (header) => ({ ...header, model: 'other' }),
      'was saved for another model, or with other plugins or settings. Restore it in a pipeline like the one that it was saved in.',
    ],
    [
      'another element type',
      (header) => ({ ...header, elementType: 'int16' }),
      'its elementType is int16 instead of float32',
    ],
    ['no tokens', (header) => ({ ...header, tokens: [] }), 'its tokens cannot be read'],
    ['tokens that are none', (header) => ({ ...header, tokens: [1, 2, -3, 4] }), 'its tokens cannot be read'],
    [
      'fewer tokens than bytes',
      (header) => ({ ...header, tokens: [1, 2, 3] }),
      'it has 256 bytes for 3 tokens instead of 192',
    ],
    ['no header', () => null, 'was saved for another model'],
  ])('is refused with %s', async (_, change, message) => {
    await expect(readBack(await withHeader(change))).rejects.toThrow(
      expect.objectContaining({ code: 'LLMOPT_KV_FILE', message: expect.stringContaining(message) }),
    );
  });

  it('says what is wrong with the file itself', async () => {
    const bytes = await written();
    bytes.writeUInt32LE(2, 8);
    await expect(readBack(bytes)).rejects.toThrow('no sound saved sequence: it is of version 2; version 1 is read.');
    bytes.writeUInt32LE(1, 8);
    bytes.writeUInt32LE(0xffffffff, 12);
    await expect(readBack(bytes)).rejects.toThrow('a header of 4294967295 bytes does not fit');
    await expect(readBack(Buffer.alloc(100))).rejects.toThrow('it is something else');
    await expect(readSequence(path.join(folder, 'none'), owner)).rejects.toMatchObject({
      code: 'LLMOPT_FILE_NOT_FOUND',
    });
    await expect(readSequence(folder, owner)).rejects.toMatchObject({ code: 'LLMOPT_FILE_NOT_FOUND' });
    await expect(readBack(await written(), { layout: { ...smallLayout, capacity: 3 } })).rejects.toMatchObject({
      code: 'LLMOPT_KV_FULL',
    });
  });

  it('is not begun where it cannot be written', async () => {
    await writeFile(path.join(folder, 'file'), '');
    await expect(writeSequence(path.join(folder, 'file/sequence'), state, owner)).rejects.toMatchObject({
      code: 'LLMOPT_WRITE_FAILED',
    });
  });
});
