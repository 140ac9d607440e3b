// A start of the server whole, in a process of its own: what it has compiled by then is looked at.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stepTypes } from '@opsconductor/protocol';
import { expect, test, vi } from 'vitest';
import { readConfig } from './config.ts';
import { examineDefinition } from './jobs/validate-definition.ts';
import { createLog } from './log.ts';
import { startServer } from './server.ts';
import { setupDatabase } from './store/database/testing.ts';

const compiled: unknown[] = [];
vi.mock(import('ajv/dist/2020.js'), async (original) => {
  const library = await original();
  class Observed extends library.Ajv2020 {
    override compile(...given: unknown[]): never {
      compiled.push(given[0]);
      return Reflect.apply(super.compile, this, given) as never;
    }
  }
  return { ...library, Ajv2020: Observed as typeof library.Ajv2020 };
});

const aStepOf = (type: string, config: unknown) => ({ name: 'a job', steps: [{ name: 's', type, config }] });

test('a server that says it is ready has compiled what definitions are checked with', async () => {
  const database = await setupDatabase();
  const folder = await mkdtemp(join(tmpdir(), 'opsconductor-server-'));
  await writeFile(join(folder, 'index.html'), '');
  const config = readConfig(['--port', '0', '--data', join(folder, 'data')], { DATABASE_URL: database.url });
  const paths = {
    migrations: join(import.meta.dirname, '../../migrations'),
    console: folder,
    agentBundle: '',
  };
  const server = await startServer(config, paths, createLog({ level: 'silent', plain: false }), () => {});
  try {
    expect((await fetch(`${server.localUrl}/readyz`)).status).toBe(200);
    expect(compiled).not.toEqual([]);
    compiled.length = 0;
    for (const type of stepTypes) {
      expect(examineDefinition(aStepOf(type, { unknown: 1 })).problems).not.toEqual([]);
    }
    expect(compiled).toEqual([]);
  } finally {
    await server.stop();
    await database.close();
    await rm(folder, { recursive: true });
  }
});
