// The languages of scripts: how each is analyzed, and how a script in it refers to a value.
import { analyzeCmd } from './cmd/analyze.ts';
import { cmdProblem, cmdReference, readableInCmd } from './cmd/write-script.ts';
import type { ShellLanguage } from './placeholders/fields.ts';
import { analyzePowershell } from './powershell/analyze.ts';
import { powershellProblem, powershellReference, readableInPowershell } from './powershell/write-script.ts';
import { analyzeBash, analyzeShell } from './sh/analyze.ts';
import { readableInShell, shellReference } from './sh/write-script.ts';
import type { Analyze, Site } from './sites/sites.ts';

export interface Language {
  analyze: Analyze;
  /** Prefix of variable names. */
  stem: string;
  /** Returns what stands in the script for a value. */
  reference(name: string, site: Site): string;
  /** Returns a value the way a person would have written it there. */
  readable(value: unknown, site: Site): string;
  /** What a program takes for the beginning of an option; by default a dash. */
  optionStart?: RegExp;
  /**
   * Returns why a text can't be used in this language, beginning with a verb such as `contains`; `undefined` if it can.
   */
  problem?(text: string, site: Site): string | undefined;
}

const shell: Language = {
  analyze: analyzeShell,
  stem: 'OPS',
  reference: shellReference,
  readable: readableInShell,
};
const powershell: Language = {
  analyze: analyzePowershell,
  stem: 'OPS',
  reference: powershellReference,
  readable: readableInPowershell,
  problem: powershellProblem,
  optionStart: /^[-/\u2013\u2014\u2015]/,
};
const cmd: Language = {
  analyze: analyzeCmd,
  stem: 'OPS',
  reference: cmdReference,
  readable: readableInCmd,
  problem: cmdProblem,
  optionStart: /^[-/]/,
};
export const languages: Readonly<Record<ShellLanguage, Language>> = {
  sh: shell,
  bash: { ...shell, analyze: analyzeBash },
  powershell,
  pwsh: powershell,
  cmd,
};
