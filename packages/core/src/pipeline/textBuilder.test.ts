import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createTextBuilder } from './textBuilder.ts';

/** A decoder whose token i is the i-th of these pieces. */
const decoderOf = (pieces: readonly string[]) => ({ push: (id: number) => pieces[id]!, end: () => '' });

function run(pieces: readonly string[], stops: readonly string[]) {
  const builder = createTextBuilder(decoderOf(pieces), stops);
  const out: string[] = [];
  for (const id of pieces.keys()) {
    const { piece, stopped } = builder.push(id);
    out.push(piece);
    if (stopped) return { out, text: builder.text, stopped };
  }
  const { piece, stopped } = builder.end();
  return { out: [...out, piece], text: builder.text, stopped };
}

describe('createTextBuilder', () => {
  it('passes text through at once when nothing can stop it', () => {
    expect(run(['Hel', 'lo'], []).out).toEqual(['Hel', 'lo', '']);
  });

  it('cuts in front of a stop string that spans tokens, and shows none of it', () => {
    expect(run(['a', 'b\nUs', 'er', ': x'], ['\nUser:'])).toEqual({
      out: ['a', 'b', '', ''],
      text: 'ab',
      stopped: true,
    });
  });

  it('releases what looked like a stop string and was none', () => {
    expect(run(['a\n', 'Use', ' b'], ['\nUser:']).out).toEqual(['a', '', '\nUse b', '']);
  });

  it('agrees with cutting the whole text at the first stop string', () => {
    const piece = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 0, maxLength: 4 });
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 12 }),
        fc.array(fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 3 }), { maxLength: 2 }),
        (pieces, stops) => {
          const { text, out, stopped } = run(pieces, stops);
          // The stop string that ends first wins; of those, the one that began first.
          const whole = pieces.join('');
          const ends = stops.flatMap((stop) => (whole.includes(stop) ? [whole.indexOf(stop) + stop.length] : []));
          expect(stopped).toBe(ends.length > 0);
          expect(out.join('')).toBe(text);
          if (!stopped) expect(text).toBe(whole);
          else {
            expect(whole.startsWith(text)).toBe(true);
            expect(stops.some((stop) => whole.startsWith(stop, text.length))).toBe(true);
            expect(stops.some((stop) => text.includes(stop))).toBe(false);
          }
        },
      ),
    );
  });
});
