const sections = { import: 2, start: 8, data: 11 };

/**
 * Kernels of all packages share one memory, so a module must bring nothing of its own into it.
 * @param {Uint8Array} binary
 * @param {string} name for messages
 */
export function checkKernelModule(binary, name) {
  const refuse = (what, hint) => {
    throw new Error(`${name}: ${what} ${hint}`);
  };
  for (const { id, payload } of walk(binary)) {
    if (id === sections.data && payload[0] !== 0) {
      refuse(
        'the module has static data, which would overwrite that of other modules on the same memory.',
        'Use no string, array literal or table; compute constants or take them as arguments.',
      );
    }
    if (id === sections.start)
      refuse('the module runs code when it is instantiated.', 'Use no top-level statements and no lazy globals.');
  }
  const compiled = new WebAssembly.Module(binary);
  for (const { name: field, kind } of WebAssembly.Module.exports(compiled)) {
    if (kind === 'memory' || kind === 'table') {
      refuse(
        `the module exports the ${kind} ${field}; kernels export functions.`,
        kind === 'memory'
          ? 'Compile with --noExportMemory: the memory belongs to whoever instantiates the kernels.'
          : 'Compile without --exportTable, and call functions by name instead of through references.',
      );
    }
  }
  for (const { module, name: field } of WebAssembly.Module.imports(compiled)) {
    if (`${module}.${field}` !== 'env.memory') {
      refuse(
        `the module imports ${module}.${field}; kernels get env.memory and nothing else.`,
        'Avoid what needs the host: abort, console, Date, Math.random.',
      );
    }
  }
}

function* walk(binary) {
  let at = 8;
  const varuint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = binary[at++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (at < binary.length) {
    const id = binary[at++];
    const size = varuint();
    yield { id, payload: binary.subarray(at, at + size) };
    at += size;
  }
}
