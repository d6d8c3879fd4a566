import { SingleBar } from 'cli-progress';
import type { CalibrationProgress } from '../calibration/calibrate.ts';

/** Where progress is written: `process.stderr`, or something like it. */
export type Terminal = NodeJS.WritableStream & { isTTY?: boolean };

const titles: Readonly<Record<CalibrationProgress['stage'], string>> = {
  load: 'Loading the model',
  text: 'Writing text',
  activations: 'Collecting activations',
  costs: 'Weighing the sites',
  search: 'Looking for budgets',
  write: 'Writing the file',
};

/** A bar per stage on a terminal, a line per stage elsewhere. */
export function createProgress(terminal: Terminal) {
  let stage: CalibrationProgress['stage'] | undefined;
  let bar: SingleBar | undefined;
  const end = () => {
    bar?.stop();
    bar = undefined;
  };
  return {
    report(progress: CalibrationProgress): void {
      if (progress.stage !== stage) {
        end();
        ({ stage } = progress);
        if (terminal.isTTY) bar = startBar(terminal, titles[stage]);
        else terminal.write(`${titles[stage]}\n`);
      }
      bar?.update(Math.floor(progress.fraction * 100));
    },
    end,
  };
}

function startBar(terminal: Terminal, title: string): SingleBar {
  const bar = new SingleBar({
    format: `${title.padEnd(24)} {bar} {percentage} %  {eta_formatted} left`,
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
  bar.start(100, 0);
  return bar;
}
