// Words of a command and their parts: quotes, expansions, arithmetic, patterns.
import type { Draft } from './draft.ts';

export class Words {
  readonly #draft: Draft;
  readonly #statement: () => string;

  /** @param statement Makes what stands in a command substitution. */
  constructor(draft: Draft, statement: () => string) {
    this.#draft = draft;
    this.#statement = statement;
  }

  pattern(): string {
    return this.#draft.one(
      () => '*',
      () => 'a|b',
      () => '[a-z]*',
      () => '"$x"',
      () => '-h|--help',
      () => this.word(),
    );
  }

  words(count: number): string {
    return Array.from({ length: 1 + this.#draft.number(count) }, () => this.word()).join(
      this.#draft.chance(0.05) ? ' \\\n' : ' ',
    );
  }

  arithmetic(): string {
    return this.#draft.one(
      () => '1',
      () => 'i + 1',
      () => '$# - 1',
      () => this.#draft.hole('number'),
      () => `${this.#draft.hole('number')} * 2`,
      () => this.#draft.variable(),
      () => `$${this.#draft.variable()}`,
      () => `$(echo 1)`,
      () => `\${#${this.#draft.variable()}}`,
      () => `(${this.#draft.variable()} ? 1 : 2)`,
      () => `r[${this.#draft.variable()}]`,
      () => `\${r[0]}`,
      () => `x = ${this.#draft.variable()}`,
      () => `'1'`,
      () => `"1"`,
      () => `16#f`,
    );
  }

  /** What stands in double quotes or in a here-document. */
  inQuotes(): string {
    const v = this.#draft.variable();
    return this.#draft.one(
      () => 'text',
      () => this.#draft.hole('plain'),
      () => this.#draft.hole('plain'),
      () => `$${v}`,
      () => `\${${v}}`,
      () => `\${${v}:-${this.#draft.chance(0.5) ? this.#draft.hole('plain') : 'd'}}`,
      () => `\${${v}:-"q"}`,
      () => `\${${v}#*/}`,
      () => `\${${v}%'}'*}`,
      () => `\${${v}//\\}/b}`,
      () => `$(echo ${this.#nested()})`,
      () => `\`echo ${this.#nested()}\``,
      () => `\`echo \\"${this.#nested()}\\"\``,
      () => `\`echo \\\`echo ${this.#nested()}\\\`\``,
      () => `$(( ${this.arithmetic()} ))`,
      () => '\\$x',
      () => '\\`',
      () => '\\\\',
      () => '\\"',
      () => '\\\n',
      () => "it's",
      () => '$',
      () => '!',
      () => '{a,b}',
    );
  }

  #nested(): string {
    return this.#draft.deeper(() => this.word()) ?? 'a';
  }

  word(): string {
    if (this.#draft.chance(0.12)) return this.#part() + this.#part();
    return this.#part();
  }

  #part(): string {
    const v = this.#draft.variable();
    return this.#draft.one(
      () =>
        this.#draft.pick([
          'a',
          'b.txt',
          '-n',
          '--all',
          '--name=a',
          './a',
          'x=y',
          '5',
          '-',
          '--',
          'a:b',
          'e#f',
          '%s',
        ]),
      () =>
        this.#draft.pick([
          '*.log',
          'a?',
          '[ab]',
          '{a,b}',
          '{1..3}',
          '~',
          '"*"',
          '!(a)',
          '@(a|b)',
          '\\*',
          '\\ ',
          '=',
        ]),
      () =>
        this.#draft.pick([
          "'a b'",
          '"a b"',
          "$'a\\tb'",
          "$'it\\'s'",
          '""',
          "''",
          '$"a"',
          '"\\""',
          "'\\'",
          "\\'",
          '\\"',
          '"\'"',
        ]),
      () => this.#draft.hole('word'),
      () => this.#draft.hole('word'),
      () => this.#draft.hole('word'),
      () => `"${this.inQuotes()}"`,
      () => `"${this.inQuotes()}${this.inQuotes()}"`,
      () => `"${this.inQuotes()} ${this.inQuotes()}"`,
      () => `"${this.#draft.hole('plain')}"`,
      () => `$${v}`,
      () => `"$${v}"`,
      () => `"\${${v}}"`,
      () => `\${${v}:-${this.#nested()}}`,
      () => `\${${v}:+${this.#nested()}}`,
      () =>
        `"\${${v}${this.#draft.pick(['#', '##', '%', '%%', ':-', ':=', '/a/', '//b/', '^', ',,', ':1', ': -1', '@Q', '@P', ':?'])}}"`,
      () => `\${#${v}}`,
      () => `\${!${v}}`,
      () => `"\${r[@]}"`,
      () => `"\${r[${this.arithmetic()}]}"`,
      () => `$(${this.#draft.isDeep ? 'true' : this.#statement()})`,
      () => `"$(${this.#draft.isDeep ? 'true' : this.#statement()})"`,
      () => `\`echo ${this.#nested()}\``,
      () => `$(( ${this.arithmetic()} ))`,
      () => `$[ ${this.arithmetic()} ]`,
      () => `<(echo ${this.#nested()})`,
      () =>
        this.#draft.pick(['$1', '"$@"', '$#', '$?', '$$', '"$*"', '$0', '${1:-a}', '"${@:1}"', '$-', '$_']),
    );
  }
}
