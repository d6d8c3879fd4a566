import { basename, resolve } from 'node:path';

/** What the user called the model, without the folders of their machine. */
export function modelName(model: string): string {
  const isPath = model.endsWith('.gguf') || /^([./~\\]|[A-Za-z]:)/.test(model);
  return isPath ? basename(resolve(model)) : model;
}
