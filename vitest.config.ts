import { configDefaults, defineConfig } from 'vitest/config';
import { isLostTypeQuery } from './server/src/store/database/connection.ts';
import { LongestFirst } from './test/support/suite/longest-first.ts';
import { mockingFiles } from './test/support/suite/mocking-files.ts';
import { svelteModules } from './test/support/suite/svelte-modules.ts';
import { knownV8Options } from './test/support/suite/v8-options.ts';

// In a worker that runs for minutes, V8 optimised one large function for 15 s of processor time, and one of the parser
// for PowerShell, which is WebAssembly, for as long. What runs for a few tests costs more to optimise than it saves, and
// a young generation that begins large is collected less often.
const v8 = knownV8Options([
  '--max-optimized-bytecode-size=10000',
  '--liftoff-only',
  '--interrupt-budget=600000',
  '--min-semi-space-size=32',
  '--max-semi-space-size=64',
]);

const each = {
  pool: 'forks',
  execArgv: v8,
  testTimeout: 60_000,
  hookTimeout: 120_000,
  // A second, the default, is too short on a machine that has other work.
  expect: { poll: { timeout: 10_000 } },
  setupFiles: 'test/support/suite/quick-equality.ts',
} as const;
const mocking = mockingFiles(['protocol/src', 'server/src', 'agent/src', 'ui/src', 'test']);
// What one file has imported, the next one has: to import it all anew for each would cost a third of the suite.
const sharing = { ...each, isolate: false, exclude: [...configDefaults.exclude, ...mocking] };

export default defineConfig({
  test: {
    globalSetup: ['test/support/suite/global-setup.ts'],
    // On two cores: whole systems wait for much that is no work of theirs. Four workers left a seventh of the processor
    // time unused.
    maxWorkers: 5,
    sequence: { sequencer: LongestFirst },
    // What a run has transformed, the next one takes from there unless the source or package-lock.json has changed.
    experimental: { fsModuleCache: true, fsModuleCachePath: '.cache/vitest' },
    dangerouslyIgnoreUnhandledErrors: false,
    // The driver of the database causes this one, and the server lets it pass too.
    onUnhandledError: (error) => (isLostTypeQuery(error) ? false : undefined),
    projects: [
      {
        test: {
          ...sharing,
          name: 'system',
          include: ['test/**/*.test.ts', '{protocol,server,agent}/src/**/*.test.ts'],
        },
      },
      { test: { ...each, name: 'alone', include: mocking } },
      {
        plugins: [svelteModules],
        test: { ...sharing, name: 'console', include: ['ui/src/**/*.test.ts'] },
      },
    ],
  },
});
