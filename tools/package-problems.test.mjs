import { describe, expect, it } from 'vitest';
import { packageProblems } from './package-problems.mjs';

const manifest = { name: 'p', license: 'MIT' };
const files = ['LICENSE', 'README.md', 'package.json', 'dist/index.js', 'dist/latest.js'];

describe('packageProblems', () => {
  it('finds nothing in a good package', () => {
    expect(packageProblems({ ...manifest, dependencies: { a: '^1.0.0' }, scripts: { build: 'tsup' } }, files)).toEqual(
      [],
    );
  });

  it.each([
    ['dist/index.test.js', 'a test'],
    ['test/tiny.js', 'a test'],
    ['src/fixtures/a.bin', 'a fixture'],
    ['dist/index.js.map', 'a source map'],
  ])('refuses %s as %s', (file, kind) => {
    expect(packageProblems(manifest, [...files, file])).toEqual([
      `p: the tarball holds ${kind}: ${file}. Leave it out with "files" in package.json.`,
    ]);
  });

  it('wants a readme, a licence, and the right one', () => {
    expect(packageProblems({ ...manifest, license: 'ISC' }, ['dist/index.js'])).toEqual([
      'p: the tarball has no README.md.',
      'p: the tarball has no LICENSE.',
      'p: the license is ISC, not MIT.',
    ]);
  });

  it.each(['preinstall', 'install', 'postinstall'])('refuses a %s script', (script) => {
    expect(packageProblems({ ...manifest, scripts: { [script]: 'x' } }, files)).toEqual([
      `p: it has a ${script} script.`,
    ]);
  });

  it.each(['*', 'file:../a', 'workspace:^'])('refuses the range %s', (range) => {
    expect(packageProblems({ ...manifest, peerDependencies: { a: range } }, files)).toHaveLength(1);
  });
});
