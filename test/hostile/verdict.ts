// What must be true of hostile clients: each is answered or closed in time and never with a 500, the server stays
// small, and a good client waits at most twice as long as before.
import type { Result } from './attack.ts';
import type { Served } from './good-client.ts';

const maxPeakMb = 400;
const maxSlower = 2;

export interface AttackOutcome {
  result: Result;
  /** Results of the good client before and during the attack. */
  before: Served;
  during: Served;
  peakMb: number;
  /** CPU time of the server and its database: on a busy machine it says more than waiting times. */
  cpuS: number;
}

export function tellRow({ result, before, during, peakMb, cpuS }: AttackOutcome): string {
  const statuses = result.statuses.map(([status, count]) => `${count} × ${status || 'none'}`).join(', ');
  const times = `p50 ${ms(before.p50Ms)} → ${ms(during.p50Ms)}, p99 ${ms(before.p99Ms)} → ${ms(during.p99Ms)} of ${during.requests}, of it the server at work p50 ${ms(before.workP50Ms)} → ${ms(during.workP50Ms)}, p99 ${ms(before.workP99Ms)} → ${ms(during.workP99Ms)}, itself held up for ${ms(before.heldUpMs)} → ${ms(during.heldUpMs)}`;
  return `${result.name}: ${result.opened} connections; answers ${statuses}; the longest ${(result.longestMs / 1_000).toFixed(1)} s; one that behaves ${times}; ${peakMb} MB, ${cpuS.toFixed(1)} s of processor time`;
}

export function problemsOf(outcome: AttackOutcome, boundMs: number | undefined): string[] {
  const { result, before, during, peakMb } = outcome;
  const fives = result.statuses.filter(([status]) => status >= 500 && status < 600 && status !== 503);
  return [
    ...fives.map(([status, count]) => `${count} answers of ${status}`),
    ...(result.left > 0
      ? [`${result.left} were neither answered nor closed in ${(boundMs ?? 0) / 1_000} s`]
      : []),
    ...(peakMb > maxPeakMb ? [`the server came to ${peakMb} MB; ${maxPeakMb} are allowed`] : []),
    ...(during.p99Ms > maxSlower * before.p99Ms
      ? [`one that behaves waited ${(during.p99Ms / before.p99Ms).toFixed(1)} times as long (p99)`]
      : []),
    ...during.refused.map((what) => `one that behaves was answered ${what}`),
  ];
}

function ms(value: number): string {
  return `${value.toFixed(1)} ms`;
}
