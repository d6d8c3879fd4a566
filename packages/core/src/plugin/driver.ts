import { LlmoptError } from '../errors.ts';
import type { GenerateResult } from '../pipeline/types.ts';
import type { HooksOfKind } from './hooks.ts';
import type { GenerateRequest, Hooks, Plugin } from './plugin.ts';

/** Calls hooks, each in the way of its kind; the types refuse any other pairing. */
export interface Driver {
  waterfall<Name extends HooksOfKind<'waterfall'>>(
    name: Name,
    start: Parameters<Hooks[Name]>[0],
  ): Promise<Parameters<Hooks[Name]>[0]>;
  exclusive<Name extends HooksOfKind<'exclusive'>>(name: Name): Hooks[Name] | undefined;
  /** A function that calls all of them, or undefined when no plugin has the hook: then the hot path pays nothing. */
  inPlace<Name extends HooksOfKind<'inPlace'>>(name: Name): ((...args: Parameters<Hooks[Name]>) => void) | undefined;
  onion(
    request: GenerateRequest,
    innermost: (request: GenerateRequest) => Promise<GenerateResult>,
  ): Promise<GenerateResult>;
  observe<Name extends HooksOfKind<'observe'>>(name: Name, ...args: Parameters<Hooks[Name]>): void;
  settle(name: HooksOfKind<'settle'>, order?: 'forward' | 'backward'): Promise<void>;
  merge(name: HooksOfKind<'merge'>): Readonly<Record<string, number>>;
}

/** @param plugins in the order of the plan */
export function createDriver(plugins: readonly Plugin[]): Driver {
  const having = (name: keyof Hooks) => plugins.filter((plugin) => plugin[name] !== undefined);
  // biome-ignore lint/suspicious/noExplicitAny: the public signatures above tie name and arguments together
  const hookOf = (plugin: Plugin, name: keyof Hooks) => plugin[name] as (...args: any[]) => any;
  return {
    async waterfall(name, start) {
      let value = start;
      for (const plugin of having(name)) {
        value = await guardAsync(plugin, name, () => hookOf(plugin, name)(value));
        if (value === undefined) throw failed(plugin, name, new Error('it returned nothing'));
      }
      return value;
    },
    exclusive: (name) => having(name)[0]?.[name],
    inPlace(name) {
      const those = having(name);
      if (those.length === 0) return undefined;
      return (...args) => {
        for (const plugin of those) {
          const returned = guard(plugin, name, () => hookOf(plugin, name)(...args));
          if (returned instanceof Promise)
            throw failed(plugin, name, new Error('it is asynchronous; this hook must be synchronous'));
        }
      };
    },
    onion(request, innermost) {
      return having('generate').reduceRight<(request: GenerateRequest) => Promise<GenerateResult>>(
        (next, plugin) => (inner) => guardAsync(plugin, 'generate', () => plugin.generate!(inner, next)),
        innermost,
      )(request);
    },
    observe(name, ...args) {
      for (const plugin of having(name)) {
        try {
          hookOf(plugin, name)(...args);
        } catch (cause) {
          process.emitWarning(failed(plugin, name, cause));
        }
      }
    },
    async settle(name, order = 'forward') {
      const those = order === 'forward' ? having(name) : having(name).reverse();
      for (const plugin of those) await guardAsync(plugin, name, () => plugin[name]!());
    },
    merge: (name) => Object.assign({}, ...having(name).map((plugin) => guard(plugin, name, () => plugin[name]!()))),
  };
}

function guard<T>(plugin: Plugin, hook: keyof Hooks, call: () => T): T {
  try {
    return call();
  } catch (cause) {
    throw failed(plugin, hook, cause);
  }
}

async function guardAsync<T>(plugin: Plugin, hook: keyof Hooks, call: () => T | Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (cause) {
    throw failed(plugin, hook, cause);
  }
}

/** Wraps what a plugin threw, once; errors that are already typed keep their code. */
function failed(plugin: Plugin, hook: keyof Hooks, cause: unknown): LlmoptError {
  if (LlmoptError.isInstance(cause)) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new LlmoptError('LLMOPT_PLUGIN_FAILED', `[${plugin.name}] ${hook}: ${reason}.`, {
    where: { plugin: plugin.name, hook },
    cause,
  });
}
