import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createReporter } from './reporter.ts';

function recorder() {
  let text = '';
  const stream = new Writable({
    write(chunk, _, done) {
      text += chunk;
      done();
    },
  });
  return { stream, text: () => text };
}

describe('createReporter', () => {
  it('writes a line per stage and note where there is no terminal, and no progress', () => {
    const { stream, text } = recorder();
    const reporter = createReporter(stream);
    reporter.stage('Loading baseline');
    reporter.progress(0.5, 'half');
    reporter.note('a note');
    reporter.stage('Timed runs');
    reporter.end();
    expect(text()).toBe('Loading baseline\na note\nTimed runs\n');
  });

  it('draws a bar on a terminal and leaves the cursor visible', () => {
    const { stream, text } = recorder();
    Object.assign(stream, { isTTY: true, columns: 120, cursorTo() {}, clearLine() {} });
    const reporter = createReporter(stream);
    reporter.stage('Timed runs');
    reporter.progress(0.5, 'run 1/2');
    reporter.end();
    expect(text()).toContain('Timed runs');
    expect(text()).toContain('50 %');
    expect(text()).toContain('run 1/2');
    expect(text().lastIndexOf('\u001B[?25h')).toBeGreaterThan(text().lastIndexOf('\u001B[?25l'));
  });
});
