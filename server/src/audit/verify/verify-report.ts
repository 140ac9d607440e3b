// The result of `audit verify` in words: exactly what it proves, and what it does not.
import type { Finding } from './log-verifier.ts';

interface Sealed {
  number: number;
  size: number;
  sealedAt: string;
}

export interface Verification {
  source: 'database' | 'log' | 'excerpt';
  installationId: string;
  keyFingerprint: string;
  /** False if the key was read from what it verifies. */
  keyIsGiven: boolean;
  rows: number;
  removedByRetention: number;
  /** The newest that was found. */
  checkpoint: Sealed | null;
  keptElsewhere: Sealed[];
  findings: Finding[];
  remarks: string[];
}

const maxLines = 100;

export function describeVerification(result: Verification): string {
  const lines = [
    `Audit log of installation ${result.installationId}`,
    `Signing key ${result.keyFingerprint}`,
    `${result.rows} rows read${result.removedByRetention === 0 ? '' : `, ${result.removedByRetention} more removed by retention`}`,
    result.checkpoint === null
      ? 'No checkpoint was found.'
      : `Newest checkpoint: number ${result.checkpoint.number}, ${result.checkpoint.size} rows, ${result.checkpoint.sealedAt}`,
    '',
    ...listed(
      result.findings.map(({ message }) => `WRONG  ${message}`),
      'findings',
    ),
    ...listed(
      result.remarks.map((remark) => `note   ${remark}`),
      'notes',
    ),
    howMany(result.findings.length),
    '',
    'What this shows:',
    ...shown(result).map((line) => `- ${line}`),
    'What it does not:',
    ...notShown(result).map((line) => `- ${line}`),
  ];
  return `${lines.join('\n')}\n`;
}

function shown(result: Verification): string[] {
  const newest = newestKept(result);
  if (result.source === 'excerpt')
    return ['Each row that carries a proof is in the log as it was sealed, word for word.'];
  return [
    'None of the sealed rows was altered, removed, swapped or inserted, except as listed above.',
    ...(newest === undefined
      ? []
      : [
          `Up to ${newest.sealedAt} (${newest.size} rows) it is the log that existed then: not truncated, rolled back or rewritten, except as listed above.`,
        ]),
  ];
}

function notShown(result: Verification): string[] {
  const newest = newestKept(result);
  return [
    ...(result.keyIsGiven
      ? []
      : [
          `The key is the one that the ${result.source === 'database' ? 'database' : 'file'} names. Compare its fingerprint with \`node agent.mjs status\`, or give --public-key.`,
        ]),
    newest === undefined
      ? 'No checkpoint from elsewhere was given: a truncated log, or a whole database of an earlier day, would look the same.'
      : `What was sealed after ${newest.sealedAt} and cut off again.`,
    'Rows of about the last second, which no checkpoint covers yet.',
    'That what a row says was true, or that everything was recorded: anyone who controls a server can write what they like from then on.',
    'Anything against somebody who has the signing key (database and master key file together), except for what checkpoints kept elsewhere cover.',
  ];
}

function newestKept({ keptElsewhere }: Verification): Sealed | undefined {
  return keptElsewhere.reduce<Sealed | undefined>(
    (newest, one) => (newest === undefined || one.size > newest.size ? one : newest),
    undefined,
  );
}

function listed(lines: readonly string[], what: string): string[] {
  const more = lines.length - maxLines;
  if (more > 0) return [...lines.slice(0, maxLines), `… and ${more} more ${what}; --json lists all`, ''];
  return lines.length === 0 ? [] : [...lines, ''];
}

function howMany(findings: number): string {
  if (findings === 0) return 'All that is sealed holds.';
  return findings === 1 ? '1 finding.' : `${findings} findings.`;
}
