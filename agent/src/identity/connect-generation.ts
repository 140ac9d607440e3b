// The newest connect generation that this agent holds. A copy of the data directory falls behind, which reveals it.
import { type Static, Type } from 'typebox';
import { Check } from 'typebox/value';
import { AgentError } from '../agent-error.ts';
import { readIfExists, writeDurably } from './durable-file.ts';
import { parseJson } from './identity.ts';

const GenerationSchema = Type.Object({
  generation: Type.Integer({ minimum: 0 }),
  signature: Type.String(),
});
export type HeldGeneration = Static<typeof GenerationSchema>;

/** @throws {AgentError} if it is missing or damaged: without it the server takes this agent for a copy. */
export async function readGeneration(path: string): Promise<HeldGeneration> {
  const content = await readIfExists(path).catch((error: unknown) => {
    throw diskRefuses(`${path} can't be read`, error);
  });
  const value = content && parseJson(content.toString('utf8'));
  if (Check(GenerationSchema, value)) return value;
  throw new AgentError(
    `${path} is missing or damaged, so this agent can't prove that it is not a copy.`,
    'Enroll this machine again with --force; the old agent stays offline.',
  );
}

/**
 * Saves the generation; it is on disk when this resolves.
 *
 * @throws {AgentError} if the disk refuses it.
 */
export async function saveGeneration(path: string, held: HeldGeneration): Promise<void> {
  await writeDurably(path, `${JSON.stringify(held)}\n`).catch((error: unknown) => {
    throw diskRefuses(`${path} can't be written, and the agent may not connect without it`, error);
  });
}

function diskRefuses(what: string, error: unknown): AgentError {
  const detail = error instanceof Error ? error.message : String(error);
  return new AgentError(
    `${what}: ${detail}.`,
    "Make the agent's data directory writable, or make room on its disk; the agent then tries again automatically.",
    { cause: error },
  );
}
