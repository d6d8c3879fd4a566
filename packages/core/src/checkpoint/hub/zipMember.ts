import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { pipeline, type Readable } from 'node:stream';
import { createInflateRaw } from 'node:zlib';

/** A member of a zip archive: its size when unpacked, and its bytes, unpacked as they are read. */
export interface ZipMember {
  readonly sizeBytes: number;
  stream(): Readable;
}

const endBytes = 22;
const maxCommentBytes = 65_535;
const entryBytes = 46;
const localBytes = 30;
const stored = 0;
const deflated = 8;

/**
 * Finds one member of a zip archive by its exact name; nothing else is read or unpacked. Archives above 4 GiB and
 * encrypted ones are not understood.
 * @throws Error when the archive is broken or has no such member
 */
export async function findZipMember(archive: string, name: string): Promise<ZipMember> {
  const file = await open(archive, 'r');
  try {
    const { size } = await file.stat();
    const directory = await readDirectory(file, size);
    for (let at = 0; at + entryBytes <= directory.length && directory.readUInt32LE(at) === 0x02014b50; ) {
      const nameBytes = directory.readUInt16LE(at + 28);
      if (directory.toString('utf8', at + entryBytes, at + entryBytes + nameBytes) === name) {
        return await member(file, size, archive, directory.subarray(at, at + entryBytes));
      }
      at += entryBytes + nameBytes + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
    }
    throw new Error(`it holds no ${name}`);
  } finally {
    await file.close();
  }
}

async function readDirectory(file: FileHandle, size: number): Promise<Buffer> {
  const tail = await readAt(
    file,
    Math.max(0, size - endBytes - maxCommentBytes),
    Math.min(size, endBytes + maxCommentBytes),
    size,
  );
  for (let at = tail.length - endBytes; at >= 0; at--) {
    if (tail.readUInt32LE(at) === 0x06054b50)
      return readAt(file, tail.readUInt32LE(at + 16), tail.readUInt32LE(at + 12), size);
  }
  throw new Error('it is no zip archive');
}

async function member(file: FileHandle, size: number, archive: string, entry: Buffer): Promise<ZipMember> {
  const flags = entry.readUInt16LE(8);
  const method = entry.readUInt16LE(10);
  const packedBytes = entry.readUInt32LE(20);
  if (flags & 1 || (method !== stored && method !== deflated))
    throw new Error('the member is packed in an unknown way');
  const offset = entry.readUInt32LE(42);
  const local = await readAt(file, offset, localBytes, size);
  if (local.readUInt32LE(0) !== 0x04034b50) throw new Error('its directory is broken');
  const start = offset + localBytes + local.readUInt16LE(26) + local.readUInt16LE(28);
  if (packedBytes === 0 || start + packedBytes > size) throw new Error('its directory is broken');
  return {
    sizeBytes: entry.readUInt32LE(24),
    stream() {
      const packed = createReadStream(archive, { start, end: start + packedBytes - 1, highWaterMark: 256 * 1024 });
      // An error on either side destroys both and comes out of the iteration.
      return method === stored ? packed : pipeline(packed, createInflateRaw({ chunkSize: 256 * 1024 }), () => {});
    },
  };
}

async function readAt(file: FileHandle, position: number, bytes: number, size: number): Promise<Buffer> {
  if (position + bytes > size) throw new Error('it is cut off');
  const buffer = Buffer.alloc(bytes);
  const { bytesRead } = await file.read(buffer, 0, bytes, position);
  if (bytesRead < bytes) throw new Error('it is cut off');
  return buffer;
}
