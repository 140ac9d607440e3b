// Builds the server (.cache/build/server.mjs) and what it serves as files: the console (ui/dist) and the one-file agent
// (.cache/build/agent.mjs), each only when its sources have changed.
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
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
import { argumentsOrUsage } from './arguments-or-usage.mjs';
import { bundle } from './bundle.mjs';
import { endWithProblem, startProblem } from './explain-start.mjs';

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
  await build().catch((error) => {
    // esbuild and Vite say in ways of their own that they may not write; the system says it here.
    if (startProblem(error) === undefined) accessSync(buildFolder, constants.W_OK);
    throw error;
  });
  writeFileSync(stamp, digest);
  process.stdout.write(`done in ${((Date.now() - startedMs) / 1000).toFixed(1)} s\n`);
}

/** The globals that CommonJS dependencies expect in a module. */
const moduleGlobals = [
  "import { createRequire as __createRequire } from 'node:module';",
  'const require = __createRequire(import.meta.url);',
  'const __filename = import.meta.filename;',
  'const __dirname = import.meta.dirname;',
];
/**
 * Inside an executable, `require` only knows Node's own modules. Packages that may be installed (koffi, bufferutil) are
 * looked for beside it, as they are beside agent.mjs.
 */
const executableGlobals = [
  "var require = require('node:module').createRequire(process.execPath);",
  "const __own = require('node:url').pathToFileURL(process.execPath).href;",
];

/**
 * @param {string} entryPoint
 * @param {string} outfile relative to the repository if it is not absolute.
 * @param {{ forExecutable?: boolean }} options `forExecutable`: as a script that Node.js runs from within itself, which
 *   can't be a module.
 */
async function bundleAgent(entryPoint, outfile, { forExecutable = false } = {}) {
  const { build } = await import('esbuild');
  const unfinished = resolve(root, `${outfile}.${process.pid}`);
  await build({
    entryPoints: [join(root, entryPoint)],
    outfile: unfinished,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: forExecutable ? 'cjs' : 'esm',
    // ssh2 and ws try to load these at run time and work without them, and Kerberos reports that it is unavailable;
    // empty stand-ins would be taken for the real packages.
    external: ['cpu-features', '*.node', 'bufferutil', 'utf-8-validate', 'koffi'],
    define: forExecutable ? { 'import.meta.url': '__own' } : {},
    banner: { js: (forExecutable ? executableGlobals : moduleGlobals).join('\n') },
    legalComments: 'inline',
    // An agent keeps this text in memory twice, so this saves 7 MB. Short lines, because Node prints the line that
    // threw.
    minifyWhitespace: true,
    lineLimit: 160,
    logLevel: 'error',
  });
  // A single character outside Latin 1 makes V8 store the text with two bytes per character: 8 MB of an agent's memory
  // instead of 4. esbuild leaves such characters in comments and regular expressions, where an escape means the same.
  const text = readFileSync(unfinished, 'utf8');
  const escaped = (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`;
  writeFileSync(unfinished, text.replace(/[^\0-\xff]/g, escaped));
  // Replaced atomically, because another process may be running or building it right now.
  renameSync(unfinished, resolve(root, outfile));
}

async function buildConsole() {
  const { build } = await import('vite');
  await build({ root: join(root, 'ui'), logLevel: 'error' });
}

export async function buildAgentIfChanged() {
  mkdirSync(buildFolder, { recursive: true });
  await buildIfChanged('agent', ['agent', 'protocol'], '.cache/build/agent.mjs', () =>
    bundleAgent('agent/src/main.ts', '.cache/build/agent.mjs'),
  );
}

/** The agent's program for an executable. Returns `outfile`. */
export async function buildAgentForExecutable(outfile) {
  await bundleAgent('agent/src/main.ts', outfile, { forExecutable: true });
  return outfile;
}

/** The owner's program as a single file, to be copied to the owner's machine. */
async function buildOpsconductorIfChanged() {
  mkdirSync(buildFolder, { recursive: true });
  await buildIfChanged('opsconductor', ['agent', 'protocol'], '.cache/build/opsconductor.mjs', () =>
    bundleAgent('agent/src/owner-main.ts', '.cache/build/opsconductor.mjs'),
  );
}

/** An agent for tests that kill it, with a single step type made for them. */
export async function buildKilledAgent() {
  mkdirSync(buildFolder, { recursive: true });
  await buildIfChanged('killed-agent', ['agent', 'protocol'], '.cache/build/killed-agent.mjs', () =>
    bundleAgent('agent/src/testing/agent-process.ts', '.cache/build/killed-agent.mjs'),
  );
}

export async function buildServerIfChanged() {
  mkdirSync(buildFolder, { recursive: true });
  const sources = ['server', 'protocol', 'scripts'];
  await buildIfChanged('server', sources, '.cache/build/server.mjs', () =>
    bundle('server/src/main.ts', '.cache/build/server.mjs'),
  );
}

/** Builds what tests of the whole system need: the agent, and the server with test timings. */
export async function buildForTests() {
  await buildAgentIfChanged();
  const sources = ['server', 'protocol', 'scripts', 'test/support/server-main.ts'];
  await buildIfChanged('test-server', sources, '.cache/build/test-server.mjs', () =>
    bundle('test/support/server-main.ts', '.cache/build/test-server.mjs'),
  );
}

/** Also builds what the fault harness needs: the agent with an adjustable clock. */
export async function buildForFaults() {
  await buildForTests();
  const sources = ['agent', 'protocol', 'test/faults/agent-main.ts', 'test/faults/agent-clock.ts'];
  await buildIfChanged('faults-agent', sources, '.cache/build/faults-agent.mjs', () =>
    bundleAgent('test/faults/agent-main.ts', '.cache/build/faults-agent.mjs'),
  );
}

/** Brings everything up to date. */
export async function buildAll() {
  await buildAgentIfChanged();
  await buildServerIfChanged();
  await buildIfChanged('console', ['ui', 'protocol'], 'ui/dist/index.html', buildConsole);
}

const usage = `node scripts/build.mjs [server|opsconductor]

Builds the server, the agent and the console, each only if its sources have changed. With "server", builds only that;
with "opsconductor", only the owner's program, as one file (.cache/build/opsconductor.mjs).
`;
const single = { server: buildServerIfChanged, opsconductor: buildOpsconductorIfChanged };

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { positionals } = argumentsOrUsage(usage, { options: {}, allowPositionals: true });
  const [what, ...more] = positionals;
  if (more.length > 0 || (what !== undefined && !Object.hasOwn(single, what))) {
    process.stderr.write(`error: there is no “${[what, ...more].join(' ')}” to build\n${usage}`);
    process.exit(2);
  }
  await (what === undefined ? buildAll() : single[what]()).catch(endWithProblem);
}
