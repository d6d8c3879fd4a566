import type { Handlers } from '../arms/protocol.ts';
import type { PeerName } from './names.ts';
import { createLlamaHandlers } from './nodeLlamaCpp.ts';
import { createTransformersHandlers } from './transformersJs.ts';

type PeerHandlers = Handlers<'loadPeer' | 'run'>;

const engines: Readonly<Record<PeerName, () => PeerHandlers>> = {
  'node-llama-cpp': createLlamaHandlers,
  'transformers-js': createTransformersHandlers,
};

/** What the process of a peer does when asked: what its engine does, which loading names. */
export function createPeerHandlers(): PeerHandlers {
  let handlers: PeerHandlers | undefined;
  return {
    async loadPeer(input, report) {
      handlers = engines[input.engine]();
      return handlers.loadPeer(input, report);
    },
    async run(request, report) {
      if (!handlers) throw new Error('Nothing was loaded.');
      return handlers.run(request, report);
    },
  };
}
