import type { Handlers } from '../arms/protocol.ts';
import type { PeerName } from './names.ts';
import { createLlamaHandlers } from './nodeLlamaCpp.ts';
import { createTransformersHandlers } from './transformersJs.ts';

type EngineHandlers = Handlers<'loadPeer' | 'run'> & Partial<Handlers<'serve' | 'comparePeer'>>;

const engines: Readonly<Record<PeerName, () => EngineHandlers>> = {
  'node-llama-cpp': createLlamaHandlers,
  'transformers-js': createTransformersHandlers,
};

/** What the process of a peer does when asked: what its engine does, which loading names. */
export function createPeerHandlers(): Required<EngineHandlers> {
  let handlers: EngineHandlers | undefined;
  return {
    async loadPeer(input, report) {
      handlers = engines[input.engine]();
      return handlers.loadPeer(input, report);
    },
    async run(request, report) {
      if (!handlers) throw new Error('Nothing was loaded.');
      return handlers.run(request, report);
    },
    async serve(input, report) {
      if (!handlers?.serve) throw new Error('The engine takes one request at a time.');
      return handlers.serve(input, report);
    },
    async comparePeer(input, report) {
      if (!handlers?.comparePeer) throw new Error('The engine hands out no probabilities.');
      return handlers.comparePeer(input, report);
    },
  };
}
