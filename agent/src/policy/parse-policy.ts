// Parses the text of a policy file and finds everything that is wrong with it at once, each with line and place.
import { errorDetails, validatorOptions } from '@opsconductor/protocol';
import { boundAuthentications, boundProtocols, boundsProblems } from '@opsconductor/protocol/sealing';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { type Document, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { hoursProblems, timezoneProblems } from './hours.ts';
import { type PolicyDocument, PolicySchema, type SourceRule } from './policy-schema.ts';
import { sourceProblems } from './source-rules.ts';

export interface PolicyProblem {
  /** For example `targets.ports[0]`; empty for the file as a whole. */
  path: string;
  line: number | undefined;
  message: string;
}

export interface ParsedPolicy {
  document: PolicyDocument;
  /** Returns the line of a path such as `targets.ports`. */
  lineOf(path: string): number | undefined;
}

let validate: ValidateFunction<PolicyDocument> | undefined;

/** Reads YAML or JSON. */
export function parsePolicy(text: string): ParsedPolicy | { problems: PolicyProblem[] } {
  const counter = new LineCounter();
  const tree = parseDocument(text, { lineCounter: counter, prettyErrors: false });
  const [broken] = tree.errors;
  if (broken !== undefined) {
    const { line } = counter.linePos(broken.pos[0]);
    return { problems: [{ path: '', line, message: `is neither YAML nor JSON: ${broken.message}` }] };
  }
  const lineOf = (path: string) => lineIn(tree, counter, path);
  let document: unknown;
  try {
    document = tree.toJS();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { problems: [{ path: '', line: undefined, message: `can not be read: ${why}` }] };
  }
  // Possibly what a full disk, or a crash, has left of a policy: it must not lift every rule.
  if (document === null) {
    const message = 'says nothing, which would allow everything; if that is meant, write {}';
    return { problems: [{ path: '', line: undefined, message }] };
  }
  // Compiled only if there is a policy: otherwise every start of an agent would pay for it.
  validate ??= new Ajv2020({ ...validatorOptions, allErrors: true }).compile<PolicyDocument>(PolicySchema);
  const found = validate(document)
    ? ruleProblems(document)
    : allProblems(document, errorDetails(validate.errors));
  if (found.length > 0) return { problems: found.map((each) => ({ ...each, line: lineOf(each.path) })) };
  return { document: document as PolicyDocument, lineOf };
}

/** Returns what the schema says, and what the rules say about the parts that the schema accepts. */
function allProblems(
  document: unknown,
  found: readonly { path: string; message: string }[],
): { path: string; message: string }[] {
  const places = found.map(({ path }) => path.match(/[^.[\]]+/g) ?? []);
  if (places.some(([rule]) => rule === undefined)) return [...found];
  const whole = document as Record<string, unknown>;
  const sound = Object.keys(whole).filter((name) => !places.some(([rule]) => rule === name));
  const rules = Object.fromEntries(sound.map((name) => [name, whole[name]]));
  const { sources } = whole;
  const isListed = places.every(([rule, at]) => rule !== 'sources' || at !== undefined);
  if (Array.isArray(sources) && isListed) {
    const wrong = new Set(places.flatMap(([rule, at]) => (rule === 'sources' ? [Number(at)] : [])));
    // The others keep their positions.
    rules['sources'] = sources.map((source, at) => (wrong.has(at) ? undefined : source));
  }
  const { timezone } = Object(whole['hours']) as { timezone?: unknown };
  const isZoneSound = places.every(
    ([rule, at]) => rule !== 'hours' || (at !== undefined && at !== 'timezone'),
  );
  // With sound hours, it is among their problems.
  const zone =
    sound.includes('hours') || !isZoneSound || typeof timezone !== 'string' ? [] : timezoneProblems(timezone);
  return [...found, ...ruleProblems(rules), ...zone.map((each) => ({ ...each, path: `hours.${each.path}` }))];
}

function ruleProblems({
  targets,
  hours,
  ticket_caches = [],
  sources = [],
}: Omit<PolicyDocument, 'sources'> & { sources?: (SourceRule | undefined)[] }): {
  path: string;
  message: string;
}[] {
  const { hosts = [], networks = [], ports = [22] } = targets ?? {};
  const anyHost = hosts.length === 0 && networks.length === 0 ? ['*'] : hosts;
  const wrong = boundsProblems({
    hosts: anyHost,
    networks,
    ports,
    user: '*',
    protocols: [...boundProtocols],
    authentication: [...boundAuthentications],
  });
  const names = ticket_caches.map(({ name }) => name);
  const twice = names.flatMap((name, at) => (names.indexOf(name) < at ? [at] : []));
  return [
    ...twice.map((at) => ({ path: `ticket_caches[${at}].name`, message: 'appears twice' })),
    ...sourceProblems(sources),
    ...wrong.map(({ path, message }) => ({ path: `targets.${path}`, message })),
    ...(hours === undefined
      ? []
      : hoursProblems(hours).map((each) => ({ ...each, path: `hours.${each.path}` }))),
  ];
}

function lineIn(tree: Document, counter: LineCounter, path: string): number | undefined {
  let node: unknown = tree.contents;
  let offset: number | undefined;
  for (const key of path.match(/[^.[\]]+/g) ?? []) {
    if (isMap(node)) {
      const pair = node.items.find((each) => isScalar(each.key) && String(each.key.value) === key);
      if (pair === undefined) break;
      offset = isNode(pair.key) ? pair.key.range?.[0] : offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(key)];
      offset = isNode(node) ? node.range?.[0] : offset;
    } else break;
  }
  return offset === undefined ? undefined : counter.linePos(offset).line;
}
