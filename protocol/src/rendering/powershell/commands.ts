// What PowerShell commands do with a value, by their names. Published in docs/substitution.md.
import { interpreterOf, runsSomething } from '../sh/commands/interpreters.ts';

/** Verbs that cmdlets begin with; any other word with a dash may be the name of a program. */
const verbs = new Set(
  `add approve assert backup block build checkpoint clear close compare complete compress confirm connect convert convertfrom
  convertto copy debug deny deploy disable disconnect dismount edit enable enter exit expand export find foreach format get
  grant group hide import initialize install invoke join limit lock measure merge mount move new open optimize out ping pop
  protect publish push read receive redo register remove rename repair request reset resize resolve restart restore resume
  revoke save search select send set show skip sort split start step stop submit suspend switch sync tee test trace unblock
  undo uninstall unlock unprotect unpublish unregister update use wait watch where write`.split(/\s+/),
);

/** Cmdlets by the short names that people write. */
const aliases: Readonly<Record<string, string>> = {
  iex: 'invoke-expression',
  icm: 'invoke-command',
  saps: 'start-process',
  start: 'start-process',
  sajb: 'start-job',
  ipmo: 'import-module',
  nal: 'new-alias',
  sal: 'set-alias',
  sv: 'set-variable',
  set: 'set-variable',
  nv: 'new-variable',
  gv: 'get-variable',
  iwmi: 'invoke-wmimethod',
  icim: 'invoke-cimmethod',
  etsn: 'enter-pssession',
  nsn: 'new-pssession',
  ii: 'invoke-item',
  gwmi: 'get-wmiobject',
  gcim: 'get-ciminstance',
  iwr: 'invoke-webrequest',
  irm: 'invoke-restmethod',
  si: 'set-item',
  ni: 'new-item',
  ac: 'add-content',
  cpi: 'copy-item',
  copy: 'copy-item',
  cp: 'copy-item',
  mi: 'move-item',
  move: 'move-item',
  mv: 'move-item',
  rni: 'rename-item',
  ren: 'rename-item',
  ri: 'remove-item',
  rm: 'remove-item',
  del: 'remove-item',
  erase: 'remove-item',
  rd: 'remove-item',
  rmdir: 'remove-item',
  gi: 'get-item',
  gci: 'get-childitem',
  dir: 'get-childitem',
  ls: 'get-childitem',
  gc: 'get-content',
  cat: 'get-content',
  type: 'get-content',
  cd: 'set-location',
  chdir: 'set-location',
  sl: 'set-location',
  pushd: 'push-location',
  popd: 'pop-location',
  md: 'new-item',
  mkdir: 'new-item',
  echo: 'write-output',
  write: 'write-output',
  sleep: 'start-sleep',
  kill: 'stop-process',
  spps: 'stop-process',
  gps: 'get-process',
  ps: 'get-process',
  gsv: 'get-service',
  sasv: 'start-service',
  spsv: 'stop-service',
  select: 'select-object',
  where: 'where-object',
  '?': 'where-object',
  foreach: 'foreach-object',
  '%': 'foreach-object',
  sort: 'sort-object',
  group: 'group-object',
  measure: 'measure-object',
  tee: 'tee-object',
  fl: 'format-list',
  ft: 'format-table',
  sls: 'select-string',
  oh: 'out-host',
};

export interface PowershellInterpreter {
  names: readonly string[];
  /** Continues a sentence that begins with its name. */
  why: string;
  fix: string;
}

const byName = 'Set it in the environment of the step, where the program finds it by its name.';

