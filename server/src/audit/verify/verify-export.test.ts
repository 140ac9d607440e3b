import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { unrestricted } from '../../store/people/visibility.ts';
import { exportLog } from '../reading/export-log.ts';
import { filterOf } from '../reading/search-log.ts';
import { applyRetention, setupAudit, type TestAudit } from '../testing.ts';
import { exitCodes, runAuditCommand } from './verify-command.ts';
import { verifyExport } from './verify-export.ts';

let t: TestAudit;
let folder: string;
beforeAll(async () => {
  t = await setupAudit();
  folder = await mkdtemp(join(tmpdir(), 'opsconductor-audit-'));
});
afterEach(() => t.empty());
afterAll(async () => {
  await t.close();
  await rm(folder, { recursive: true });
});

async function exported(query: { action?: string } = {}): Promise<string[]> {
  let text = '';
  const deps = { ...t.deps, now: () => new Date() };
  for await (const piece of exportLog(deps, query, filterOf(query, unrestricted))) text += piece;
  return text.trimEnd().split('\n');
}

it('an export of few rows among many is read in short pieces, so that others get their turn', async () => {
  const deps = { ...t.deps, now: () => new Date() };
  const [first = 0] = await t.write('first');
  // As if many rows that do not fit were in between.
  await t.sql`select setval(pg_get_serial_sequence('audit_log', 'id'), ${first + 150_000})`;
  await t.write('last');
  for (const format of ['csv', 'jsonl'] as const) {
    const query = { action: 'test.', format };
    const pieces: string[] = [];
    for await (const piece of exportLog(deps, query, filterOf(query, unrestricted))) pieces.push(piece);
    expect(pieces.filter((piece) => piece === '')).toHaveLength(2);
    expect(pieces.join('')).toMatch(/test\.first.*test\.last/s);
  }
});

async function verifyLines(lines: string[], notes: string[] = []) {
  const file = join(folder, 'export.jsonl');
  await writeFile(file, `${lines.join('\n')}\n`);
  const { installationId, serverKey } = t.installation;
  const kept = notes.map((note) => ({ file: 'kept', note }));
  return verifyExport(file, { installationId, publicKey: serverKey.publicKey, notes: kept });
}

async function writeLog() {
  await t.write('a', 'b');
  await t.sealer.seal();
  await t.write('c', 'd', 'e');
  await t.sealer.seal();
}

const isOf = (name: string) => (line: string) => line.includes(`"test.${name}"`);

describe('an export of the whole log', () => {
  it('verifies without the database, against checkpoints kept elsewhere too', async () => {
    await t.write('a', 'b');
    const [kept] = await t.sealer.seal();
    await t.write('c', 'd', 'e');
    await t.sealer.seal();
    await t.write('waits');
    const verifier = await verifyLines(await exported(), [kept?.note ?? '']);
    expect(verifier.findings).toEqual([]);
    expect(verifier.rows).toBe(5);
    expect(verifier.remarks).toEqual(['1 row was not sealed yet when it was exported: it is not proven.']);
  });

  it('verifies after retention', async () => {
    await t.write('a', 'b');
    await t.sealer.seal();
    await t.attack(`update audit_checkpoints set sealed_at = sealed_at - interval '40 days'`);
    await applyRetention(t.deps, 30);
    await t.sealer.seal();
    const verifier = await verifyLines(await exported());
    expect(verifier.findings).toEqual([]);
    expect(verifier.removedByRetention).toBe(2);
  });

  it('shows what was altered, removed, swapped or inserted', async () => {
    await writeLog();
    const lines = await exported();
    const at = (name: string) => lines.findIndex(isOf(name));
    const swapped = [...lines];
    [swapped[at('c')], swapped[at('d')]] = [lines[at('d')] ?? '', lines[at('c')] ?? ''];
    const changes: Record<string, string[]> = {
      altered: lines.map((line) => (isOf('c')(line) ? line.replace('"ada"', '"eve"') : line)),
      removed: lines.filter((line) => !isOf('d')(line)),
      swapped,
      'put in': lines.flatMap((line) => (isOf('d')(line) ? [line, line] : [line])),
      'cut off': lines.slice(0, -2),
      'without its checkpoint': lines.filter((line) => !line.includes('number 1')),
    };
    for (const [change, changed] of Object.entries(changes)) {
      expect(changed, change).not.toEqual(lines);
      expect((await verifyLines(changed)).findings, change).not.toEqual([]);
    }
    const [finding] = (await verifyLines(changes.altered ?? [])).findings;
    expect(finding).toMatchObject({ kind: 'altered', auditId: 3 });
  });

  it('that ends before a checkpoint kept elsewhere was truncated, or is older than that checkpoint', async () => {
    await writeLog();
    const earlier = await exported();
    await t.write('f');
    const [kept] = await t.sealer.seal();
    const { findings } = await verifyLines(earlier, [kept?.note ?? '']);
    expect(findings).toMatchObject([{ kind: 'truncated', message: expect.stringContaining('export again') }]);
  });
});

