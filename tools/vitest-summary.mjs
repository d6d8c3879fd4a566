// A vitest reporter: skipped tests by name with their reason, and one plain line of counts at the end.
export default class Summary {
  onTestRunEnd(modules) {
    const counts = { passed: 0, failed: 0, skipped: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state, note } = test.result();
        if (state in counts) counts[state]++;
        if (state === 'skipped') console.log(`skipped: ${test.fullName}${note ? ` (${note})` : ''}`);
      }
      if (module.state() === 'failed' && [...module.children.allTests()].length === 0) counts.failed++;
    }
    console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  }
}
