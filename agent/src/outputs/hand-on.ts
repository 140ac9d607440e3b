// What a step that ended well hands on: each of its outputs is found in what the command printed or wrote, or else the
// step has failed. Data from a target is hostile: everything here has a limit, and messages contain none of it.
import { type HandedOn, limits, type StepOutcome, type StepOutput } from '@opsconductor/protocol';
import type { Masking } from '../masking/masking.ts';
import { textPatterns } from '../masking/secret-patterns.ts';
import type { StreamEnd } from '../spool/attempt-output.ts';
import type { OutputStream } from '../steps/step-type.ts';
import { valueAt } from './json-pointer.ts';
import { readOutputLines } from './output-lines.ts';
import { type Found, SearchTime, searchPattern } from './search-pattern.ts';

export type StepOutputs = Readonly<Record<string, StepOutput>>;

export interface HandOnOptions {
  outputs: StepOutputs;
  /** Returns the end of a stream, at most this many bytes of it. */
  endOf(stream: OutputStream, maxBytes: number): Promise<StreamEnd>;
  /** Returns the file of outputs, or why it can't be read. */
  file(): Promise<Buffer | { problem: string }>;
  /** The secrets known so far. */
  secrets: Masking;
  /** Seals a secret output to the segment; returns undefined if no step can ask for it. */
  seal(name: string, value: string): Promise<HandedOn | undefined>;
}

export type HandingOn =
  | { handsOn: Record<string, HandedOn> }
  /** Names of the missing outputs and why, in words. */
  | { missing: string[] };

/** Finds the values that a step hands on. What it lacks, and why, is part of the answer: it fails the step. */
export async function handOn(options: HandOnOptions): Promise<HandingOn> {
  const sources = new Sources(options);
  const values = new Map<string, string>();
  const missing: string[] = [];
  for (const [name, output] of Object.entries(options.outputs)) {
    const found = await sources.find(name, output);
    const value = 'value' in found ? found.value : output.default;
    if (value === undefined)
      missing.push(`${name}: ${'missing' in found ? found.missing : 'it has no value'}`);
    else {
      const problem = valueProblem(value);
      if (problem === undefined) values.set(name, value);
      else missing.push(`${name}: ${problem}`);
    }
  }
  return missing.length > 0 ? { missing } : sealed(values, options);
}

/** Returns the outcome of a step whose command ended well but whose outputs are not all there. */
export function outputsMissing(outcome: StepOutcome, missing: readonly string[]): StepOutcome {
  const { advice: _, ...facts } = outcome;
  const which =
    missing.length === 1
      ? 'An output of the step is missing'
      : `${missing.length} outputs of the step are missing`;
  return {
    ...facts,
    status: 'failed',
    reason: 'output_missing',
    message:
      `The command ended well, but the step can not hand on all of its outputs. ${which}: ${missing.join('; ')}.`.slice(
        0,
        2_000,
      ),
    advice: 'Look at the output of the step, and give an output a default if it may be missing.',
  };
}

/** Secrets found now are masked in the other values as well. */
async function sealed(
  values: ReadonlyMap<string, string>,
  { outputs, secrets, seal }: HandOnOptions,
): Promise<HandingOn> {
  const isSecret = (name: string) => outputs[name]?.secret === true;
  const found = [...values].filter(([name]) => isSecret(name));
  const masked = await secrets.with(found.flatMap(([, value]) => textPatterns(value)));
  const handsOn: Record<string, HandedOn> = {};
  for (const [name, value] of values) {
    if (!isSecret(name)) handsOn[name] = { value: masked.text(value) };
    else {
      const one = await seal(name, value);
      if (one !== undefined) handsOn[name] = one;
    }
  }
  if (JSON.stringify(handsOn).length <= limits.maxStepOutputBytes) return { handsOn };
  return { missing: [`together they are longer than ${limits.maxStepOutputBytes / 1024} KiB`] };
}

function valueProblem(value: string): string | undefined {
  if (value.length > limits.maxStepOutputCharacters) {
    return `its value is longer than ${limits.maxStepOutputCharacters} characters`;
  }
  if (value.includes('\0')) return 'its value contains a NUL character';
  return value.isWellFormed() ? undefined : 'its value contains half of a surrogate pair';
}

