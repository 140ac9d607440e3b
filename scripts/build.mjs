// Builds the server (.cache/build/server.mjs) and what it serves as files: the console (ui/dist) and the one-file agent
// (.cache/build/agent.mjs), each only when its sources have changed.
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { bundle } from './bundle.mjs';

const root = resolve(import.meta.dirname, '..');
const buildFolder = join(root, '.cache/build');

function digestOf(folders) {
  const hash = createHash('sha256');
  const visit = (path) => {
    if (statSync(path).isDirectory()) {
      for (const name of readdirSync(path).sort()) {
        if (name !== 'node_modules' && name !== 'dist' && !name.endsWith('.test.ts')) visit(join(path, name));
      }
    } else {
      hash.update(path.slice(root.length)).update('\0').update(readFileSync(path));
    }
  };
  for (const folder of folders) visit(join(root, folder));
  return hash.digest('hex');
}

async function buildIfChanged(name, folders, output, build) {
  const stamp = join(buildFolder, `${name}.sha256`);
  const digest = digestOf([...folders, 'package-lock.json', 'scripts/build.mjs', 'scripts/bundle.mjs']);
  if (existsSync(join(root, output)) && existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return;
  const startedMs = Date.now();
  process.stdout.write(`Building the ${name} … `);
  await build();
  writeFileSync(stamp, digest);
  process.stdout.write(`done in ${((Date.now() - startedMs) / 1000).toFixed(1)} s\n`);
}

async function buildAgent(entryPoint, name) {
  const { build } = await import('esbuild');
  const unfinished = join(buildFolder, `${name}.${process.pid}.mjs`);
  await build({
    entryPoints: [join(root, entryPoint)],
    outfile: unfinished,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    // ssh2 and ws look for these at run time and do without, and Kerberos says that it can't be used; an empty stand-in
    // would make them believe in it.
    external: ['cpu-features', '*.node', 'bufferutil', 'utf-8-validate', 'koffi'],
    // What CommonJS dependencies expect of a module's surroundings.
    banner: {
      js: [
        "import { createRequire as __createRequire } from 'node:module';",
        'const require = __createRequire(import.meta.url);',
        'const __filename = import.meta.filename;',
        'const __dirname = import.meta.dirname;',
      ].join('\n'),
    },
    legalComments: 'inline',
    // An agent keeps this text in memory twice: 7 MB less of it. In lines, as Node prints the one in which an error was thrown.
    minifyWhitespace: true,
    lineLimit: 160,
    logLevel: 'error',
  });
  // V8 keeps a text of two bytes a letter, 8 MB of an agent's memory and not 4, when one letter is beyond Latin 1. esbuild leaves
  // such letters in comments and regular expressions alone, where an escape means the same.
  const text = readFileSync(unfinished, 'utf8');
  const escaped = (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`;
  writeFileSync(unfinished, text.replace(/[^\0-\xff]/g, escaped));
  // Whole or not at all: another process may run it, or build it, at this moment.
  renameSync(unfinished, join(buildFolder, `${name}.mjs`));
}

async function buildConsole() {
  const { build } = await import('vite');
  await build({ root: join(root, 'ui'), logLevel: 'error' });
}

export async function buildAgentIfChanged() {
  mkdirSync(buildFolder, { recursive: true });
  await buildIfChanged('agent', ['agent', 'protocol'], '.cache/build/agent.mjs', () =>
    buildAgent('agent/src/main.ts', 'agent'),
  );
}

/** The owner's program, as one file that is carried to their machine. */
export async function buildOpsconductorIfChanged() {
  mkdirSync(buildFolder, { recursive: true });
  await buildIfChanged('opsconductor', ['agent', 'protocol'], '.cache/build/opsconductor.mjs', () =>
    buildAgent('agent/src/owner-main.ts', 'opsconductor'),
  );
}

/** An agent for tests that kill it, whose one step type is made for them. */
export async function buildKilledAgent() {
  mkdirSync(buildFolder, { recursive: true });
  await buildIfChanged('killed-agent', ['agent', 'protocol'], '.cache/build/killed-agent.mjs', () =>
    buildAgent('agent/src/testing/agent-process.ts', 'killed-agent'),
  );
}

export async function buildServerIfChanged() {
  mkdirSync(buildFolder, { recursive: true });
  const sources = ['server', 'protocol', 'scripts'];
  await buildIfChanged('server', sources, '.cache/build/server.mjs', () =>
    bundle('server/src/main.ts', '.cache/build/server.mjs'),
  );
}

/** What tests of the whole system need: the agent, and the server with the timings of a test. */
export async function buildForTests() {
  await buildAgentIfChanged();
  const sources = ['server', 'protocol', 'scripts', 'test/support/server-main.ts'];
  await buildIfChanged('test-server', sources, '.cache/build/test-server.mjs', () =>
    bundle('test/support/server-main.ts', '.cache/build/test-server.mjs'),
  );
}

/** And of the fault harness: the agent on a clock that can be set. */
export async function buildForFaults() {
  await buildForTests();
  const sources = ['agent', 'protocol', 'test/faults/agent-main.ts', 'test/faults/agent-clock.ts'];
  await buildIfChanged('faults-agent', sources, '.cache/build/faults-agent.mjs', () =>
    buildAgent('test/faults/agent-main.ts', 'faults-agent'),
  );
}

/** Brings all up to date. */
export async function buildAll() {
  await buildAgentIfChanged();
  await buildServerIfChanged();
  await buildIfChanged('console', ['ui', 'protocol'], 'ui/dist/index.html', buildConsole);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await (process.argv[2] === 'opsconductor' ? buildOpsconductorIfChanged() : buildAll());
}
