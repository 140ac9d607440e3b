// What a step does on its target: appends one line to a file of its own, then prints what it was told to.
import type { PlannedStep } from './plan-round.ts';

export interface StepPlace {
  linesDir: string;
  blobPath: string;
  /** A pipe: whoever reads it waits until somebody writes. */
  gatePath: string;
  /** Key of the step in its round; the file's name ends with the target's port. */
  key: string;
  /** Ports of the targets, in the order of a run's hosts. */
  targetPorts: readonly number[];
}

const hangsS = 120;

/** First appends the attempt's own marker in a single write, so that a second start would be noticed. */
export function stepCommand(
  step: PlannedStep,
  { linesDir, blobPath, gatePath, key, targetPorts }: StepPlace,
): string {
  const lines = [`echo "$OPSCONDUCTOR_ATTEMPT" >> ${linesDir}/${key}-\${SSH_CONNECTION##* }`];
  const { output } = step;
  if (output.kind === 'large')
    lines.push(`tail -c +${output.from + 1} ${blobPath} | head -c ${output.bytes}`);
  else {
    for (let n = 1; n <= output.lines; n += 1) {
      lines.push(`echo ${lineOf(key, n)}`);
      if (output.kind === 'both') lines.push(`echo ${lineOf(key, -n)} >&2`);
      if (output.kind === 'drip') lines.push('sleep 0.2');
    }
  }
  if (step.isGated) lines.push(`: < ${gatePath}`);
  for (const host of step.hangsOn)
    lines.push(`[ "\${SSH_CONNECTION##* }" != ${targetPorts[host]} ] || sleep ${hangsS}`);
  if (step.sleepS > 0) lines.push(`sleep ${step.sleepS}`);
  lines.push(`exit ${step.exitCode}`);
  return lines.join('\n');
}

/** Everything that the step prints on a stream if it finishes. */
export function expectedOutput(
  step: PlannedStep,
  { key, blob }: { key: string; blob: Buffer },
): { stdout: Buffer; stderr: Buffer } {
  const { output } = step;
  if (output.kind === 'large') {
    return { stdout: blob.subarray(output.from, output.from + output.bytes), stderr: Buffer.alloc(0) };
  }
  const numbers = Array.from({ length: output.lines }, (_, at) => at + 1);
  const text = (sign: number) => Buffer.from(numbers.map((n) => `${lineOf(key, sign * n)}\n`).join(''));
  return { stdout: text(1), stderr: output.kind === 'both' ? text(-1) : Buffer.alloc(0) };
}

function lineOf(key: string, n: number): string {
  return `step-${key}-says-${n}-${'.'.repeat(60)}`;
}
