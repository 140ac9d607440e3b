// Placeholders in the texts of steps: parsed, checked when saving, filled in by agents, shown in previews. Pure, and
// the same for server, agent and console.
export type { Binding } from './bindings.ts';
export { checkStep } from './check-step.ts';
export { type CmdInput, cmdInput } from './cmd/write-script.ts';
export { powershellInterpreters } from './powershell/commands.ts';
export { powershellBootstrap, powershellEncoded, powershellInput } from './powershell/write-script.ts';
export { type RawSplice, rawSplicesOf } from './raw-splice.ts';
export type { RenderableStep } from './read-step.ts';
export { parseReference, placeholderText, type Reference, referenceText } from './reference.ts';
export { referencesOf } from './references-of.ts';
export {
  maskedText,
  type Preview,
  type PreviewedField,
  type PreviewedValue,
  renderForPeople,
} from './render-for-people.ts';
export { type RenderedStep, type Rendering, renderStep } from './render-step.ts';
export { leanScope, type RenderScope, type ScopeOutput, scopeOf, stepReferenceName } from './scope.ts';
export { interpreters } from './sh/interpreters.ts';
export { shellAssignments } from './sh/write-script.ts';
export { type Placeholder, parseTemplate, type Template, type TemplatePart } from './template.ts';
export type { RenderValues } from './values.ts';
