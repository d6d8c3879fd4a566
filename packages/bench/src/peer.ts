import { serveParent } from './arms/serve.ts';
import { createLlamaHandlers } from './peers/nodeLlamaCpp.ts';

// Without the core, whose memory would count as the engine's.
serveParent(createLlamaHandlers());
