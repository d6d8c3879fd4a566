import { serveArm } from './arms/child.ts';
import { openArm } from './arms/spec.ts';

// Ctrl-C reaches the whole group of processes; the parent decides what becomes of its arms.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit(0));

serveArm(
  {
    on: (event, listener) => process.on(event, listener),
    send: (message) => void process.send?.(message),
  },
  openArm,
);
