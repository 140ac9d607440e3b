// What the analysis of a script says of its placeholders, in whatever language it is.
import type { ParameterType } from '../api/jobs/parameters.ts';

/** A placeholder in the text that is analyzed. */
export interface Hole {
  /** Offset of its mark. */
  at: number;
  type: ParameterType;
  /** As an author writes it. */
  label: string;
}
/** How a value stands where it may. */
export interface Site {
  /**
   * `word`: unquoted, as a word of its own or a part of one. `quoted`: in double quotes. `document`: in a here-document
   * or here-string. `number`: in arithmetic.
   */
  as: 'word' | 'quoted' | 'document' | 'number';
  /** A command could take a value with a leading dash for an option. */
  mayBeOption: boolean;
  /** A file that the shell itself opens. */
  isPath?: boolean;
  /** Becomes an argument of a program that is no part of the shell, whose quoting of it can't be relied on. */
  toProgram?: 'exe' | 'any';
}
export interface Refusal {
  at: number;
  /** A sentence without its full stop. */
  message: string;
  fix: string;
}
export interface Analysis {
  /** By offset of the hole. A hole that is not in it was refused. */
  sites: Map<number, Site>;
  refusals: Refusal[];
}
/** @param environment Variables that the step's environment sets from placeholders, with these as written. */
export type Analyze = (
  text: string,
  holes: readonly Hole[],
  environment: ReadonlyMap<string, string>,
) => Analysis;
