// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts are shells'
// Random scripts as people write them, with placeholders at places that may be safe or not. The same seed gives the same
// scripts. They are harmless unless something runs a value.
import { seeded } from '../support/hostile-strings.ts';

/** How a reference to the value is written at its place: in quotes of its own, as it is, or in parentheses. */
export type Form = 'word' | 'plain' | 'number';

export interface GeneratedScript {
  seed: number;
  shell: 'sh' | 'bash';
  /** `⟪0⟫` stands for the first placeholder. */
  text: string;
  forms: Form[];
  /** Variable of the step's environment that holds a value of its own. */
  environment?: string;
}

const variables = ['a', 'b', 'c', 'x', 'y', 'line'];
const functions = ['f', 'g', 'run_it'];

export function generateScript(seed: number): GeneratedScript {
  return new Generator(seed).script(seed);
}

class Generator {
  readonly #random: () => number;
  readonly #forms: Form[] = [];
  #depth = 0;
  #documents = 0;
  #holes = 0;
  #environment: string | undefined;
  #functions: string[] = [];

  constructor(seed: number) {
    this.#random = seeded(seed * 2_654_435_761);
    for (let skipped = 0; skipped < 3; skipped += 1) this.#random();
  }

  script(seed: number): GeneratedScript {
    if (this.#chance(0.12)) this.#environment = this.#pick(['NAME', 'x', 'FILES']);
    const shell = this.#chance(0.4) ? 'bash' : 'sh';
    let text = this.#chance(0.5) ? this.#chain() : this.#lines(1 + this.#number(4));
    if (this.#holes === 0) text += `\necho ${this.#hole('word')}`;
    if (this.#chance(0.3)) text = this.#mutated(text);
    return {
      seed,
      shell,
      text,
      forms: this.#forms,
      ...(this.#environment === undefined ? {} : { environment: this.#environment }),
    };
  }

  #chance(of: number): boolean {
    return this.#random() < of;
  }
  #number(below: number): number {
    return Math.floor(this.#random() * below);
  }
  #pick<T>(from: readonly T[]): T {
    return from[this.#number(from.length)] as T;
  }
  /** Runs one of the makers; the others make nothing, so that they use up no placeholders. */
  #one(...makers: readonly (() => string)[]): string {
    return this.#pick(makers)();
  }
  #variable(): string {
    return this.#environment !== undefined && this.#chance(0.3) ? this.#environment : this.#pick(variables);
  }

  #hole(form: Form): string {
    this.#holes += 1;
    this.#forms.push(form);
    return `⟪${this.#forms.length - 1}⟫`;
  }

  #lines(count: number): string {
    return Array.from({ length: count }, () => this.#statement()).join(this.#pick(['\n', '\n', '\n', '; ']));
  }

