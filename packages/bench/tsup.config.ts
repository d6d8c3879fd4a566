import { defineConfig } from 'tsup';

export default defineConfig({
  // Flat: the parent looks for arm.js and peer.js beside itself.
  entry: { index: 'src/index.ts', cli: 'src/cli.ts', arm: 'src/arm.ts', peer: 'src/peer.ts' },
  format: 'esm',
  target: 'node22',
  dts: { entry: { index: 'src/index.ts' } },
  clean: true,
});
