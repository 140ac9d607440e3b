// A vitest reporter for `npm test`: writes the counts, and what was skipped and why, to the file named by
// OPSCONDUCTOR_TEST_SUMMARY, for the closing lines.
import { writeFileSync } from 'node:fs';
import type { SerializedError } from 'vitest';
import type { Reporter, TestModule } from 'vitest/node';

export interface TestSummary {
  passed: number;
  /** Failed tests, files that could not be loaded or set up, and errors outside of tests. */
  failed: number;
  skipped: number;
  /** Each `file: reason or name`, once. */
  skips: string[];
}

export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const file = process.env.OPSCONDUCTOR_TEST_SUMMARY;
    if (file === undefined) return;
    const summary: TestSummary = { passed: 0, failed: unhandledErrors.length, skipped: 0, skips: [] };
    for (const module of modules) add(summary, module);
    summary.skips = [...new Set(summary.skips)];
    writeFileSync(file, JSON.stringify(summary));
  }
}

function add(summary: TestSummary, module: TestModule): void {
  const suites = [...module.children.allSuites()];
  summary.failed += [module, ...suites].filter((suite) => suite.errors().length > 0).length;
  for (const test of module.children.allTests()) {
    const result = test.result();
    if (result.state === 'passed' || result.state === 'failed') summary[result.state] += 1;
    if (result.state !== 'skipped') continue;
    // A failed beforeAll leaves its tests skipped; the file has then already been counted as failed.
    summary.skipped += 1;
    summary.skips.push(`${module.relativeModuleId}: ${result.note ?? test.fullName}`);
  }
}