/** Reads each source once, whatever is looked for in it. */
class Sources {
  readonly #options: HandOnOptions;
  readonly #time = new SearchTime();
  readonly #texts = new Map<OutputStream, Promise<SearchedText>>();
  #json: Promise<{ json: string } | { missing: string }> | undefined;
  #lines: Promise<ReadonlyMap<string, string> | { missing: string }> | undefined;

  constructor(options: HandOnOptions) {
    this.#options = options;
  }

  find(name: string, output: StepOutput): Promise<Found> {
    if (output.pattern !== undefined) return this.#inStream(output.pattern, output.from ?? 'stdout');
    return output.json === undefined ? this.#inFile(name) : this.#inJson(output.json);
  }

  async #inStream(pattern: string, stream: OutputStream): Promise<Found> {
    let reading = this.#texts.get(stream);
    if (reading === undefined) {
      reading = this.#options.endOf(stream, limits.maxOutputSearchBytes).then(searchedText);
      this.#texts.set(stream, reading);
    }
    const { text, isUtf8, end } = await reading;
    const found = await searchPattern(pattern, text, this.#time, end.isWhole);
    if ('missing' in found) return end.isCut ? { missing: `${found.missing}; the output was cut` } : found;
    return !isUtf8 && found.value.includes('\ufffd') ? { missing: notUtf8 } : found;
  }

  async #inJson(pointer: string): Promise<Found> {
    this.#json ??= this.#options.endOf('stdout', limits.maxOutputDocumentBytes).then(readJson);
    const read = await this.#json;
    if ('missing' in read) return read;
    const value = valueAt(read.json, pointer);
    return value === undefined ? { missing: `nothing is at ${pointer} of the JSON` } : { value };
  }

  async #inFile(name: string): Promise<Found> {
    this.#lines ??= this.#options.file().then(readFile);
    const lines = await this.#lines;
    if (!(lines instanceof Map)) return lines as { missing: string };
    const value = lines.get(name);
    return value === undefined ? { missing: 'no line of the file OPSCONDUCTOR_OUTPUT sets it' } : { value };
  }
}

const notUtf8 = 'its value has bytes that are not UTF-8';

interface SearchedText {
  /** With line ends as \n. */
  text: string;
  isUtf8: boolean;
  end: StreamEnd;
}

function searchedText(end: StreamEnd): SearchedText {
  // A character whose beginning was cut off is not part of the text.
  const bytes = end.isWhole ? end.bytes : fromCharacter(end.bytes);
  const exact = decode(bytes);
  return {
    text: (exact ?? bytes.toString('utf8')).replaceAll('\r\n', '\n'),
    isUtf8: exact !== undefined,
    end,
  };
}

function readJson({ bytes, isWhole, isCut }: StreamEnd): { json: string } | { missing: string } {
  if (!isWhole || isCut) {
    return {
      missing: `standard output is longer than the ${limits.maxOutputDocumentBytes / 1024} KiB that are read as JSON`,
    };
  }
  const json = decode(bytes);
  if (json === undefined) return { missing: 'standard output is not UTF-8' };
  try {
    JSON.parse(json);
    return { json };
  } catch {
    return { missing: 'standard output is not one JSON value' };
  }
}

function readFile(file: Buffer | { problem: string }): ReadonlyMap<string, string> | { missing: string } {
  if ('problem' in file) return { missing: file.problem };
  if (file.length > limits.maxOutputDocumentBytes) {
    return {
      missing: `the file OPSCONDUCTOR_OUTPUT is longer than ${limits.maxOutputDocumentBytes / 1024} KiB`,
    };
  }
  const text = decode(file);
  if (text === undefined) return { missing: 'the file OPSCONDUCTOR_OUTPUT is not UTF-8' };
  const lines = readOutputLines(text);
  return 'problem' in lines ? { missing: `${lines.problem} in the file OPSCONDUCTOR_OUTPUT` } : lines.values;
}

function decode(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function fromCharacter(bytes: Buffer): Buffer {
  let at = 0;
  while (at < 3 && ((bytes[at] ?? 0) & 0xc0) === 0x80) at += 1;
  return bytes.subarray(at);
}
