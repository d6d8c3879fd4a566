#!/usr/bin/env node
// Nothing else is imported before the version is known to be good enough to parse it.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(`LLMOPT_NODE_VERSION: Node.js ${process.versions.node} is too old. Install 22.18 or later.\n`);
  process.exitCode = 1;
} else {
  const { main } = await import('./cli/main.ts');
  process.exitCode = await main(process.argv.slice(2));
}
