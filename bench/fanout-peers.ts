// What fan-out is compared with: a loop over the bare library, OpenSSH's client started by xargs, and Ansible.
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureAnsible } from '../test/support/packages.ts';
import type { BenchSystem } from './bench-system.ts';
import type { LoopRound } from './ssh2-loop.ts';

export interface Measured {
  elapsedMs: number;
  /** User and system time of the client only. */
  cpuS: number;
}

export class FanoutPeers {
  readonly #system: BenchSystem;
  readonly #hosts: string[];
  readonly #folder: string;
  readonly #loop: ChildProcess;
  #ansible = '';

  private constructor(system: BenchSystem, hosts: string[], name: string) {
    this.#system = system;
    this.#hosts = hosts;
    this.#folder = join(system.dir, `peers-${name}`);
    this.#loop = fork(join(import.meta.dirname, 'ssh2-loop.ts'), { execArgv: ['--import', 'tsx'] });
  }

  static async start(system: BenchSystem, hosts: string[], name: string): Promise<FanoutPeers> {
    const peers = new FanoutPeers(system, hosts, name);
    await peers.#prepare();
    return peers;
  }

  stop(): void {
    this.#loop.disconnect();
  }

  async #prepare(): Promise<void> {
    const { target } = this.#system;
    const found = await ensureAnsible();
    if ('missing' in found) throw new Error(found.missing);
    this.#ansible = found.path.replace(/-inventory$/, '');
    await mkdir(this.#folder, { mode: 0o700 });
    await writeFile(join(this.#folder, 'known_hosts'), `bench ${target.hostKeyLine}\n`);
    await writeFile(join(this.#folder, 'hosts'), this.#hosts.map((host) => `${host}\n`).join(''));
    const variables = `ansible_port=${target.port} ansible_user=${target.user} ansible_ssh_private_key_file=${this.#system.keyFile}`;
    await writeFile(
      join(this.#folder, 'inventory'),
      this.#hosts.map((host) => `${host} ${variables}\n`).join(''),
    );
    await chmod(this.#system.keyFile, 0o600);
  }

  #sshOptions(): string[] {
    return [
      '-o StrictHostKeyChecking=yes',
      `-o UserKnownHostsFile=${this.#folder}/known_hosts`,
      '-o HostKeyAlias=bench',
      '-o IdentitiesOnly=yes',
      '-o Ciphers=aes128-gcm@openssh.com',
    ];
  }

  async ssh2Loop({ concurrency, warm }: Pick<LoopRound, 'concurrency' | 'warm'>): Promise<Measured> {
    const { port, user, privateKey } = this.#system.target;
    this.#loop.send({ hosts: this.#hosts, port, user, privateKey, concurrency, warm });
    const [measured] = (await once(this.#loop, 'message')) as [Measured];
    return measured;
  }

  xargsSsh(concurrency: number): Promise<Measured> {
    const { port, user } = this.#system.target;
    const ssh = `ssh -F none -o BatchMode=yes ${this.#sshOptions().join(' ')} -p ${port} -i ${this.#system.keyFile}`;
    return measure(`xargs -a ${this.#folder}/hosts -P${concurrency} -I{} ${ssh} ${user}@{} true`);
  }

  /** Uses `raw`, which runs a command without Python on the target. Warm: over connections that Ansible keeps open. */
  ansibleRaw(forks: number, { warm }: { warm: boolean }): Promise<Measured> {
    const keep = warm ? 'ControlMaster=auto -o ControlPersist=600s' : 'ControlMaster=no';
    return measure(
      `${this.#ansible} all -i ${this.#folder}/inventory -m raw -a true -f ${forks} > /dev/null`,
      {
        ANSIBLE_SSH_ARGS: `-F none -o ${keep} ${this.#sshOptions().join(' ')}`,
        ANSIBLE_SSH_CONTROL_PATH_DIR: join(this.#folder, 'control'),
        ANSIBLE_LOCAL_TEMP: join(this.#folder, 'tmp'),
        ANSIBLE_HOST_KEY_CHECKING: 'True',
      },
    );
  }

  /** Closes the connections that Ansible keeps open. */
  async endAnsibleMasters(): Promise<void> {
    await measure(`pkill -f ${this.#folder}/[c]ontrol || true`);
  }
}

/** Runs a shell command and measures the CPU time of everything that it starts and waits for. */
async function measure(command: string, env: Record<string, string> = {}): Promise<Measured> {
  const startedMs = performance.now();
  const child = spawn('bash', ['-c', `${command}\ncode=$?; times; exit $code`], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
  let text = '';
  child.stdout.on('data', (bytes: Buffer) => {
    text += bytes.toString();
  });
  const [code] = (await once(child, 'close')) as [number];
  if (code !== 0) throw new Error(`${command.slice(0, 60)} … ended with ${code}`);
  const elapsedMs = performance.now() - startedMs;
  const ofChildren = text.trim().split('\n').at(-1) ?? '';
  const seconds = [...ofChildren.matchAll(/(\d+)m([\d.]+)s/g)].map(([, m, s]) => Number(m) * 60 + Number(s));
  return { elapsedMs, cpuS: seconds.reduce((sum, each) => sum + each, 0) };
}
