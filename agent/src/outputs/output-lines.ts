// Reads the file in which a command leaves its outputs: lines `name=value`, or for a value of several lines
// `name<<END`, the lines, and a line `END`.

export type OutputLines = { values: Map<string, string> } | { problem: string };

const namedLine = /^([A-Za-z_][A-Za-z0-9_]{0,63})(=|<<)(.*)$/s;

/** If a name occurs several times, the last value counts. Problems contain nothing of the text. */
export function readOutputLines(text: string): OutputLines {
  const values = new Map<string, string>();
  const lines = text.split('\n');
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] as string;
    if (line === '') continue;
    const [, name = '', sign, rest = ''] = namedLine.exec(line) ?? [];
    if (sign === undefined) {
      return { problem: `line ${at + 1} is neither \`name=value\` nor \`name<<END\`` };
    }
    if (sign === '=') {
      values.set(name, rest);
      continue;
    }
    if (rest === '') return { problem: `line ${at + 1} says \`<<\` and no word that ends the value` };
    const end = lines.indexOf(rest, at + 1);
    if (end === -1) return { problem: `the value that begins at line ${at + 1} has no line that ends it` };
    values.set(name, lines.slice(at + 1, end).join('\n'));
    at = end;
  }
  return { values };
}
