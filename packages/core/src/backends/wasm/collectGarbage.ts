import { setTimeout as sleep } from 'node:timers/promises';
import v8 from 'node:v8';
import vm from 'node:vm';

/**
 * Has V8 let go of what nobody refers to any more: the memory behind a buffer is given back only when the object is collected, and an idle
 * process collects nothing. Takes the event loop some milliseconds.
 */
export async function collectGarbage(): Promise<void> {
  // A new context has V8's own function, whatever the process was started with; nobody else gets to see it.
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc') as () => void;
  v8.setFlagsFromString('--no-expose-gc');
  // What the ticks before this one refer to is let go in between.
  await sleep(0);
  collect();
}