/** Commands in whose arguments, script blocks and input no value may stand. */
export const powershellInterpreters: readonly PowershellInterpreter[] = [
  {
    names: ['invoke-expression'],
    why: 'runs it as a script',
    fix: 'Write the command itself, with the value as its argument.',
  },
  {
    names: ['powershell', 'pwsh', 'powershell_ise'],
    why: 'reads it as a script again',
    fix: 'Write its commands here; the step is a PowerShell already.',
  },
  {
    names: ['cmd', 'command'],
    why: 'reads it as a command line, where & and | have a meaning',
    fix: 'Call the program itself, or use a step with shell: cmd.',
  },
  {
    names: ['start-process', 'invoke-item'],
    why: 'makes a command line of it without quoting',
    fix: 'Call the program itself: & "C:\\path\\program.exe" "…".',
  },
  {
    names: [
      'invoke-command',
      'start-job',
      'start-threadjob',
      'enter-pssession',
      'new-pssession',
      'invoke-rscommand',
    ],
    why: 'runs elsewhere, where the value is not known',
    fix: 'Make that host a target, or run the command itself here.',
  },
  {
    names: [
      'add-type',
      'import-module',
      'new-module',
      'import-dscresource',
      'update-typedata',
      'update-formatdata',
    ],
    why: 'loads it as code',
    fix: 'Name what is to be loaded itself.',
  },
  {
    names: [
      'set-alias',
      'new-alias',
      'set-variable',
      'new-variable',
      'clear-variable',
      'remove-variable',
      'set-psbreakpoint',
    ],
    why: 'takes it for a name, or for what a name means',
    fix: 'Set a variable by itself: $name = "…".',
  },
  {
    names: [
      'register-objectevent',
      'register-engineevent',
      'register-wmievent',
      'register-cimindicationevent',
      'register-scheduledtask',
      'register-scheduledjob',
      'set-scheduledtask',
      'new-scheduledtaskaction',
      'new-service',
      'set-service',
    ],
    why: 'runs it later',
    fix: 'Have a script of your own run, and hand the value over by a file.',
  },
  {
    names: ['invoke-wmimethod', 'invoke-cimmethod', 'set-wmiinstance', 'new-ciminstance', 'set-ciminstance'],
    why: 'can start a program with it',
    fix: 'Use the cmdlet that is made for it.',
  },
  {
    names: ['new-object'],
    why: 'makes an object of any type with it',
    fix: 'Write the type itself: [Type]::new("…"); and give a query its values by parameters: $command.Parameters.AddWithValue("@name", …).',
  },
  {
    names: ['invoke-sqlcmd', 'sqlcmd', 'osql', 'bcp'],
    why: 'runs it as a query',
    fix: 'Use parameters of the query, with System.Data.SqlClient.',
  },
  {
    names: [
      ...[
        'wmic',
        'winrs',
        'winrm',
        'psexec',
        'psexec64',
        'paexec',
        'schtasks',
        'at',
        'sc',
        'runas',
        'forfiles',
        'reg',
      ],
      ...[
        'mshta',
        'rundll32',
        'regsvr32',
        'wscript',
        'cscript',
        'msbuild',
        'installutil',
        'bitsadmin',
        'certutil',
      ],
      ...['bash', 'wsl', 'start', 'msiexec', 'netsh', 'diskpart', 'robocopy'],
    ],
    why: 'can run it, or reads it by its own rules',
    fix: byName,
  },
];
const interpretersByName = new Map(
  powershellInterpreters.flatMap((each) => each.names.map((name) => [name, each] as const)),
);
/** Cmdlets called Invoke-… that don't run anything. */
const harmlessInvoke = new Set(['invoke-webrequest', 'invoke-restmethod']);
/** `-Filter` of these is a query language. */
const takesFilter = /^(get|search|set|remove)-(wmi|cim|ad|gp)\w+$/;
/** Parameters that take a query or code, whichever cmdlet they belong to. */
const codeParameters = [
  ...['-query', '-wql', '-ldapfilter', '-filterxpath', '-filterxml', '-xpath', '-command', '-commandline'],
  ...['-encodedcommand', '-scriptblock', '-initializationscript', '-binarypathname', '-expression'],
];

/** Whether a parameter takes a query or code; parameters may be abbreviated, and dashes may be typographic. */
export function takesCode(parameter: string, cmdlet: string): boolean {
  const name = parameter
    .toLowerCase()
    .replace(/^[–—―]/, '-')
    .replace(/:.*$/s, '');
  if (name.length > 1 && '-filter'.startsWith(name)) return takesFilter.test(cmdlet);
  if (name.length < 4)
    return takesFilter.test(cmdlet) && codeParameters.some((each) => each.startsWith(name));
  return codeParameters.some((each) => each.startsWith(name));
}

/** Types that turn text into code, a query or another type. */
export const codeTypes =
  /^(system\.management\.automation\.|system\.)?(scriptblock|powershell|type|wmi|wmiclass|wmisearcher|adsi|adsisearcher|cimclass)$/i;
/** Types that turn text into a query or a command line, by the ends of their names. */
export const typesOfQueries =
  /(command|adapter|searcher|query|startinfo|directoryentry|eventwatcher|management(object|class|path))$/i;
/**
 * Constructors of these also accept objects. A variable set this way holds an object, not text, whatever it was made
 * from.
 */
