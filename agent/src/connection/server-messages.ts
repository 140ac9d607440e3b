// What the server may say: one compiled validator per type, from the schemas that both sides share.
import { type ServerMessage, serverToAgent } from '@opsconductor/protocol';
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';

// discriminated by `type`, so a fault is reported against the one schema that was meant
const ajv = new Ajv2020({ strict: true, allErrors: false, messages: true });
const validators = new Map<string, ValidateFunction>(
  Object.entries(serverToAgent).map(([type, schema]) => [type, ajv.compile(schema)]),
);

export type Parsed = { ok: true; message: ServerMessage } | { ok: false; fault: string };

/** Reads a text frame. The fault names what was wrong, never the value found: it may be sealed or secret. */
export function parseServerMessage(text: string): Parsed {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, fault: 'not JSON' };
  }
  const type = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined;
  const validate = typeof type === 'string' ? validators.get(type) : undefined;
  if (validate === undefined) return { ok: false, fault: 'unknown message type' };
  if (validate(value)) return { ok: true, message: value as ServerMessage };
  return { ok: false, fault: `${String(type)}${describe(validate.errors?.[0])}` };
}

function describe(error: ErrorObject | undefined): string {
  return error === undefined
    ? ''
    : `${error.instancePath.replaceAll('/', '.')} ${error.message ?? 'is invalid'}`;
}
