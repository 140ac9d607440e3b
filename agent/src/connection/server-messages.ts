// Validates what the server may say: one validator per message type, from the schemas that both sides share. Each is
// compiled when its first message arrives: compiling all of them was half of an agent's start.
import { type ServerMessage, serverToAgent, validatorOptions } from '@opsconductor/protocol';
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import type { TSchema } from 'typebox';

// discriminated by `type`, so that a fault is reported against the one schema that was meant
const { code } = validatorOptions;
const ajv = new Ajv2020({ strict: true, allErrors: false, messages: true, validateSchema: false, code });
const schemas = new Map<unknown, TSchema>(Object.entries(serverToAgent));
const validators = new Map<unknown, ValidateFunction>();

export type Parsed = { ok: true; message: ServerMessage } | { ok: false; fault: string };

/** Reads a text frame. The fault says what was wrong, never the value found: it may be sealed or secret. */
export function parseServerMessage(text: string): Parsed {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, fault: 'not JSON' };
  }
  const type = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined;
  const validate = validatorOf(type);
  if (validate === undefined) return { ok: false, fault: 'unknown message type' };
  if (validate(value)) return { ok: true, message: value as ServerMessage };
  return { ok: false, fault: `${String(type)}${describe(validate.errors?.[0])}` };
}

function validatorOf(type: unknown): ValidateFunction | undefined {
  const schema = schemas.get(type);
  if (schema === undefined) return undefined;
  const validate = validators.get(type) ?? ajv.compile(schema);
  validators.set(type, validate);
  return validate;
}

function describe(error: ErrorObject | undefined): string {
  return error === undefined
    ? ''
    : `${error.instancePath.replaceAll('/', '.')} ${error.message ?? 'is invalid'}`;
}
