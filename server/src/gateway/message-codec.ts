// Text frames of agents, parsed and validated by the schema of their type.
import { type AgentMessage, agentToServer } from '@opsconductor/protocol';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';

const ajv = new Ajv2020({ strict: true, allErrors: false });
const validators = new Map<string, ValidateFunction>(
  Object.entries(agentToServer).map(([type, schema]) => [type, ajv.compile(schema)]),
);

export type Parsed = { ok: true; message: AgentMessage } | { ok: false; problem: string };

/** Parses one frame. The problem text is safe to send back as a close reason. */
export function parseAgentMessage(text: string): Parsed {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, problem: 'not JSON' };
  }
  const type = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined;
  const validate = typeof type === 'string' ? validators.get(type) : undefined;
  if (validate === undefined) return { ok: false, problem: 'unknown message type' };
  if (!validate(value)) {
    const [error] = validate.errors ?? [];
    return {
      ok: false,
      problem: `${String(type)}${error?.instancePath ?? ''}: ${error?.message ?? 'invalid'}`,
    };
  }
  return { ok: true, message: value as AgentMessage };
}
