import { SingleBar } from 'cli-progress';

/** Hears what a benchmark is doing. */
export interface Reporter {
  /** A new stage begins; the one before has ended. */
  stage(title: string): void;
  /** How far the stage is, from 0 to 1, and what it is at. */
  progress(fraction: number, detail?: string): void;
  /** Something that the reader should know. */
  note(text: string): void;
  /** Nothing more will come: the screen is left tidy. */
  end(): void;
}

export const silentReporter: Reporter = { stage() {}, progress() {}, note() {}, end() {} };

/** Where a reporter writes: `process.stderr`, or something like it. */
export type Terminal = NodeJS.WritableStream & { isTTY?: boolean };

/** One line per stage and note, for logs. */
function lineReporter(terminal: Terminal): Reporter {
  return {
    stage: (title) => void terminal.write(`${title}\n`),
    progress() {},
    note: (text) => void terminal.write(`${text}\n`),
    end() {},
  };
}

/** A bar per stage. */
function barReporter(terminal: Terminal): Reporter {
  let bar: SingleBar | undefined;
  const end = () => {
    bar?.stop();
    bar = undefined;
  };
  return {
    stage(title) {
      end();
      bar = new SingleBar({
        format: `${title.padEnd(28)} {bar} {percentage} %  {detail}`,
        stream: terminal,
        hideCursor: true,
        barsize: 24,
        barCompleteChar: '█',
        barIncompleteChar: '░',
        // The bar must not take time from what it watches.
        fps: 4,
        gracefulExit: false,
        linewrap: false,
      });
      bar.start(100, 0, { detail: '' });
    },
    progress: (fraction, detail = '') => bar?.update(Math.floor(fraction * 100), { detail }),
    note(text) {
      end();
      terminal.write(`${text}\n`);
    },
    end,
  };
}

/** A progress bar on a terminal, a line per stage elsewhere. */
export function createReporter(terminal: Terminal): Reporter {
  return terminal.isTTY ? barReporter(terminal) : lineReporter(terminal);
}
