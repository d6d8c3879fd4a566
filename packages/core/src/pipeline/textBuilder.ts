import type { StreamDecoder } from '../tokenizer/tokenizer.ts';

/** Grows a text token by token, and holds back what may be the beginning of a stop string. */
export interface TextBuilder {
  readonly text: string;
  /** Text that is certain to stay; `stopped` once a stop string is complete. */
  push(token: number): { piece: string; stopped: boolean };
  end(): { piece: string; stopped: boolean };
}

export function createTextBuilder(decoder: StreamDecoder, stops: readonly string[]): TextBuilder {
  let text = '';
  let held = '';
  let stopped = false;

  function release(ending: boolean): { piece: string; stopped: boolean } {
    let piece = held;
    const found = stops.map((stop) => held.indexOf(stop)).filter((at) => at >= 0);
    if (found.length > 0) {
      piece = held.slice(0, Math.min(...found));
      stopped = true;
    } else if (!ending) piece = held.slice(0, held.length - openStop(held, stops));
    held = stopped ? '' : held.slice(piece.length);
    text += piece;
    return { piece, stopped };
  }

  return {
    get text() {
      return text;
    },
    push(token) {
      if (stopped) return { piece: '', stopped };
      held += decoder.push(token);
      return release(false);
    },
    end() {
      if (stopped) return { piece: '', stopped };
      held += decoder.end();
      return release(true);
    },
  };
}

/** Length of the longest end of the text that begins a stop string. */
function openStop(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
      if (stop.startsWith(text.slice(text.length - length))) longest = length;
    }
  }
  return longest;
}