export const typesOfObjects = /(connection|command|adapter|startinfo)$/i;
/** Variables that determine what runs: `$env:PATH`, `$function:prompt`. */
export const namesThatRun =
  /^(function:|alias:|env:(path|pathext|psmodulepath|comspec|windir|systemroot)$|psdefaultparametervalues$)/;
/** Properties whose text is run by the object that has them. */
export const propertiesThatRun = /(^|\.)(commandtext|arguments|commandline|filename|filter|searchfilter)$/i;
/** Cmdlets whose paths may name a function or a variable instead of a file. */
export const takesPath = /^[a-z]+-(item|itemproperty|childitem|content|path|location|file)$|^tee-object$/;

/** Methods and properties that run what they are given, or find something to run by its name. */
export const membersThatRun: ReadonlySet<string> = new Set([
  ...[
    'create',
    'start',
    'run',
    'exec',
    'shellexecute',
    'invokescript',
    'newscriptblock',
    'addscript',
    'addcommand',
  ],
  ...[
    'addstatement',
    'expandstring',
    'invokeexpression',
    'invokecommand',
    'invokewithcontext',
    'invokemember',
  ],
  ...[
    'load',
    'loadfrom',
    'loadfile',
    'loadwithpartialname',
    'createinstance',
    'gettype',
    'getmethod',
    'invoke',
  ],
  ...[
    'parseinput',
    'compileassemblyfromsource',
    'deserialize',
    'evaluate',
    'methods',
    'properties',
    'getcmdlet',
  ],
  // From ADO, WMI and shells through COM, and from SQL Server's objects.
  ...[
    'execute',
    'executestatement',
    'executenonquery',
    'executewithresults',
    'executescalar',
    'executereader',
  ],
  ...['execquery', 'execnotificationquery', 'eval', 'shell'],
  ...['createpipeline', 'createnestedpipeline', 'getcommand', 'createobject', 'bindtomoniker'],
  ...['addcode', 'executeshellcommand', 'executeexcel4macro', 'sendkeys'],
]);

/** Methods whose text is XPath. */
export const membersThatQuery: ReadonlySet<string> = new Set(['selectnodes', 'selectsinglenode']);

export type CommandKind = 'cmdlet' | 'exe' | 'any';

export interface KnownCommand {
  name: string;
  kind: CommandKind;
  interpreter?: Pick<PowershellInterpreter, 'why' | 'fix'>;
}

/** Cmdlets that give commands other names. */
export const makesAlias: ReadonlySet<string> = new Set(['set-alias', 'new-alias']);

/**
 * @param functions Functions of the script itself, in lowercase.
 * @param words Its arguments; undefined are those that aren't plain words.
 */
export function commandOf(
  written: string,
  functions: ReadonlySet<string>,
  words: readonly (string | undefined)[],
): KnownCommand {
  const whole = written.toLowerCase();
  if (functions.has(whole)) return { name: written, kind: 'cmdlet' };
  const base = whole.slice(Math.max(whole.lastIndexOf('\\'), whole.lastIndexOf('/')) + 1);
  const program = base.replace(/\.(exe|com)$/, '');
  const isProgram = base !== program;
  const name = isProgram ? program : Object.hasOwn(aliases, base) ? (aliases[base] as string) : base;
  const interpreter = interpretersByName.get(name) ?? interpreterOfOthers(name, words);
  const kind = isProgram ? 'exe' : isCmdlet(name) ? 'cmdlet' : 'any';
  return { name: written, kind, ...(interpreter === undefined ? {} : { interpreter }) };
}

/** Returns the name of the command that is meant: in lower case, without its module, and not by an alias. */
export function nameOf(written: string): string {
  const base = written.toLowerCase().slice(written.lastIndexOf('\\') + 1);
  return Object.hasOwn(aliases, base) ? (aliases[base] as string) : base;
}

function interpreterOfOthers(
  name: string,
  words: readonly (string | undefined)[],
): Pick<PowershellInterpreter, 'why' | 'fix'> | undefined {
  if (/^invoke-/.test(name) && !harmlessInvoke.has(name)) {
    return { why: 'may run it', fix: 'Write the command that it runs, with the value as its argument.' };
  }
  if (isCmdlet(name)) return undefined;
  const found = interpreterOf(name);
  if (found === undefined || found.arguments === 'test' || found.names.includes('printf')) return undefined;
  if (!runsSomething(found, words)) return undefined;
  return { why: found.why, fix: byName };
}

function isCmdlet(name: string): boolean {
  return /^[a-z]+-[a-z]\w*$/.test(name) && verbs.has(name.slice(0, name.indexOf('-')));
}
