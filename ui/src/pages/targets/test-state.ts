// State of a target's connection test.
import type { TestResult } from '@opsconductor/protocol';
import type { ApiError } from '../../api/client.ts';

export type TestState =
  | { state: 'testing' }
  | { state: 'done'; result: TestResult }
  | { state: 'failed'; error: ApiError };
