/**
 * A backend in a few words, from its name and what it says of itself: `wasm int8`, `onnx float32 (cpu)`, `gpu (webgpu, NVIDIA H100)`,
 * `reference`.
 */
export function backendTitle(name: string, settings: Readonly<Record<string, unknown>> = {}): string {
  const { precision, mode, device, executionProviders } = settings;
  const where = [mode, device, executionProviders].filter((part) => typeof part === 'string' && part !== '');
  const shown = (name === 'wasm' || name === 'onnx') && typeof precision === 'string' ? [precision] : [];
  return [name, ...shown, ...(where.length > 0 ? [`(${where.join(', ')})`] : [])].join(' ');
}
