// What masking costs: 600 patterns over ordinary logs, and over logs made of near matches of a pattern.
import { createHash } from 'node:crypto';
import { secretDetector } from '../agent/src/detectors/secret-detector.ts';
import { PatternSet } from '../agent/src/masking/pattern-set.ts';
import { Redactor } from '../agent/src/masking/redactor.ts';
import { textPatterns } from '../agent/src/masking/secret-patterns.ts';
import { canaries } from '../agent/src/masking/testing/canaries.ts';
import { writeReport } from './report.ts';
import { median } from './statistics.ts';

const patternCount = 600;
const logBytes = 16_000_000;
/** The way a step's output arrives from its connection. */
const pieceBytes = 64 * 1024;
const rounds = 9;

export async function benchMasking(): Promise<void> {
  const patterns = Array.from({ length: patternCount }, (_, n) => Buffer.from(word(n, 8 + (n % 57))));
  const six = new PatternSet(patterns);
  const secrets = canaries()
    .slice(0, 50)
    .map(({ secret }) => secret);
  const fifty = new PatternSet(secrets.flatMap(textPatterns));
  const none = new PatternSet([]);
  const [ordinary, near] = [ordinaryLog(), nearMatches(patterns)];
  const pairs = Array.from({ length: rounds }, () => ({
    ordinary: megabytesPerCpuSecond(ordinary, (data) => redact(six, data)),
    near: megabytesPerCpuSecond(near, (data) => redact(six, data)),
    detected: megabytesPerCpuSecond(ordinary, (data) => redact(six, data, true)),
    detectedAlone: megabytesPerCpuSecond(ordinary, (data) => redact(none, data, true)),
    fifty: megabytesPerCpuSecond(ordinary, (data) => redact(fifty, data)),
    sha256: megabytesPerCpuSecond(ordinary, (data) => void createHash('sha256').update(data).digest()),
  }));
  const of = (what: keyof (typeof pairs)[number]) => median(pairs.map((pair) => pair[what]));
  const against = (what: keyof (typeof pairs)[number]) =>
    `${of(what).toFixed(0)} MB per second of processor time, ${median(pairs.map((pair) => pair[what] / pair.sha256)).toFixed(2)} times SHA-256`;
  await writeReport({
    name: 'masking',
    title: 'Masking of output',
    rows: [
      [
        `${patternCount} patterns of 8 to 64 characters, ordinary log`,
        against('ordinary'),
        'at least 300 MB',
      ],
      ['the same, a log of patterns that lack their last character', against('near'), 'at least 100 MB'],
      [
        `50 secrets of five shapes in all spellings (${fifty.patterns.length} patterns), ordinary log`,
        against('fifty'),
        '',
      ],
      [
        'the 600 patterns and the forms of well-known secrets, ordinary log, in which nothing is found',
        against('detected'),
        'at least 150 MB',
      ],
      ['the forms of well-known secrets alone, ordinary log', against('detectedAlone'), ''],
    ],
    notes: [
      `Median of ${rounds} rounds over ${logBytes / 1e6} MB in pieces of ${pieceBytes / 1024} KiB, one after the other in one process. The processor time is that of the whole process: user, system, and the threads of the compiler and the garbage collector. SHA-256 of the same bytes (OpenSSL) takes turns with them and shows how fast the machine was.`,
    ],
  });
}

function redact(patterns: PatternSet, data: Buffer, detects = false): void {
  const detecting = { detector: secretDetector, onDetected: unexpected };
  const redactor = new Redactor(patterns, detects ? { detecting } : {});
  for (let at = 0; at < data.length; at += pieceBytes) redactor.push(data.subarray(at, at + pieceBytes));
  redactor.end();
}

function unexpected(kind: string): void {
  throw new Error(`an ordinary log was taken to have a secret: ${kind}`);
}

function megabytesPerCpuSecond(data: Buffer, work: (data: Buffer) => void): number {
  const before = process.cpuUsage();
  work(data);
  const { user, system } = process.cpuUsage(before);
  return data.length / (user + system);
}

function word(seed: number, length: number): string {
  return createHash('sha512').update(String(seed)).digest('base64').slice(0, length);
}

function ordinaryLog(): Buffer {
  const lines: string[] = [];
  for (let n = 0, bytes = 0; bytes < logBytes; n++) {
    const line = `2026-11-27T10:${String(n % 60).padStart(2, '0')}:00Z INFO web-${n % 17} request ${word(n % 5_000, 12)} of /api/v1/things/${(n * 7919) % 100_000} took ${n % 313} ms\n`;
    bytes += line.length;
    lines.push(line);
  }
  return Buffer.from(lines.join('')).subarray(0, logBytes);
}

function nearMatches(patterns: readonly Buffer[]): Buffer {
  const all = Buffer.concat(patterns.flatMap((pattern) => [pattern.subarray(0, -1), Buffer.from(' ')]));
  return Buffer.concat(Array.from({ length: Math.ceil(logBytes / all.length) }, () => all)).subarray(
    0,
    logBytes,
  );
}
