// Commands of any kind with placeholders in any of their words, and the commands within them.
import { type Draft, functionNames } from './draft.ts';
import { moveValue } from './moves.ts';
import { inBackground, surrounded } from './surroundings.ts';
import { useOf } from './uses.ts';
import { Words } from './words.ts';

export class Commands {
  readonly #draft: Draft;
  readonly #words: Words;
  readonly #functions: string[] = [];

  constructor(draft: Draft) {
    this.#draft = draft;
    this.#words = new Words(draft, () => this.statement());
  }

  statement(): string {
    return this.#draft.deeper(() => this.#command()) ?? `echo ${this.#words.word()}`;
  }

  #command(): string {
    if (this.#draft.chance(0.35)) return surrounded(this.#draft, this.#simple());
    return this.#draft.one(
      () => this.#simple(),
      () => this.#simple(),
      () => useOf(this.#draft, this.#draft.variable()),
      () => {
        const made = moveValue(
          this.#draft,
          this.#draft.variable(),
          this.#draft.chance(0.5) ? undefined : this.#draft.variable(),
        );
        return typeof made === 'string' ? made : made(this.statement());
      },
      () => `if ${this.statement()}; then ${this.statement()}; else ${this.statement()}; fi`,
      () => `if ${this.#test()}; then\n${this.statement()}\nfi`,
      () => `${this.#test()} && ${this.#simple()}`,
      () => `${this.#test()} || { ${this.#simple()}; ${this.#draft.pick(['return', 'exit', ':'])} 1; }`,
      () => `for ${this.#draft.variable()} in ${this.#words.words(3)}; do ${this.statement()}; done`,
      () => `while ${this.#test()}; do ${this.statement()}; break; done`,
      () =>
        `case ${this.#words.word()} in\n${this.#words.pattern()}) ${this.statement()} ;;\n(${this.#words.pattern()}|b) ${this.statement()}\n;;\nesac`,
      () => `{ ${this.statement()}; ${this.statement()}; }${this.#redirects()}`,
      () => `(${this.statement()})${this.#redirects()}`,
      () => this.#piped(' | '),
      () => this.#piped(' |& '),
      () => inBackground(this.#simple()),
      () => this.#function(),
      () => `(( ${this.#words.arithmetic()} ))`,
      () => `for ((i=0; i<${this.#words.arithmetic()}; i++)); do ${this.statement()}; break; done`,
      () => `# ${this.#draft.pick(["it's", 'a "comment', '$(', '`'])}\n${this.#simple()}`,
    );
  }

  #piped(operator: string): string {
    const first = this.#simple();
    return first.includes('<<') ? first : first + operator + this.#simple();
  }

  #function(): string {
    const name = this.#draft.pick(functionNames);
    if (this.#functions.includes(name)) return `${name} ${this.#words.words(2)}`;
    const head = this.#draft.pick([`${name}() {`, `function ${name} {`, `${name} ()\n{`]);
    const text = `${head} ${this.statement()}\n${useOf(this.#draft, '1')}\n}`;
    this.#functions.push(name);
    return `${text}\n${name} ${this.#words.words(2)}`;
  }