describe('an excerpt', () => {
  it('proves each row, and says that it proves nothing more', async () => {
    await writeLog();
    const lines = await exported({ action: 'test.c' });
    const verifier = await verifyLines(lines);
    expect(verifier.findings).toEqual([]);
    expect(verifier.rows).toBe(1);
    expect(verifier.remarks.join()).toContain('that none was left out is not');
  });

  it('shows a row that no checkpoint proves, because it comes before one or there is none', async () => {
    await writeLog();
    const [head = '', checkpoint = '', row = '', ...rest] = await exported({ action: 'test.c' });
    const forged = row.replace('"ada"', '"eve"');
    expect(forged).not.toBe(row);
    for (const lines of [
      [head, forged, checkpoint, row, ...rest],
      [head, forged, ...rest],
    ])
      expect((await verifyLines(lines)).findings).toMatchObject([{ kind: 'malformed', auditId: 3 }]);
    const wrong = checkpoint.replace('"note":"', '"note":"x');
    const { findings } = await verifyLines([head, wrong, row, ...rest]);
    expect(findings).toMatchObject([{ kind: 'checkpoint' }]);
  });

  it('shows a row that was altered, moved, or is not from the log', async () => {
    await writeLog();
    const lines = await exported({ action: 'test.' });
    for (const [what, instead] of [
      ['"ada"', '"eve"'],
      ['"position":2', '"position":1'],
      ['"proof":["', '"proof":["A'],
    ] as const) {
      const changed = lines.map((line) => (isOf('c')(line) ? line.replace(what, instead) : line));
      expect((await verifyLines(changed)).findings).toMatchObject([{ kind: 'altered', auditId: 3 }]);
    }
  });
});

describe('audit verify', () => {
  const run = (...argv: string[]) => runOn(argv.includes('--export') ? undefined : t.url, ...argv);
  async function runOn(databaseUrl: string | undefined, ...argv: string[]) {
    let output = '';
    const code = await runAuditCommand(argv, {
      databaseUrl,
      write: (text) => {
        output += text;
      },
    });
    return { code, output };
  }
  const keyOf = () => Buffer.from(t.installation.serverKey.publicKey).toString('base64');

  it('ends with 0 if everything holds, and says what that does not show', async () => {
    await writeLog();
    const { code, output } = await run('verify');
    expect(output).toContain('All that is sealed holds.');
    expect(output).toContain('5 rows read');
    expect(output).toContain('No checkpoint from elsewhere was given');
    expect(output).toContain('The key is the one that the database names');
    expect(code).toBe(exitCodes.holds);
  });

  it('takes a kept checkpoint and the key, and says up to when the log is proven', async () => {
    await t.write('a');
    const [kept] = await t.sealer.seal();
    const file = join(folder, 'agent.json');
    await writeFile(file, JSON.stringify({ note: kept?.note }));
    const { code, output } = await run('verify', '--checkpoint', file, '--public-key', keyOf());
    expect(output).toContain(`Up to ${kept?.sealedAt} (1 rows)`);
    expect(output).not.toContain('Compare its fingerprint');
    expect(code).toBe(exitCodes.holds);
  });

  it('ends with 1 and names the row if one is wrong', async () => {
    await writeLog();
    await t.attack('delete from audit_log where id = 2');
    const { code, output } = await run('verify');
    expect(output).toContain('WRONG  Row 2, at position 1, was removed.');
    expect(code).toBe(exitCodes.findings);
    const { output: json } = await run('verify', '--json');
    expect(JSON.parse(json)).toMatchObject({ source: 'database', findings: [{ auditId: 2 }] });
  });

  it('ends with 1 for a log that another key signed', async () => {
    await writeLog();
    const other = Buffer.alloc(32, 7).toString('base64');
    expect((await run('verify', '--public-key', other)).code).toBe(exitCodes.findings);
  });

  it('says of a database that is not there what to check, and of a wrong DATABASE_URL what is wrong', async () => {
    const gone = new URL(t.url);
    gone.port = '1';
    const { code, output } = await runOn(gone.href, 'verify');
    expect(output).toMatch(
      /^The audit log could not be verified: Nothing listens at .*:1\. Check DATABASE_URL/,
    );
    expect(code).toBe(exitCodes.notVerified);
    const wrong = await runOn('mysql://u:hush@db/x', 'verify');
    expect(wrong.output).toMatch(/^DATABASE_URL: .*postgres:\/\//);
    expect(wrong.output).not.toContain('hush');
    expect(wrong.code).toBe(exitCodes.wrongUse);
  });

  it('reads an export', async () => {
    await writeLog();
    const file = join(folder, 'whole.jsonl');
    await writeFile(file, `${(await exported()).join('\n')}\n`);
    expect((await readFile(file, 'utf8')).length).toBeGreaterThan(100);
    expect((await run('verify', '--export', file)).code).toBe(exitCodes.holds);
  });

  it('ends with 2 for wrong use and 3 for something that can not be read', async () => {
    expect((await run('verify', '--no-such-flag')).code).toBe(exitCodes.wrongUse);
    expect((await run('verify', '--public-key', 'x')).code).toBe(exitCodes.wrongUse);
    expect((await run('verify', '--export', join(folder, 'none'))).code).toBe(exitCodes.notVerified);
    expect((await run('verify', '--checkpoint', join(folder, 'none'))).code).toBe(exitCodes.notVerified);
  });
});
