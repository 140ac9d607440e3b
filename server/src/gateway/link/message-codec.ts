// Text frames of agents, parsed and validated by the schema of their type, which is compiled when the first one comes.
import { type AgentMessage, agentToServer, validatorOptions } from '@opsconductor/protocol';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { TSchema } from 'typebox';
import { isModest } from './message-shape.ts';

const { code } = validatorOptions;
const ajv = new Ajv2020({ strict: true, allErrors: false, validateSchema: false, code });
const schemas = new Map<unknown, TSchema>(Object.entries(agentToServer));
const validators = new Map<unknown, ValidateFunction>();

export type Parsed = { ok: true; message: AgentMessage } | { ok: false; problem: string };

/** The same, from its bytes: what would take long to parse is none of what agents send. */
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
    // What it complains of is the message as it came.
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
 * A completion whose outcome alone can't be read still ends its attempt, as unknown: refused, it would come back from
 * the agent's journal at every connect and keep the agent from everything else.
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