  #simple(): string {
    const made = this.#draft.one(
      () => `echo ${this.#words.words(3)}`,
      () => `echo ${this.#words.words(2)}`,
      () => `printf '%s\\n' ${this.#words.words(2)}`,
      () =>
        `printf ${this.#draft.pick(["'%q '", '%s', "'%-10s|'", "'%d'", "'%b'", "'%(%F)T'", "'%*d'", "'%c'"])} ${this.#words.words(2)}`,
      () => `cat ${this.#words.words(2)}`,
      () => `grep -q ${this.#words.words(2)}`,
      () => `grep -e ${this.#words.word()} -- ${this.#words.word()}`,
      () => `cp -- ${this.#words.words(2)}`,
      () => `ls ${this.#words.words(2)}`,
      () => `mkdir -p ${this.#words.word()}`,
      () => `sort ${this.#words.words(2)}`,
      () => `cut -d ${this.#words.word()} -f 1`,
      () => `head -n ${this.#words.word()}`,
      () => `tr ${this.#words.words(2)}`,
      () => `tee -a ${this.#words.word()} >/dev/null`,
      () => `basename -- ${this.#words.word()}`,
      () => `find ${this.#words.words(2)} -maxdepth 0 -name ${this.#words.word()}`,
      () => `find . -maxdepth 0 -exec echo ${this.#words.word()} {} +`,
      () => `xargs ${this.#words.words(2)} </dev/null`,
      () => `env ${this.#draft.variable()}=${this.#words.word()} ${this.#words.words(2)}`,
      () => `env -i ${this.#words.words(2)}`,
      () => `env a.b=${this.#words.words(2)}`,
      () => `env ${this.#draft.variable()}=$(echo ${this.#words.words(2)}) ${this.#words.words(2)}`,
      () => `sudo ${this.#draft.variable()}-1=${this.#words.words(3)}`,
      () => `echo \${z:-${this.#words.word()}}`,
      () => `sudo -u ${this.#words.word()} ${this.#words.words(2)}`,
      () => `timeout ${this.#words.word()} ${this.#words.words(2)}`,
      () => `nice -n ${this.#words.word()} cat ${this.#words.word()}`,
      () => `command -v ${this.#words.word()}`,
      () => `type ${this.#words.word()}`,
      () => `exec 3<${this.#words.word()}`,
      () => `set -- ${this.#words.words(3)}`,
      () => `shift ${this.#words.arithmetic()}`,
      () => `cd ${this.#words.word()} && pwd`,
      () => `awk '{ print $1 }' ${this.#words.word()}`,
      () => `sed -n '1p' ${this.#words.word()}`,
      () => `docker exec c ${this.#words.words(2)}`,
      () => `sh s.sh ${this.#words.words(2)}`,
      () => `sh ${this.#words.words(2)}`,
      () => `. ${this.#words.words(2)}`,
      () => `read -r ${this.#words.words(2)} </dev/null`,
      () => `export ${this.#draft.variable()}=${this.#words.word()}`,
      () => `${this.#draft.variable()}=${this.#words.word()}`,
      () => `${this.#draft.variable()}=${this.#words.word()}`,
      () => `${this.#draft.variable()}=${this.#words.word()} ${this.#draft.variable()}=${this.#words.word()}`,
      () => `${this.#draft.variable()}=${this.#words.word()} echo ${this.#words.word()}`,
      () => `r=(${this.#words.words(3)})`,
      () => `r[${this.#words.arithmetic()}]=${this.#words.word()}`,
      () => `local ${this.#draft.variable()}=${this.#words.word()}`,
      () => `declare ${this.#words.words(2)}`,
      () => `trap ${this.#words.words(2)}`,
      () => `${this.#words.word()} ${this.#words.words(2)}`,
      () => `: ${this.#words.words(2)}`,
      () => `let ${this.#words.words(2)}`,
      () => this.#test(),
      () => `eval ${this.#words.words(2)}`,
    );
    return made + this.#redirects();
  }

  #redirects(): string {
    if (!this.#draft.chance(0.2)) return '';
    const inner = () => this.#words.inQuotes();
    return this.#draft.one(
      () => ` >${this.#words.word()}`,
      () => ` >>${this.#words.word()} 2>&1`,
      () => ` 2>${this.#words.word()}`,
      () => ` >|${this.#words.word()}`,
      () => ` <${this.#words.word()}`,
      () => ` <>${this.#words.word()}`,
      () => ` &>${this.#words.word()}`,
      () => ` &>>${this.#words.word()}`,
      () => ` >&${this.#words.word()}`,
      () => ` 2>&1 >/dev/null`,
      () => ` {fd}>${this.#words.word()}`,
      () => ` 3<${this.#words.word()} 4>&-`,
      () => ` <<<${this.#words.word()}`,
      () => ` <<E${++this.#draft.documents}\n${inner()} ${inner()}\nE${this.#draft.documents}`,
      () => ` <<-E${++this.#draft.documents}\n\t${inner()}\n\tE${this.#draft.documents}`,
      () =>
        ` <<'E${++this.#draft.documents}'\n$(text) it's ${this.#draft.chance(0.1) ? inner() : ''}\nE${this.#draft.documents}`,
      () => ` <<\\E${++this.#draft.documents}\n\`text "\nE${this.#draft.documents}`,
      () => ` <<E${++this.#draft.documents} <<F\n${inner()}\nE${this.#draft.documents}\n${inner()}\nF`,
      () => ` > >(cat)`,
      () => ` < <(echo ${this.#words.word()})`,
    );
  }

  #test(): string {
    const operator = this.#draft.pick(['=', '!=', '==', '-eq', '-lt', '-nt', '-ef', '<', '=~']);
    const unary = this.#draft.pick(['-n', '-z', '-f', '-d', '-e', '-v', '-x', '-t', '-o', '-R', '!']);
    return this.#draft.one(
      () =>
        `[ ${this.#words.word()} ${this.#draft.pick(['=', '!=', '-eq', '-gt', '-nt', '==', '-ef'])} ${this.#words.word()} ]`,
      () => `[ ${unary} ${this.#words.word()} ]`,
      () => `test ${unary} ${this.#words.word()}`,
      () => `[ ${this.#words.words(2)} ]`,
      () => `[ ! ${this.#words.word()} = ${this.#words.word()} ]`,
      () => `[ ${unary} ${this.#words.word()} ${this.#draft.pick(['-a', '-o'])} ${this.#words.word()} = b ]`,
      () => `[[ ${this.#words.word()} ${operator} ${this.#words.word()} ]]`,
      () => `[[ ${unary} ${this.#words.word()} ]]`,
      () =>
        `[[ ${this.#words.word()} == ${this.#words.word()} || ${this.#words.word()} ${operator} ${this.#words.word()} ]]`,
      () => `[[ ( ${unary} ${this.#words.word()} && ! ${this.#words.word()} ) ]]`,
      () => `[[ ${this.#words.word()} =~ ^(a|${this.#words.word()})$ ]]`,
      () => `[[ ${this.#words.word()} == @(a|b)* ]]`,
    );
  }
}
