// Checks the values that a run is given against what the job version asks for. All problems are reported together.
import {
  type CompiledParameters,
  compileParameters,
  type ErrorDetail,
  type JobDefinition,
  limits,
} from '@opsconductor/protocol';
import { AppError } from '../../errors.ts';

export interface GivenValues {
  parameters?: Record<string, unknown> | undefined;
  /** Names of the secrets that were sealed by the client. */
  sealedNames?: readonly string[] | undefined;
}

export interface RunValues {
  /** With defaults, without secrets. */
  values: Record<string, unknown>;
  /** Secrets that were sent unsealed. */
  secrets: ReadonlyMap<string, string>;
}

type Declared = Pick<JobDefinition, 'parameters' | 'rules'>;

const maxDetails = 50;
const compiled = new WeakMap<object, CompiledParameters>();

/**
 * Separates the values into plain values and secrets.
 *
 * @throws {AppError} `invalid`, with a detail for each parameter that is wrong. No detail contains a secret's value.
 */
export function checkValues(
  definition: Declared,
  { parameters: given = {}, sealedNames = [] }: GivenValues,
): RunValues {
  const { values: all, problems } = compiledOf(definition).check(given, { sealed: sealedNames });
  const details = [...problems, ...sealedProblems(definition, given, sealedNames)];
  const values: Record<string, unknown> = {};
  const secrets = new Map<string, string>();
  for (const [name, value] of Object.entries(all)) {
    if (definition.parameters?.[name]?.secret !== true) values[name] = value;
    else if (typeof value !== 'string') continue;
    else if (Buffer.byteLength(value) <= limits.maxSecretBytes) secrets.set(name, value);
    else {
      const message = `A secret has ${limits.maxSecretBytes} bytes at most.`;
      details.push({ path: `parameters.${name}`, message });
    }
  }
  refuse(details);
  return { values, secrets };
}

function compiledOf(definition: Declared): CompiledParameters {
  const known = compiled.get(definition);
  if (known !== undefined) return known;
  const made = compileParameters(definition.parameters, definition.rules);
  compiled.set(definition, made);
  return made;
}

/** Reports values that were sealed although they aren't secret, or that were sent unsealed as well. */
function sealedProblems(
  { parameters = {} }: Declared,
  given: Record<string, unknown>,
  sealedNames: readonly string[],
): ErrorDetail[] {
  return sealedNames.flatMap((name): ErrorDetail[] => {
    if (!Object.hasOwn(parameters, name)) return [];
    const path = `secretParameters.values.${name}`;
    if (parameters[name]?.secret !== true)
      return [{ path, message: `Parameter “${name}” is not a secret: give it in parameters.` }];
    if (!Object.hasOwn(given, name)) return [];
    return [{ path, message: `Parameter “${name}” is given in parameters as well: give it once.` }];
  });
}

function refuse(details: readonly ErrorDetail[]): void {
  const [first] = details;
  if (first === undefined) return;
  const told = `${first.path}: ${first.message}`;
  const message =
    details.length === 1 ? told : `${details.length} parameters are not valid. The first: ${told}`;
  throw new AppError('invalid', message, { details: details.slice(0, maxDetails) });
}
