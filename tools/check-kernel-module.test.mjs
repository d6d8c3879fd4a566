import { expect, it } from 'vitest';
import { checkKernelModule } from './check-kernel-module.mjs';

const header = '0061736d01000000';
const module = (...parts) => Buffer.from(header + parts.join(''), 'hex');
const memoryImport = ['021201', '03656e76', '066d656d6f7279', '020301808004'].join('');
const type = '010401600000';

it('takes a module that only imports the shared memory', () => {
  expect(() => checkKernelModule(module(memoryImport), 'ok')).not.toThrow();
});

it('refuses static data', () => {
  // One segment of one byte at address 8.
  expect(() => checkKernelModule(module(memoryImport, '0b0701' + '0041080b' + '0141'), 'data')).toThrow(
    /data: the module has static data/,
  );
});

it('refuses code that runs by itself', () => {
  const withStart = module(type, memoryImport, '03020100', '080100', '0a040102000b');
  expect(() => checkKernelModule(withStart, 'start')).toThrow(/runs code when it is instantiated/);
});

it('refuses other imports, and names them', () => {
  const abort = module(type, '020d01' + '03656e76' + '0561626f7274' + '0000');
  expect(() => checkKernelModule(abort, 'abort')).toThrow(/imports env\.abort/);
});

it('refuses to hand out the memory or a table', () => {
  const exported = (kind) => `070501${'0178'}${kind}00`;
  const table = '0404' + '01700000';
  expect(() => checkKernelModule(module(memoryImport, exported('02')), 'out')).toThrow(
    /out: the module exports the memory x; .* --noExportMemory/,
  );
  expect(() => checkKernelModule(module(memoryImport, table, exported('01')), 'out')).toThrow(/exports the table x/);
});

it('takes exported functions', () => {
  const kernel = module(type, memoryImport, '03020100', '07050101780000', '0a040102000b');
  expect(() => checkKernelModule(kernel, 'ok')).not.toThrow();
});
