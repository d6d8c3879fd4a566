import { serveParent } from './arms/serve.ts';
import { createPeerHandlers } from './peers/handlers.ts';

// Without the core, whose memory would count as the engine's.
serveParent(createPeerHandlers());
