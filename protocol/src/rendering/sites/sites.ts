// The result of analyzing the placeholders of a script, in any language.
import type { ParameterType } from '../../api/jobs/parameters.ts';

/** A placeholder in the analyzed text. */
export interface Hole {
  /** Offset of its mark. */
  at: number;
  type: ParameterType;
  /** As an author writes it. */
  label: string;
}
/** The form in which a value may stand at a place. */
export interface Site {
  /**
   * - `word`: unquoted, as a word of its own or part of one.
   * - `quoted`: in double quotes.
   * - `document`: in a here-document or here-string.
   * - `number`: in arithmetic.
   */
  as: 'word' | 'quoted' | 'document' | 'number';
  /** A command could take a value with a leading dash for an option. */
  mayBeOption: boolean;
  /** A file that the shell itself opens. */
  isPath?: boolean;
  /** Set for an argument of a program outside the shell, where the shell's quoting can't be relied on. */
  toProgram?: 'exe' | 'any';
}
export interface Refusal {
  at: number;
  /** A sentence without its period. */
  message: string;
  fix: string;
}
export interface Analysis {
  /** By offset of the placeholder. One that is missing was refused. */
  sites: Map<number, Site>;
  refusals: Refusal[];
}
/** @param environment Variables that the step's environment sets from placeholders, with these as written. */
export type Analyze = (
  text: string,
  holes: readonly Hole[],
  environment: ReadonlyMap<string, string>,
) => Analysis;
