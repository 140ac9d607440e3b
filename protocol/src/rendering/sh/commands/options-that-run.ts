// Options whose value is a command, or code that a program loads: `tar --to-command=…`, `git -c core.pager=…`.

import { literalOf, literalStart, type Word } from '../reading/syntax.ts';
import { baseName, withoutVersion } from './interpreters.ts';

const optionsThatRun =
  /^--(to-command|checkpoint-action|(use-)?compress-program|info-script|new-volume-script|rsh-command|exec|exec-path|upload-pack|receive-pack|command|pager|editor|init-file|rcfile|config-env|post(rotate)?-?script|diff-program|agent-program|dirmngr-program|photo-viewer)(=|$)/;

/**
 * Programs whose short options, or options with another meaning elsewhere, name a command. A short one may stand behind
 * others that take no value. Some have values that are harmless.
 */
const rows: readonly (readonly [names: readonly string[], options: RegExp, harmless?: RegExp])[] = [
  [
    ['git'],
    /^(-c|-u|-x|--config|--template|--\w+-filter|--extcmd|--sendmail-cmd|--open-files-in-pager|foreach|run)(=|$)|^-O/,
  ],
  [['nc', 'netcat'], /^-[46bCDdFhklNnrStUuvz]*[ce]/],
  [['ncat'], /^-[46bCdhklnrtuvz]*[ce]|^--(sh|lua)-exec(=|$)/],
  [['split'], /^--filter(=|$)/],
  // What it writes goes to a command if the name of the file begins with a bar.
  [['strace'], /^-[a-z]*o/],
  // Without a dash, too.
  [['tar', 'bsdtar', 'gtar'], /^-[AcdrtuxvzjJpPkmhSw]*[IF]|^[AcdrtuxvzjJpPkmhSw]+[IF]f?$/],
  [['tcpdump'], /^-[AbdDefhHIJKlLnNOpqStuUvxX#]*z/],
  [['iptables', 'ip6tables', 'iptables-restore', 'ip6tables-restore', 'ebtables'], /^(-M|--modprobe(=|$))/],
  [
    ['rpm', 'rpmbuild', 'rpmspec', 'rpmsign', 'rpmkeys'],
    /^(-[abchilpqtuvFUV]*[ED]|--(pipe|eval|define|macros|load)(=|$))/,
  ],
  [['wget'], /^(-[bcdFhHkKLmNnpqrSvVxE46]*e|--(use-askpass|execute|config)(=|$))/],
  [
    ['apt', 'apt-get', 'apt-cache', 'apt-cdrom', 'aptitude'],
    /^(-[bdfhmqsuvVy]*[oc]|--(option|config-file)(=|$))/,
    /^Acquire::((https?|ftp)::(Proxy|Timeout)|Retries)=/i,
  ],
  [['dpkg'], /^--(pre-invoke|post-invoke|status-logger)(=|$)/],
  [
    ['gcc', 'g++', 'cc', 'c++', 'cpp', 'gfortran', 'clang', 'clang++'],
    /^(-wrapper|--?specs|-B|-fplugin|-fpass-plugin|-load|-Xlinker|-Wl,|-fuse-ld|--ld-path|--config)/,
  ],
  [['go'], /^--?(exec|toolexec|vettool)(=|$)/],
  [['zip'], /^(-[0-9A-Za-z]*TT|--unzip-command(=|$))/],
  [
    ['openvpn'],
    /^--(up|down|config|plugin|route-up|route-pre-down|ipchange|iproute|engine|providers|learn-address|client-connect|client-disconnect|client-crresponse|tls-verify|tls-crypt-v2-verify|auth-user-pass-verify)$/,
  ],
  [['aria2c'], /^--(on-[\w-]+|conf-path)(=|$)/],
  [['helm'], /^--post-renderer(-args)?(=|$)/],
  [['nmap'], /^--(script|datadir)(=|$)/],
  [['dialog'], /^--file(=|$)/],
  // These become part of a shell's command line.
  [['pg_ctl', 'pg_ctlcluster'], /^(-[csWw]*[lop]|--(log|options)(=|$))/],
  // A library of OpenSSL, or a file that may name one.
  [['curl'], /^(-[#0-9aBfgGiIjJklLMnNOpqRsSvZ]*K|--(config|engine)(=|$))/],
  [
    ['dnf', 'dnf5', 'yum', 'microdnf'],
    /^(-[46bCqvyh]*c|--(config|setopt)(=|$))/,
    /^([\w-]+\.)?(proxy|timeout|retries|sslverify|install_weak_deps|keepcache|tsflags)=/,
  ],
  [['ssh-keygen'], /^-[ABHLceghilopquvy]*[Dw]/],
  [['ssh-add'], /^-[cCDdKklLqvXx]*[sS]/],
  [['openssl'], /^(engine$|--?(engine|provider|provider-path|config|engine_impl|ssl_client_engine)(=|$))/],
  [['cmake'], /^-[CP]/],
  [['ip'], /^--?b(a|at|atc|atch)?$/],
  // They run mount.…, mkfs.… and fsck.…; for fuse, the source names the command.
  [['mount'], /^(-[afFhilnrsvVw]*t|--types(=|$)|fuse3?$)/],
  [['mkfs', 'fsck'], /^(-[ACMNPRTVlrsvV]*t|--type(=|$))/],
  [['npm', 'npx', 'pnpm', 'yarn', 'bunx'], /^(-c|--(call|package|script-shell|node-options)(=|$))/],
  [['capsh'], /^--shell(=|$)/],
  [['start-stop-daemon'], /^--startas(=|$)/],
];
const byName = new Map(rows.flatMap((row) => row[0].map((name) => [name, row] as const)));

/** Whether the word is the value of such an option: after its `=`, in the same word, or the following word. */
export function runsOption(name: string | undefined, word: Word, before: Word | undefined): boolean {
  const base = name === undefined ? '' : baseName(name);
  const [, own, harmless] = byName.get(base) ?? byName.get(withoutVersion(base)) ?? [];
  const text = literalStart(word);
  const option = literalOf(before) ?? '';
  return [optionsThatRun, own].some((options) => {
    const here = options?.exec(text)?.[0];
    if (here !== undefined) return harmless?.test(text.slice(here.length)) !== true;
    // If the previous word goes on behind its option, it has the value.
    const isValue = options?.exec(option)?.[0] === option && option !== '' && !option.endsWith('=');
    return isValue && harmless?.test(text) !== true;
  });
}
