// How far a reader of a run's stream has come, as the ids of its events say it: they are sent back in `Last-Event-ID`.
import { limits } from '@opsconductor/protocol';

export interface StreamPosition {
  /** Number of the last event that was sent. Readers of only a part of the run have their own numbering. */
  afterSeq: number;
  /** Tag of the part that `afterSeq` refers to. */
  part?: string;
  /** The last chunk that was sent and is on disk, by step id. */
  output: Map<number, { epoch: number; seq: number }>;
}

/** Parses `Last-Event-ID`: `[<part>.]<seq>[~step.epoch.seq…]`. Returns `undefined` if the text has another form. */
export function parsePosition(text: string): StreamPosition | undefined {
  const [head = '', ...marks] = text.split('~');
  const match = /^(?:([0-9a-f]{8})\.)?(\d{1,15})$/.exec(head);
  if (match === null || marks.length > limits.maxStepsForWholeOutputStream) return undefined;
  const output = new Map<number, { epoch: number; seq: number }>();
  for (const mark of marks) {
    if (!/^\d{1,15}\.\d{1,10}\.\d{1,10}$/.test(mark)) return undefined;
    const [step, epoch, chunk] = mark.split('.').map(Number);
    output.set(step ?? 0, { epoch: epoch ?? 0, seq: chunk ?? 0 });
  }
  return { afterSeq: Number(match[2]), ...(match[1] === undefined ? {} : { part: match[1] }), output };
}

export function formatPosition(position: StreamPosition): string {
  const marks = [...position.output].map(([step, at]) => `~${step}.${at.epoch}.${at.seq}`);
  return `${position.part === undefined ? '' : `${position.part}.`}${position.afterSeq}${marks.join('')}`;
}
