const unwanted = [
  [/\.test\.|(^|\/)tests?\//, 'a test'],
  [/(^|\/)(fixtures|__snapshots__)\//, 'a fixture'],
  [/\.map$/, 'a source map'],
  [/\.tsbuildinfo$|(^|\/)\.env/, 'a file of the build'],
];

/**
 * What is wrong with a package before anyone installs it, as sentences.
 * @param {Record<string, any>} manifest its package.json
 * @param {string[]} files paths in its tarball
 */
export function packageProblems(manifest, files) {
  const problems = [];
  for (const file of files) {
    const kind = unwanted.find(([pattern]) => pattern.test(file))?.[1];
    if (kind)
      problems.push(`${manifest.name}: the tarball holds ${kind}: ${file}. Leave it out with "files" in package.json.`);
  }
  for (const wanted of ['README.md', 'LICENSE']) {
    if (!files.includes(wanted)) problems.push(`${manifest.name}: the tarball has no ${wanted}.`);
  }
  if (manifest.license !== 'MIT') problems.push(`${manifest.name}: the license is ${manifest.license}, not MIT.`);
  for (const script of ['preinstall', 'install', 'postinstall']) {
    if (manifest.scripts?.[script]) problems.push(`${manifest.name}: it has a ${script} script.`);
  }
  for (const [name, range] of Object.entries({ ...manifest.dependencies, ...manifest.peerDependencies })) {
    if (/^(\*|file:|link:|workspace:|git|https?:)/.test(range)) {
      problems.push(
        `${manifest.name}: it depends on ${name} as "${range}", which means nothing or anything to whoever installs it.`,
      );
    }
  }
  return problems;
}
