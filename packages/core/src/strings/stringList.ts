/** Many strings without a JavaScript value for each: their UTF-8 bytes one behind the other, and where each ends. */
export interface StringList {
  readonly length: number;
  readonly bytes: Uint8Array;
  /** In bytes from the start of `bytes`, ascending; one per string. */
  readonly ends: Uint32Array;
}

/** The most bytes that a list can hold. */
export const MOST_LIST_BYTES = 2 ** 31 - 1;

const encoder = new TextEncoder();

/** Lone surrogates become U+FFFD. */
export function packStrings(strings: readonly string[]): StringList {
  const ends = new Uint32Array(strings.length);
  let end = 0;
  for (const [i, string] of strings.entries()) {
    end += Buffer.byteLength(string);
    ends[i] = end;
  }
  const bytes = new Uint8Array(end);
  for (const [i, string] of strings.entries()) encoder.encodeInto(string, bytes.subarray(i === 0 ? 0 : ends[i - 1]));
  return { length: strings.length, bytes, ends };
}

export function unpackStrings(list: StringList): string[] {
  return Array.from({ length: list.length }, (_, i) => stringAt(list, i));
}

/** The string of a number that is inside the list. */
export function stringAt({ bytes, ends }: StringList, i: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(
    'utf8',
    i === 0 ? 0 : ends[i - 1],
    ends[i],
  );
}
