// Which files of the server the configuration of a step names.
import { parseTemplate } from '@opsconductor/protocol';

/**
 * Returns whether a step with this configuration can name the file. What stands for a placeholder is only known to the
 * agent, so of a name with placeholders the text around them is compared.
 */
export function mayNameFile(config: unknown, name: string): boolean {
  const { file } = Object(config) as { file?: unknown };
  if (typeof file !== 'string') return false;
  const { parts } = parseTemplate(file);
  const isOpen = (at: number) => parts.at(at)?.kind === 'placeholder';
  let from = 0;
  for (const [i, part] of parts.entries()) {
    if (part.kind === 'placeholder') continue;
    const { text } = part;
    const found =
      i === parts.length - 1 && isOpen(i - 1) ? name.length - text.length : name.indexOf(text, from);
    if (found < from || (i === 0 && found > 0) || !name.startsWith(text, found)) return false;
    from = found + text.length;
  }
  return from === name.length || isOpen(-1);
}
