// Placeholders in the texts of steps: parsed, checked when saving, filled in by agents, shown in previews. Pure, and
// the same for server, agent and console.
export type { Binding } from './bindings.ts';
export { checkStep } from './check-step.ts';
export { type CmdInput, cmdInput } from './cmd/write-script.ts';
export { type RawSplice, rawSplicesOf } from './placeholders/raw-splice.ts';
export type { RenderableStep } from './placeholders/read-step.ts';
export { parseReference, placeholderText, type Reference, referenceText } from './placeholders/reference.ts';
export { referencesOf } from './placeholders/references-of.ts';
export {
  type RenderScope,
  type ScopeOutput,
  scopeOf,
  stepReferenceName,
} from './placeholders/scope.ts';
export {
  type Placeholder,
  parseTemplate,
  type Template,
  type TemplatePart,
} from './placeholders/template.ts';
export type { RenderValues } from './placeholders/values.ts';
export { powershellInterpreters } from './powershell/commands.ts';
export { powershellBootstrap, powershellEncoded, powershellInput } from './powershell/write-script.ts';
export {
  maskedText,
  newPreviewRoom,
  type Preview,
  type PreviewedField,
  type PreviewedValue,
  type PreviewRoom,
  renderForPeople,
} from './render-for-people.ts';
export { type RenderedStep, type Rendering, renderStep } from './render-step.ts';
export { interpreters } from './sh/commands/interpreters.ts';
export { shellAssignments } from './sh/write-script.ts';
