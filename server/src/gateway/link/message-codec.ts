// Parses text frames of agents and validates them by the schema of their type, which is compiled when the first one
// arrives.
import { type AgentMessage, agentToServer, validatorOptions } from '@opsconductor/protocol';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { TSchema } from 'typebox';
import { isModest } from './message-shape.ts';

const { code } = validatorOptions;
const ajv = new Ajv2020({ strict: true, allErrors: false, validateSchema: false, code });
const schemas = new Map<unknown, TSchema>(Object.entries(agentToServer));
const validators = new Map<unknown, ValidateFunction>();

export type Parsed = { ok: true; message: AgentMessage } | { ok: false; problem: string };

/** Parses one frame from its bytes. Frames that would take long to parse are rejected first; agents never send such. */
export function parseAgentFrame(frame: Buffer): Parsed {
  if (!isModest(frame)) return { ok: false, problem: 'more values than a message has' };
  return parseAgentMessage(frame.toString('utf8'));
}

/** Parses one frame. The problem text is safe to send back as a close reason. */
export function parseAgentMessage(text: string): Parsed {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, problem: 'not JSON' };
  }
  const type = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined;
  const validate = validatorOf(type);
  if (validate === undefined) return { ok: false, problem: 'unknown message type' };
  if (!validate(value)) {
    const settled = withReadableOutcome(value, validate);
    if (settled !== undefined) return { ok: true, message: settled };
    // Validated again, so that the problem is about the message as it arrived.
    validate(value);
    const [error] = validate.errors ?? [];
    return {
      ok: false,
      problem: `${String(type)}${error?.instancePath ?? ''}: ${error?.message ?? 'invalid'}`,
    };
  }
  return { ok: true, message: value as AgentMessage };
}

function validatorOf(type: unknown): ValidateFunction | undefined {
  const schema = schemas.get(type);
  if (schema === undefined) return undefined;
  const validate = validators.get(type) ?? ajv.compile(schema);
  validators.set(type, validate);
  return validate;
}

/**
 * Lets a completion whose outcome can't be read still end its attempt, as unknown. If it were refused, it would come
 * back from the agent's journal at every connect and keep the agent from doing anything else.
 */
function withReadableOutcome(value: unknown, validate: ValidateFunction): AgentMessage | undefined {
  if (typeof value !== 'object' || value === null || !('type' in value) || value.type !== 'complete')
    return undefined;
  const outcome = {
    status: 'unknown',
    reason: 'internal',
    message: 'The agent reported an outcome that this server can’t read.',
    advice: 'Look on the target; update the agent or the server if their versions differ.',
  };
  const readable = { ...value, outcome };
  return validate(readable) ? (readable as unknown as AgentMessage) : undefined;
}
