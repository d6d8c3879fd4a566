/**
 * A vitest reporter: skipped tests by name with their reason, and one plain line of counts at the end. What fails outside a
 * test (an import, a hook, a rejection nobody handled) counts as a failure, so that the line never looks better than the run.
 */
export default class Summary {
  onTestRunEnd(modules, unhandledErrors) {
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    for (const module of modules) {
      for (const suite of [module, ...module.children.allSuites()]) {
        if (suite.errors().length > 0) counts.failed++;
      }
      for (const test of module.children.allTests()) {
        const { state, note } = test.result();
        if (state in counts) counts[state]++;
        if (state === 'skipped') console.log(`skipped: ${test.fullName}${note ? ` (${note})` : ''}`);
      }
    }
    console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  }
}
