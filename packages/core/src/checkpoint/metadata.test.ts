import { describe, expect, it } from 'vitest';
import { packStrings } from '../strings/stringList.ts';
import { createMetadata, packedNumbers, packedStrings } from './metadata.ts';

const words = packStrings(['x', 'é', '']);
const metadata = createMetadata(
  new Map<string, never>(Object.entries({ words, numbers: Int32Array.of(1, -2), flags: [true], name: 'n' }) as []),
);
const plain = { words: ['x', 'é', ''], numbers: [1, -2], flags: [true], name: 'n' };

describe('metadata with packed lists', () => {
  it('are a map of plain values', () => {
    expect(Object.fromEntries(metadata)).toEqual(plain);
    expect([...metadata.keys()]).toEqual(Object.keys(plain));
    expect([...metadata.values()]).toEqual(Object.values(plain));
    expect([...metadata.entries()]).toEqual(Object.entries(plain));
    expect(metadata.size).toBe(4);
    expect([metadata.has('words'), metadata.has('others'), metadata.get('others')]).toEqual([true, false, undefined]);
    const seen: unknown[] = [];
    metadata.forEach((value, key, map) => {
      seen.push([key, value, map === metadata]);
    });
    expect(seen).toEqual(Object.entries(plain).map(([key, value]) => [key, value, true]));
  });

  it('give packed lists as they are, and pack plain ones', () => {
    expect(packedStrings(metadata, 'words')).toBe(words);
    expect(packedStrings(new Map([['words', plain.words]]), 'words')).toEqual(words);
    expect(packedNumbers(metadata, 'numbers')).toEqual(Int32Array.of(1, -2));
    expect(packedNumbers(new Map([['numbers', [1, -2]]]), 'numbers')).toEqual([1, -2]);
    for (const key of ['numbers', 'flags', 'name', 'others']) expect(packedStrings(metadata, key)).toBeUndefined();
    for (const key of ['words', 'flags', 'name', 'others']) expect(packedNumbers(metadata, key)).toBeUndefined();
  });
});