  /** A value goes into a variable, from there into others, and from the last to where it may be run. */
  #chain(): string {
    const lines: string[] = [];
    let from = this.#pick(variables);
    const wrap: ((rest: string) => string)[] = [];
    const put = (made: string | ((rest: string) => string)) => {
      if (typeof made === 'string') lines.push(made);
      else {
        const before = lines.splice(0).join('\n');
        wrap.push((rest) => (before === '' ? made(rest) : `${before}\n${made(rest)}`));
      }
    };
    put(this.#move(from, undefined));
    for (let more = this.#number(3); more > 0; more -= 1) {
      const to = this.#pick(variables);
      put(this.#move(to, from));
      from = to;
      if (this.#chance(0.2)) lines.push(this.#statement());
    }
    lines.push(this.#use(from));
    return wrap.reduceRight((rest, around) => around(rest), lines.join('\n'));
  }

  /** Sets `to` from a value, or from the variable `from`. */
  #move(to: string, from: string | undefined): string | ((rest: string) => string) {
    const word = from === undefined ? () => this.#hole('word') : () => `"$${from}"`;
    const inner = from === undefined ? () => this.#hole('plain') : () => `$${from}`;
    const any = () =>
      this.#one(
        word,
        word,
        () => `"${inner()}"`,
        () => `"a${inner()}"`,
        () => `x=${word()}`,
      );
    const end = () => {
      this.#documents += 1;
      return this.#pick(['E', 'EOF', 'END']) + (this.#documents > 1 ? this.#documents : '');
    };
    const document = (command: string, dash = '') => {
      const mark = end();
      return `${command} <<${dash}${mark}\n${inner()}\n${mark}`;
    };
    const name = this.#pick(functions);
    const around: ((rest: string) => string)[] = [
      (rest) => `for ${to} in ${any()}; do\n${rest}\ndone`,
      (rest) => `for ${to} in a ${any()} b\ndo ${rest}\ndone`,
      (rest) => `set -- ${any()}\nfor ${to}\ndo\n${rest}\ndone`,
      (rest) => `set -- ${any()}\nfor ${to} in "$@"; do\n${rest}\ndone`,
      (rest) => `set -- ${any()}\nwhile [ $# -gt 0 ]; do ${to}=$1; shift\n${rest}\ndone`,
      (rest) => `${this.#pick(['echo', "printf '%s\\n'"])} ${any()} | while read -r ${to}; do\n${rest}\ndone`,
      (rest) => `echo ${any()} | { read ${to}; ${rest}\n}`,
      (rest) => `echo ${any()} | cat | tr a-b c-d | (read -r ${to}; ${rest}\n)`,
      (rest) => `while IFS= read -r ${to}; do\n${rest}\ndone <<E9\n${inner()}\nE9`,
      (rest) => `${name}() { ${to}=$1; ${rest}\n}\n${name} ${any()}`,
      (rest) => `${name}() { local ${to}="$1"; ${rest}\n}\n${name} ${any()}`,
      (rest) => `${name}() {\nshift\n${to}="$*"\n${rest}\n}\n${name} x ${any()}`,
      (rest) => `${name}() { while read ${to}; do ${rest}\ndone; }\necho ${any()} | ${name}`,
      (rest) => `${name}() { read ${to}; ${rest}\n}\n${name} <<E9\n${inner()}\nE9`,
      (rest) => `case ${any()} in *) ${to}=${word()}\n${rest}\n;; esac`,
      (rest) => `if ${to}=${any()}; then\n${rest}\nfi`,
      (rest) => `select ${to} in ${any()}; do\n${rest}\nbreak; done <<E9\n1\nE9`,
      (rest) => `while read -r ${to} _; do\n${rest}\ndone < <(echo ${any()})`,
      (rest) => `exec 4<<E9\n${inner()}\nE9\nread ${to} <&4\n${rest}`,
      (rest) => `${to}=$(cat <<E9\n${inner()}\nE9\n)\n${rest}`,
      (rest) => `{ read ${to}; ${rest}\n} <<E9\n${inner()}\nE9`,
    ];
    if (this.#chance(0.35)) return this.#pick(around);
    return this.#one(
      () => `${to}=${any()}`,
      () => `${to}=${word()}`,
      () => `${to}=${word()}`,
      () => `${to}=$(echo ${any()})`,
      () => `${to}="$(printf %s ${any()})"`,
      () => `${to}="$(printf '%s\\n' ${any()} | tr -d x)"`,
      () => `${to}=\`echo ${any()}\``,
      () => `: "\${${to}:=${inner()}}"`,
      () => `: \${${to}=${inner()}}`,
      () => `unset ${to}; echo "\${${to}:=${inner()}}"`,
      () => `${to}=\${nothing:-${inner()}}`,
      () => `export ${to}=${any()}`,
      () => `readonly ${to}=${any()}`,
      () => `${to}=x; ${to}+=${any()}`,
      () => document(`read ${to}`),
      () => document(`read -r ${to}`),
      () => document(`IFS= read -r ${to}`),
      () => document(`read -r first ${to}`),
      () => document(`read -r -p ${to} ${to}`),
      () => document(`read -d '' ${to}`),
      () => document('read'),
      () => `read -r ${to} <<<${any()}`,
      () => `read -ra ${to} <<<${any()}`,
      () => `mapfile -t ${to} <<<${any()}`,
      () => `readarray ${to} < <(echo ${any()})`,
      () => `printf -v ${to} %s ${any()}`,
      () => `printf -v ${to} '%s' ${any()}`,
      () => `set -- ${any()}; ${to}=$1`,
      () => `set -- ${any()}; ${to}="$*"`,
      () => `set -- ${any()}; ${to}=$@`,
      () => `set -- a ${any()}; shift; ${to}=\${1}`,
      () => `set -- ${any()}; eval ${to}=\\$1`,
      () => `r=(${any()}); ${to}=\${r[0]}`,
      () => `r=(a ${any()}); ${to}="\${r[@]}"`,
      () => `r[1]=${any()}; ${to}=\${r[1]}`,
      () => `r+=(${any()}); ${to}=\${r[*]}`,
      () => `r=([k]=${any()}); ${to}=\${r[k]}`,
      () => `${name}() { echo "$1"; }; ${to}=$(${name} ${any()})`,
      () => `${name}() { ${to}=$1; }; ${name} ${any()}`,
      () => `${name}() { printf -v "$1" %s "$2"; }; ${name} ${to} ${any()}`,
      () => `${name}() { eval "$1=\\$2"; }; ${name} ${to} ${any()}`,
      () => `${name}() { local -n ref=$1; ref=$2; }; ${name} ${to} ${any()}`,
      () => `k=${word()}; eval "${to}=\\$k"`,
      () => `k=${word()}; n=k; ${to}=$(eval "echo \\$$n")`,
      () => `k=${word()}; ${to}=$(sh -c 'echo "$k"')`,
      () => `export k=${word()}; ${to}=$(sh -c 'echo "$k"')`,
      () => `export k=${word()}; ${to}=$(printenv k)`,
      () => `k=${word()}; ${to}=$(set | grep k=)`,
      () => `k=${word()}; ${to}=$(declare -p k)`,
      () => `k=${word()}; ${to}=$(env)`,
      () => `echo ${any()} >file; ${to}=$(cat file)`,
      () => `echo ${any()} >file; read ${to} <file`,
      () => `${to}=$(cat <<<${any()})`,
      () => `exec 4< <(echo ${any()}); read -u 4 ${to}`,
      () => `exec <<E8\n${inner()}\nE8\nread ${to}`,
      () => `cd ${any()}; ${to}=$(pwd)`,
      () => `touch_it() { REPLY=$1; }; touch_it ${any()}; ${to}=$REPLY`,
      () => `${to}=\${${to}:-${word()}}`,
      () => `trap '${to}=$k' USR1; k=${word()}; ${to}=$k`,
      () => `r=("$@" ${any()}); set -- "\${r[@]}"; ${to}=$1`,
      () => `${name}() { set -- "$@" z; ${to}="$2"; }; ${name} a ${any()}`,
      () => `declare -A q=([k]=${word()}); ${to}=\${q[k]}`,
      () => `printf -v 'r[0]' %s ${any()}; ${to}=\${r[0]}`,
      () => `read -r 'r[0]' <<<${any()}; ${to}=\${r[0]}`,
      () => `${to}=(${any()}); ${to}=$${to}`,
      () => `k=${word()} eval '${to}=$k'`,
      () => `k=${word()} ${name}2; ${name}2() { ${to}=$k; }; k=${word()} ${name}2`,
      () => `k=${word()}; eval '${to}=$k'`,
      () => `k=${word()}; eval ${to}='"$k"'`,
      () => `k=${word()}; declare -n ${to}=k`,
      () => `k=${word()}; n=k; ${to}=\${!n}`,
      () => `k=${word()}; n=k; eval "${to}=\\\${$n}"`,
      () => `getopts a: o -a ${any()}; ${to}=$OPTARG`,
      () => `set -- -a ${any()}; while getopts a: o; do ${to}=$OPTARG; done`,
      () => `set -- -a ${any()}; while getopts :a: o "$@"; do case $o in a) ${to}="$OPTARG" ;; esac; done`,
      () => `[[ ${any()} =~ (.*) ]]; ${to}=\${BASH_REMATCH[1]}`,
      () => `true ${any()}; ${to}=$_`,
      () => `true ${any()}; ${to}="\${_}"`,
      () => `cd ${any()} 2>/dev/null; ${to}=$OLDPWD`,
      () => `mkdir -p ${any()}; cd ${word()} && ${to}=$PWD`,
      () => `${to}=$(${name}() { echo ${any()}; }; ${name})`,
      () => `coproc echo ${any()}; read ${to} <&\${COPROC[0]}`,
      () => `shopt -s lastpipe; echo ${any()} | read -r ${to}`,
      () => `let ${to}=${any()}`,
      () => `declare ${to}=${any()}`,
      () => `${to}=\${${from ?? 'k'}/x/${inner()}}`,
      () => `${to}=\${${from ?? 'k'}:-${inner()}}`,
      () => `: $(( ${to} = ${inner()} ))`,
      () => `${to}=~/${inner()}`,
      () => `IFS=, ; set -- ${inner()}; ${to}=$2`,
      () => `while :; do ${to}=${any()}; break; done`,
      () => `{ ${to}=${any()}; } 2>/dev/null`,
      () => `command export ${to}=${any()}`,
      () => `command -p readonly ${to}=${any()}`,
      () => `builtin export ${to}=${any()}`,
      () => `command read ${to} <<E8\n${inner()}\nE8`,
      () => `command eval '${to}='${any()}`,
      () => `export ${to}; ${to}=${any()}`,
      () => `env ${to}=${any()} true; ${to}=${word()}`,
      () => `true && ${to}=${any()} || true`,
      () => `! ${to}=${any()}`,
      () => `time ${to}=${any()}`,
      () => `${to}=${any()} :`,
      () => `${to}=${any()} eval true`,
      () => `${to}=${any()} export ${to}`,
      () => `>/dev/null ${to}=${any()}`,
      () => `${to}=${word()}; ${to}=\${${to}#a}`,
      () => `${to}=${word()}; ${to}=\${${to}%%b*}`,
    );
  }

  /**
   * What may run the value of a variable, or not. Arithmetic with a variable that has this one's name as its text is
   * left out: it is known not to be followed.
   */
  #use(name: string): string {
    const v = () =>
      this.#one(
        () => `"$${name}"`,
        () => `"$${name}"`,
        () => `"\${${name}}"`,
        () => `$${name}`,
        () => `"\${${name}:-x}"`,
        () => `"a $${name}"`,
      );
    const code = () =>
      this.#one(
        () => `"$${name}"`,
        () => `"\${${name}}"`,
        () => `"echo $${name}"`,
        () => `"$${name} x"`,
        () => `"\${${name}#z}"`,
        () => `'$'${name}`,
        () => `\\$${name}`,
      );
    const runs = () =>
      this.#one(
        () => `eval ${code()}`,
        () => `eval echo ${code()}`,
        () => `command eval ${code()}`,
        () => `builtin eval ${code()}`,
        () => `eval -- ${code()}`,
        () => `sh -c ${code()}`,
        () => `bash -c ${code()}`,
        () => `$SHELL -c ${code()}`,
        () => `"\${SHELL:-sh}" -c ${code()}`,
        () => `env sh -c ${code()}`,
        () => `env A=b bash -ec ${code()}`,
        () => `exec sh -c ${code()}`,
        () => `sudo -u root sh -c ${code()}`,
        () => `sudo bash -c ${code()}`,
        () => `timeout 5 sh -c ${code()}`,
        () => `nice -n 5 sh -c ${code()}`,
        () => `nohup bash -c ${code()} >/dev/null`,
        () => `stdbuf -oL sh -c ${code()}`,
        () => `ssh host ${code()}`,
        () => `ssh -o A=b host -- ${code()}`,
        () => `su - user -c ${code()}`,
        () => `trap ${code()} EXIT`,
        () => `trap -- ${code()} 0; exit`,
        () => `xargs -I{} sh -c {} <<<${code()}`,
        () => `echo ${code()} | xargs -n1 sh -c`,
        () => `echo ${code()} | sh`,
        () => `echo ${code()} | sudo bash -s`,
        () => `printf '%s\\n' ${code()} | tr a a | bash -`,
        () => `sh <<E7\n$${name}\nE7`,
        () => `sh -s <<<${code()}`,
        () => `bash <(echo ${code()})`,
        () => `. /dev/stdin <<E7\n$${name}\nE7`,
        () => `source <(echo ${code()})`,
        () => `echo ${code()} > >(sh)`,
        () => `echo ${code()} | tee >(sh) >/dev/null`,
        () => `find . -maxdepth 0 -exec sh -c ${code()} \\;`,
        () => `find . -maxdepth 0 -exec ${v()} \\;`,
        () => `find . -maxdepth 0 ${v()}`,
        () => `awk ${code()} </dev/null`,
        () => `awk "BEGIN { print \\"$${name}\\" }"`,
        () => `sed "s/a/$${name}/" <<E7\na\nE7`,
        () => `sed -e ${v()} </dev/null`,
        () => `perl -e ${code()}`,
        () => `python3 -c ${code()}`,
        () => v(),
        () => `${v()} x`,
        () => `command ${v()}`,
        () => `exec ${v()}`,
        () => `env ${v()}`,
        () => `sudo ${v()}`,
        () => `{ ${v()}; }`,
        () => `! ${v()}`,
        () => `if ${v()}; then :; fi`,
        () => `A=b ${v()}`,
        () => `>/dev/null ${v()}`,
        () => `PATH=$PATH:. ${v()}`,
        () => `(${v()})`,
        () => `$(echo ${v()})`,
        () => `\`echo ${v()}\``,
        () => `echo $(( ${name} + 1 ))`,
        () => `echo $(( $${name} ))`,
        () => `echo "$((${v()}))"`,
        () => `(( ${name} > 1 ))`,
        () => `(( b = $${name} )) || true`,
        () => `for ((i=${name}; i<3; i++)); do break; done`,
        () => `echo $[ ${name} ]`,
        () => `echo "\${r[${name}]}"`,
        () => `echo "\${r[$${name}]}"`,
        () => `r[$${name}]=1`,
        () => `r[${name}]=1`,
        () => `r=([$${name}]=1)`,
        () => `echo "\${line:${name}}"`,
        () => `echo "\${line:0:$${name}}"`,
        () => `echo "\${!${name}}"`,
        () => `echo "\${${name}@P}"`,
        () => `echo "\${${name}@E}"`,
        () => `[ ${v()} -gt 1 ]`,
        () => `[ 1 -lt ${v()} ]`,
        () => `test ${v()} -eq 1`,
        () => `[[ ${v()} -eq 1 ]]`,
        () => `[[ -n x && ${name} -ge 1 ]]`,
        () => `[[ -v ${v()} ]]`,
        () => `[ -v ${v()} ]`,
        () => `test -v ${v()}`,
        () => `[[ -t ${v()} ]]`,
        () => `[ -t ${v()} ]`,
        () => `[ -n ${v()} -a ${v()} = x ]`,
        () => `let b=${v()}`,
        () => `let "b = $${name}"`,
        () => `declare -i b=${v()}`,
        () => `declare -i b; b=${v()}`,
        () => `declare "b=$${name}"`,
        () => `declare ${v()}`,
        () => `declare -a "q=$${name}"`,
        () => `declare -A q; q[$${name}]=1`,
        () => `declare -A q; q["$${name}"]=1; unset "q[$${name}]"`,
        () => `declare -A q; q[k]=1; echo "\${q[$${name}]}"; [[ -v q[$${name}] ]]`,
        () => `local ${v()}`,
        () => `export ${v()}`,
        () => `export "b=$${name}"`,
        () => `readonly ${v()}`,
        () => `typeset ${v()}`,
        () => `unset ${v()}`,
        () => `unset "r[$${name}]"`,
        () => `unset -v ${v()}`,
        () => `read ${v()} </dev/null`,
        () => `read -r r[$${name}] </dev/null`,
        () => `printf -v ${v()} %s x`,
        () => `printf -v "r[$${name}]" %s x`,
        () => `printf '%d' ${v()}`,
        () => `printf "%b" ${v()}`,
        () => `printf ${v()}`,
        () => `mapfile -t ${v()} </dev/null`,
        () => `mapfile -C ${v()} -c 1 <<<x`,
        () => `getopts ab ${v()}`,
        () => `wait ${v()}`,
        () => `wait -p ${v()}`,
        () => `kill -0 ${v()}`,
        () => `exit ${v()}`,
        () => `shift ${v()}`,
        () => `ulimit -f ${v()}`,
        () => `umask ${v()}`,
        () => `set ${v()}`,
        () => `set -o ${v()}`,
        () => `shopt -s ${v()}`,
        () => `alias k=${v()}\nk`,
        () => `alias ${v()}\nk`,
        () => `hash -p ${v()} ls`,
        () => `type ${v()}`,
        () => `cd ${v()}`,
        () => `pushd ${v()}`,
        () => `fc ${v()}`,
        () => `compgen -C ${v()}`,
        () => `compgen -W ${v()}`,
        () => `compgen -F f ${v()}`,
        () => `complete -W ${v()} k`,
        () => `enable -f ${v()} k`,
        () => `bind ${v()}`,
        () => `PS4=${v()}; set -x; :`,
        () => `PS4='$(echo '${v()}')'; set -x; :`,
        () => `PROMPT_COMMAND=${v()}`,
        () => `BASH_ENV=${v()} bash -c :`,
        () => `export ENV=${v()}; sh -c :`,
        () => `IFS=${v()}; echo $*`,
        () => `PATH=${v()}; ls`,
        () => `RANDOM=${v()}`,
        () => `SECONDS=${v()}`,
        () => `OPTIND=${v()}`,
        () => `LINENO=${v()}`,
        () => `BASH_ARGV0=${v()}`,
        () => `HISTSIZE=${v()}`,
        () => `UID=${v()}`,
        () => `BASH_CMDS[ls]=${v()}; ls`,
        () => `BASH_ALIASES[k]=${v()}`,
        () => `LANG=${v()}; LC_ALL=${v()}; echo $"text"`,
        () => `export POSIXLY_CORRECT=${v()}`,
        () => `case ${v()} in a) : ;; *) echo ${v()} ;; esac`,
        () => `case x in ${v()}) : ;; esac`,
        () => `echo ${v()} >${v()}`,
        () => `: >${v()}; ls`,
        () => `cat <${v()}`,
        () => `echo a >&${v()}`,
        () => `exec 3>${v()}`,
        () => `exec {fd}>${v()}`,
        () => `exec {${name}}>/dev/null`,
        () => `exec {r[$${name}]}>/dev/null`,
        () => `echo x {r[$${name}]}>/dev/null`,
        () => `cat <<<${v()}`,
        () => `[[ ${v()} == $${name} ]]`,
        () => `[[ ${v()} =~ $${name} ]]`,
        () => `[[ ${v()} < ${v()} || -n ${v()} ]]`,
        () => `[[ x == ${v()} && ${v()} == y ]]`,
        () => `echo "\${line#$${name}}"`,
        () => `echo "\${line/$${name}/b}"`,
        () => `echo "\${line/b/$${name}}"`,
        () => `echo "\${nothing:?$${name}}"`,
        () => `echo "\${r[@]:$${name}:1}"`,
        () => `echo "\${r[@]@Q}" "\${${name}@A}" "\${${name}@a}"`,
        () => `eval "$(echo ${v()})"`,
        () => `eval "\${${name}@A}"`,
        () => `eval "r=(\${${name}@Q})"`,
        () => `eval "b=\\$${name}"`,
        () => `eval 'b=$'${name}'; echo "$b"'`,
        () => `eval "echo \\"\\$${name}\\""`,
        () => `export ${name}; sh -c 'eval "$${name}"'`,
        () => `export ${name}; sh -c 'echo "$${name}"'`,
        () => `sh -c 'echo "$1"' x ${v()}`,
        () => `sh -c 'eval "$1"' x ${v()}`,
        () => `cat >s.sh <<E6\necho $${name}\nE6\nsh s.sh`,
        () => `echo ${v()} >s.sh; . ./s.sh`,
        () => `echo ${v()} >s.sh; sh ./s.sh`,
        () => `echo ${v()} | xargs echo`,
        () => `echo ${v()} | while read -r l; do echo "$l"; done`,
        () => `f() { eval "$1"; }; f ${v()}`,
        () => `f() { "$@"; }; f echo ${v()}`,
        () => `f() { "$@"; }; f ${v()}`,
        () => `f() { sh -c "$*"; }; f ${v()}`,
        () => `f() { shift; echo "$1"; }; f x ${v()}`,
        () => `f() { local c=$1; shift; "$c" "$@"; }; f echo ${v()}`,
        () => `f() { cat | sh; }; echo ${v()} | f`,
        () => `echo() { eval "$1"; }; echo ${v()}`,
        () => `test() { eval "$1"; }; test ${v()}`,
        () => `printf() { sh -c "$2"; }; printf '%s' ${v()}`,
        () => `cat() { sh; }; echo ${v()} | cat`,
        () => `local() { eval "$2"; }; local x ${v()}`,
        () => `r=(sh -c ${v()}); "\${r[@]}"`,
        () => `r=(echo ${v()}); "\${r[@]}"`,
        () => `c="echo $${name}"; $c`,
        () => `c="sh -c"; $c ${v()}`,
        () => `c=eval; $c ${v()}`,
        () => `c='eval '; $c"" ${v()}`,
        () => `set -- sh -c ${v()}; "$@"`,
        () => `set -- ${v()}; "$@"`,
        () => `set -- ${v()}; eval "$*"`,
        () => `set -- ${v()}; sh -c "$1"`,
        () => `r=(${v()}); eval "\${r[0]}"`,
        () => `r=(${v()}); echo $(( r ))`,
        () => `r=(${v()}); echo $(( r[0] ))`,
        () => `let b=${name}`,
        () => `let 'b = ${name} + 1'`,
        () => `declare -i b=${name}`,
        () => `declare -i b; b=${name}`,
        () => `local -i b=${name}`,
        () => `unset 'r[${name}]'`,
        () => `read 'r[${name}]' </dev/null`,
        () => `printf -v 'r[${name}]' x`,
        () => `[[ -v 'r[${name}]' ]]`,
        () => `test -v 'r[${name}]'`,
        () => `[ ${name} -eq 1 ]`,
        () => `export 'r[${name}]=1'`,
        () => `declare 'r[${name}]=1'`,
        () => `mapfile -O ${name} r </dev/null`,
        () => `r=([${name}]=1)`,
        () => `echo "\${r[@]:${name}}" "\${line:0:${name}}"`,
        () => `echo "\${r[$(( ${name} ))]}"`,
        () => `shift ${name}`,
        () => `printf '%d' ${name}`,
        () => `[[ ! 5 -lt ${name} || -z x ]]`,
        () => `wait -n -p 'r[${name}]'`,
        () => `x="$(eval "echo \\$${name}")"; eval "$x"`,
        () => `echo $(( \${#${name}} + 1 ))`,
        () => `echo $(( \${${name}%%[!0-9]*} + 1 ))`,
        () => `[ "\${${name}:-0}" -gt 5 ]`,
      );
    return this.#around(runs());
  }

  /** Puts a command into what may surround one. */
  #around(command: string): string {
    if (!this.#chance(0.3)) return command;
    return this.#one(
      () => `if true; then\n${command}\nfi`,
      () => `for i in 1; do ${command}\ndone`,
      () => `{ ${command}\n}`,
      () => `( ${command}\n)`,
      () => `b=$(${command}\n)`,
      () => `echo "$(${command}\n)"`,
      () => `true && ${command}`,
      () => `case x in x) ${command}\n;; esac`,
      () => `h() { ${command}\n}; h`,
      () => `! ${command}`,
      () => (command.includes('<<') ? command : `${command} | cat`),
      () => `true | ${command}`,
      () => this.#background(command),
      () => `cat <(${command}\n)`,
      () => `true # a comment's "quote\n${command}`,
      () => `true \\\n&& ${command}`,
      () => `cat <<E5 && ${command}\ntext $(echo a) it's "\nE5`,
      () => `: "\${nothing:-$(${command}\n)}"`,
      () => `[[ -n $(${command}\n) ]]`,
      () => `r=($(${command}\n))`,
      () => `echo $(( 1 + $(${command}\n) ))`,
      () => `cat <<E5\n$(${command}\n)\nE5`,
      () => `function h { ${command}\n}\nh`,
      () => `time ${command}`,
      () => `until ${command}\ndo break; done`,
      () => `coproc { ${command}\n}`,
      () => `if ${command}\nthen :; elif true; then :; else :; fi`,
      () => `trap '${command.replaceAll("'", "'\\''")}' EXIT`,
      () => `eval '${command.replaceAll("'", "'\\''")}'`,
      () => `sh -c '${command.replaceAll("'", "'\\''")}'`,
      () => `$(true) ${command}`,
      () => `shopt -s extglob; ${command}`,
      () => `set -e; set -u; ${command}`,
      () => `set -x; ${command}`,
      () => `IFS=:; ${command}`,
      () => `alias k='echo '\n${command}`,
    );
  }

  #statement(): string {
    if (this.#depth >= 4) return `echo ${this.#word()}`;
    this.#depth += 1;
    try {
      return this.#command();
    } finally {
      this.#depth -= 1;
    }
  }

  #command(): string {
    if (this.#chance(0.35)) return this.#around(this.#simple());
    return this.#one(
      () => this.#simple(),
      () => this.#simple(),
      () => this.#use(this.#variable()),
      () => {
        const made = this.#move(this.#variable(), this.#chance(0.5) ? undefined : this.#variable());
        return typeof made === 'string' ? made : made(this.#statement());
      },
      () => `if ${this.#statement()}; then ${this.#statement()}; else ${this.#statement()}; fi`,
      () => `if ${this.#test()}; then\n${this.#statement()}\nfi`,
      () => `${this.#test()} && ${this.#simple()}`,
      () => `${this.#test()} || { ${this.#simple()}; ${this.#pick(['return', 'exit', ':'])} 1; }`,
      () => `for ${this.#variable()} in ${this.#words(3)}; do ${this.#statement()}; done`,
      () => `while ${this.#test()}; do ${this.#statement()}; break; done`,
      () =>
        `case ${this.#word()} in\n${this.#pattern()}) ${this.#statement()} ;;\n(${this.#pattern()}|b) ${this.#statement()}\n;;\nesac`,
      () => `{ ${this.#statement()}; ${this.#statement()}; }${this.#redirects()}`,
      () => `(${this.#statement()})${this.#redirects()}`,
      () => this.#piped(' | '),
      () => this.#piped(' |& '),
      () => this.#background(this.#simple()),
      () => this.#function(),
      () => `(( ${this.#arithmetic()} ))`,
      () => `for ((i=0; i<${this.#arithmetic()}; i++)); do ${this.#statement()}; break; done`,
      () => `# ${this.#pick(["it's", 'a "comment', '$(', '`'])}\n${this.#simple()}`,
    );
  }

  #background(command: string): string {
    return command.includes('<<') ? command : `${command} &`;
  }

  #piped(operator: string): string {
    const first = this.#simple();
    return first.includes('<<') ? first : first + operator + this.#simple();
  }

  #function(): string {
    const name = this.#pick(functions);
    if (this.#functions.includes(name)) return `${name} ${this.#words(2)}`;
    const head = this.#pick([`${name}() {`, `function ${name} {`, `${name} ()\n{`]);
    const text = `${head} ${this.#statement()}\n${this.#use('1')}\n}`;
    this.#functions.push(name);
    return `${text}\n${name} ${this.#words(2)}`;
  }

  #simple(): string {
    const made = this.#one(
      () => `echo ${this.#words(3)}`,
      () => `echo ${this.#words(2)}`,
      () => `printf '%s\\n' ${this.#words(2)}`,
      () =>
        `printf ${this.#pick(["'%q '", '%s', "'%-10s|'", "'%d'", "'%b'", "'%(%F)T'", "'%*d'", "'%c'"])} ${this.#words(2)}`,
      () => `cat ${this.#words(2)}`,
      () => `grep -q ${this.#words(2)}`,
      () => `grep -e ${this.#word()} -- ${this.#word()}`,
      () => `cp -- ${this.#words(2)}`,
      () => `ls ${this.#words(2)}`,
      () => `mkdir -p ${this.#word()}`,
      () => `sort ${this.#words(2)}`,
      () => `cut -d ${this.#word()} -f 1`,
      () => `head -n ${this.#word()}`,
      () => `tr ${this.#words(2)}`,
      () => `tee -a ${this.#word()} >/dev/null`,
      () => `basename -- ${this.#word()}`,
      () => `find ${this.#words(2)} -maxdepth 0 -name ${this.#word()}`,
      () => `find . -maxdepth 0 -exec echo ${this.#word()} {} +`,
      () => `xargs ${this.#words(2)} </dev/null`,
      () => `env ${this.#variable()}=${this.#word()} ${this.#words(2)}`,
      () => `env -i ${this.#words(2)}`,
      () => `sudo -u ${this.#word()} ${this.#words(2)}`,
      () => `timeout ${this.#word()} ${this.#words(2)}`,
      () => `nice -n ${this.#word()} cat ${this.#word()}`,
      () => `command -v ${this.#word()}`,
      () => `type ${this.#word()}`,
      () => `exec 3<${this.#word()}`,
      () => `set -- ${this.#words(3)}`,
      () => `shift ${this.#arithmetic()}`,
      () => `cd ${this.#word()} && pwd`,
      () => `awk '{ print $1 }' ${this.#word()}`,
      () => `sed -n '1p' ${this.#word()}`,
      () => `docker exec c ${this.#words(2)}`,
      () => `sh s.sh ${this.#words(2)}`,
      () => `sh ${this.#words(2)}`,
      () => `. ${this.#words(2)}`,
      () => `read -r ${this.#words(2)} </dev/null`,
      () => `export ${this.#variable()}=${this.#word()}`,
      () => `${this.#variable()}=${this.#word()}`,
      () => `${this.#variable()}=${this.#word()}`,
      () => `${this.#variable()}=${this.#word()} ${this.#variable()}=${this.#word()}`,
      () => `${this.#variable()}=${this.#word()} echo ${this.#word()}`,
      () => `r=(${this.#words(3)})`,
      () => `r[${this.#arithmetic()}]=${this.#word()}`,
      () => `local ${this.#variable()}=${this.#word()}`,
      () => `declare ${this.#words(2)}`,
      () => `trap ${this.#words(2)}`,
      () => `${this.#word()} ${this.#words(2)}`,
      () => `: ${this.#words(2)}`,
      () => `let ${this.#words(2)}`,
      () => this.#test(),
      () => `eval ${this.#words(2)}`,
    );
    return made + this.#redirects();
  }

  #redirects(): string {
    if (!this.#chance(0.2)) return '';
    const inner = () => this.#inQuotes();
    return this.#one(
      () => ` >${this.#word()}`,
      () => ` >>${this.#word()} 2>&1`,
      () => ` 2>${this.#word()}`,
      () => ` >|${this.#word()}`,
      () => ` <${this.#word()}`,
      () => ` <>${this.#word()}`,
      () => ` &>${this.#word()}`,
      () => ` &>>${this.#word()}`,
      () => ` >&${this.#word()}`,
      () => ` 2>&1 >/dev/null`,
      () => ` {fd}>${this.#word()}`,
      () => ` 3<${this.#word()} 4>&-`,
      () => ` <<<${this.#word()}`,
      () => ` <<E${++this.#documents}\n${inner()} ${inner()}\nE${this.#documents}`,
      () => ` <<-E${++this.#documents}\n\t${inner()}\n\tE${this.#documents}`,
      () =>
        ` <<'E${++this.#documents}'\n$(text) it's ${this.#chance(0.1) ? inner() : ''}\nE${this.#documents}`,
      () => ` <<\\E${++this.#documents}\n\`text "\nE${this.#documents}`,
      () => ` <<E${++this.#documents} <<F\n${inner()}\nE${this.#documents}\n${inner()}\nF`,
      () => ` > >(cat)`,
      () => ` < <(echo ${this.#word()})`,
    );
  }

  #test(): string {
    const operator = this.#pick(['=', '!=', '==', '-eq', '-lt', '-nt', '-ef', '<', '=~']);
    const unary = this.#pick(['-n', '-z', '-f', '-d', '-e', '-v', '-x', '-t', '-o', '-R', '!']);
    return this.#one(
      () =>
        `[ ${this.#word()} ${this.#pick(['=', '!=', '-eq', '-gt', '-nt', '==', '-ef'])} ${this.#word()} ]`,
      () => `[ ${unary} ${this.#word()} ]`,
      () => `test ${unary} ${this.#word()}`,
      () => `[ ${this.#words(2)} ]`,
      () => `[ ! ${this.#word()} = ${this.#word()} ]`,
      () => `[ ${unary} ${this.#word()} ${this.#pick(['-a', '-o'])} ${this.#word()} = b ]`,
      () => `[[ ${this.#word()} ${operator} ${this.#word()} ]]`,
      () => `[[ ${unary} ${this.#word()} ]]`,
      () => `[[ ${this.#word()} == ${this.#word()} || ${this.#word()} ${operator} ${this.#word()} ]]`,
      () => `[[ ( ${unary} ${this.#word()} && ! ${this.#word()} ) ]]`,
      () => `[[ ${this.#word()} =~ ^(a|${this.#word()})$ ]]`,
      () => `[[ ${this.#word()} == @(a|b)* ]]`,
    );
  }

  #pattern(): string {
    return this.#one(
      () => '*',
      () => 'a|b',
      () => '[a-z]*',
      () => '"$x"',
      () => '-h|--help',
      () => this.#word(),
    );
  }

  #words(count: number): string {
    return Array.from({ length: 1 + this.#number(count) }, () => this.#word()).join(
      this.#chance(0.05) ? ' \\\n' : ' ',
    );
  }

  #arithmetic(): string {
    return this.#one(
      () => '1',
      () => 'i + 1',
      () => '$# - 1',
      () => this.#hole('number'),
      () => `${this.#hole('number')} * 2`,
      () => this.#variable(),
      () => `$${this.#variable()}`,
      () => `$(echo 1)`,
      () => `\${#${this.#variable()}}`,
      () => `(${this.#variable()} ? 1 : 2)`,
      () => `r[${this.#variable()}]`,
      () => `\${r[0]}`,
      () => `x = ${this.#variable()}`,
      () => `'1'`,
      () => `"1"`,
      () => `16#f`,
    );
  }

  /** What stands in double quotes or in a here-document. */
  #inQuotes(): string {
    const v = this.#variable();
    return this.#one(
      () => 'text',
      () => this.#hole('plain'),
      () => this.#hole('plain'),
      () => `$${v}`,
      () => `\${${v}}`,
      () => `\${${v}:-${this.#chance(0.5) ? this.#hole('plain') : 'd'}}`,
      () => `\${${v}:-"q"}`,
      () => `\${${v}#*/}`,
      () => `\${${v}%'}'*}`,
      () => `\${${v}//\\}/b}`,
      () => `$(echo ${this.#nested()})`,
      () => `\`echo ${this.#nested()}\``,
      () => `\`echo \\"${this.#nested()}\\"\``,
      () => `\`echo \\\`echo ${this.#nested()}\\\`\``,
      () => `$(( ${this.#arithmetic()} ))`,
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
    if (this.#depth >= 4) return 'a';
    this.#depth += 1;
    try {
      return this.#word();
    } finally {
      this.#depth -= 1;
    }
  }

  #word(): string {
    if (this.#chance(0.12)) return this.#part() + this.#part();
    return this.#part();
  }

  #part(): string {
    const v = this.#variable();
    return this.#one(
      () =>
        this.#pick([
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
        this.#pick([
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
        this.#pick([
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
      () => this.#hole('word'),
      () => this.#hole('word'),
      () => this.#hole('word'),
      () => `"${this.#inQuotes()}"`,
      () => `"${this.#inQuotes()}${this.#inQuotes()}"`,
      () => `"${this.#inQuotes()} ${this.#inQuotes()}"`,
      () => `"${this.#hole('plain')}"`,
      () => `$${v}`,
      () => `"$${v}"`,
      () => `"\${${v}}"`,
      () => `\${${v}:-${this.#nested()}}`,
      () => `\${${v}:+${this.#nested()}}`,
      () =>
        `"\${${v}${this.#pick(['#', '##', '%', '%%', ':-', ':=', '/a/', '//b/', '^', ',,', ':1', ': -1', '@Q', '@P', ':?'])}}"`,
      () => `\${#${v}}`,
      () => `\${!${v}}`,
      () => `"\${r[@]}"`,
      () => `"\${r[${this.#arithmetic()}]}"`,
      () => `$(${this.#depth < 4 ? this.#statement() : 'true'})`,
      () => `"$(${this.#depth < 4 ? this.#statement() : 'true'})"`,
      () => `\`echo ${this.#nested()}\``,
      () => `$(( ${this.#arithmetic()} ))`,
      () => `$[ ${this.#arithmetic()} ]`,
      () => `<(echo ${this.#nested()})`,
      () => this.#pick(['$1', '"$@"', '$#', '$?', '$$', '"$*"', '$0', '${1:-a}', '"${@:1}"', '$-', '$_']),
    );
  }

  /** Adds, drops or doubles a few characters that mean something to a shell. */
  #mutated(text: string): string {
    let mutated = text;
    for (let left = 1 + this.#number(3); left > 0; left -= 1) {
      const at = this.#number(mutated.length + 1);
      // A placeholder stays whole.
      if (/⟪\d*$/.test(mutated.slice(0, at))) continue;
      const next = mutated[at] ?? '';
      const piece = this.#pick([
        ...[
          '\\',
          '\\\n',
          "'",
          '"',
          '`',
          '$',
          '$(',
          '(',
          ')',
          '{',
          '}',
          '[',
          ']',
          ';',
          '&',
          '|',
          '<',
          '>',
          '\n',
        ],
        ...[
          ' ',
          '#',
          ' #',
          '=',
          '!',
          '~',
          '*',
          '((',
          '))',
          '[[',
          ']]',
          ';;',
          '&&',
          '||',
          '<<E\n',
          ' <<<',
          '\t',
          '\r',
        ],
        ...[
          '$$',
          '${',
          ' in ',
          ' do ',
          ' then ',
          ' }',
          '{ ',
          "$'",
          '&>',
          '>&',
          '|&',
          '2>',
          'time ',
          '! ',
          'eval ',
        ],
      ]);
      mutated =
        next !== '⟪' && this.#chance(0.3)
          ? mutated.slice(0, at) + mutated.slice(at + 1)
          : mutated.slice(0, at) + piece + mutated.slice(at);
    }
    return mutated;
  }
}
