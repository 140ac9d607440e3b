// Reads the file that a signer's program wrote: a run's request with its grant, to be started here.
import type { StartRunRequest } from '@opsconductor/protocol';

/** Not covered by the signature: sent as it is set now. */
const unsigned = ['start_within', 'priority', 'strategy', 'timeout', 'reason'] as const;

export type SignedStart = { request: StartRunRequest } | { problem: string };

export function readSignedStart(text: string, chosen: StartRunRequest): SignedStart {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { problem: 'This file is not JSON. Choose the one that --out named.' };
  }
  const { grant, definition } = Object(value) as { grant?: unknown; definition?: unknown };
  if (definition !== undefined) {
    return { problem: 'This is the file to be signed. Choose the signed one, which --out named.' };
  }
  if (typeof grant !== 'object' || grant === null) {
    return { problem: 'There is no grant in this file. Choose the one that --out named.' };
  }
  const beside = Object.fromEntries(
    unsigned.flatMap((name) => (chosen[name] === undefined ? [] : [[name, chosen[name]]])),
  );
  return { request: { ...(value as StartRunRequest), ...beside } };
}
