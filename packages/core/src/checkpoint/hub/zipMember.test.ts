import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { zipSync } from 'fflate';
import { afterAll, describe, expect, it } from 'vitest';
import { findZipMember } from './zipMember.ts';

const folder = await mkdtemp(join(tmpdir(), 'llmopt-zip-'));
afterAll(() => rm(folder, { recursive: true, force: true }));
const archive = join(folder, 'a.zip');

async function unpack(name: string): Promise<string> {
  const member = await findZipMember(archive, name);
  const parts: Uint8Array[] = [];
  for await (const part of member.stream()) parts.push(part as Uint8Array);
  return Buffer.concat(parts).toString();
}

describe('findZipMember', () => {
  const long = 'all work and no play '.repeat(50_000);
  const zip = zipSync({
    'a/first.txt': Buffer.from('first'),
    'a/model.gguf': Buffer.from(long),
    'stored.txt': [Buffer.from('as is'), { level: 0 }],
  });

  it('unpacks deflated and stored members', async () => {
    await writeFile(archive, zip);
    expect(await unpack('a/model.gguf')).toBe(long);
    expect(await unpack('stored.txt')).toBe('as is');
    expect((await findZipMember(archive, 'a/model.gguf')).sizeBytes).toBe(long.length);
  });

  it('finds the directory behind a comment', async () => {
    const commented = Buffer.concat([zip, Buffer.from('a comment')]);
    commented.writeUInt16LE(9, zip.length - 2);
    await writeFile(archive, commented);
    expect(await unpack('a/first.txt')).toBe('first');
  });

  it.each([
    ['a member that is not there', zip, 'it holds no model.gguf'],
    ['an empty file', Buffer.alloc(0), 'it is no zip archive'],
    ['a web page', Buffer.from('<html>not found</html>'), 'it is no zip archive'],
    ['the first half', zip.subarray(0, zip.length / 2), 'it is no zip archive'],
  ])('refuses %s', async (_, bytes, message) => {
    await writeFile(archive, bytes);
    await expect(findZipMember(archive, 'model.gguf')).rejects.toThrow(message);
  });

  it('answers or throws whatever is broken', async () => {
    const small = zipSync({ 'model.gguf': Buffer.from('a small model, a small model') });
    await fc.assert(
      fc.asyncProperty(fc.nat(small.length - 1), fc.nat(255), async (at, value) => {
        const broken = Buffer.from(small);
        broken[at] = value;
        await writeFile(archive, broken);
        const outcome = await unpack('model.gguf').catch((error: unknown) => error);
        expect(typeof outcome === 'string' || outcome instanceof Error).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});
