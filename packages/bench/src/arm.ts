import { createHandlers } from './arms/child.ts';
import { serveParent } from './arms/serve.ts';
import { openArm } from './arms/spec.ts';

serveParent(createHandlers(openArm));
