// A segment from a firewall's point of view, in three network namespaces of this machine:
//
//   server 10.201.1.1 ──── 10.201.1.2 agent 10.201.2.1 ──── 10.201.2.2 target
//
// Nobody forwards and nobody has a default route, so server and target can't reach each other. The agent's host lets
// nothing in, and nothing out except to one given port and to SSH in the segment.
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const serverAddress = '10.201.1.1';
export const agentAddress = '10.201.1.2';
export const targetAddress = '10.201.2.2';

export interface SegmentNetwork {
  readonly server: string;
  readonly agent: string;
  readonly target: string;
  /** Sets the only port outside the segment that the agent's host may connect to, at the server's address. */
  allowOut(port: number): Promise<void>;
  /** Returns how many packets the agent's host tried to send elsewhere. */
  refusedOut(): Promise<number>;
  /** Returns TCP sockets in a namespace, as `ss -Htnp` lists them. */
  sockets(namespace: string, state: 'listening' | 'established'): Promise<Socket[]>;
  /** Tries a TCP connection from a namespace; returns the error code, or `connected`. */
  tryConnect(namespace: string, address: string, port: number): Promise<string>;
  remove(): Promise<void>;
}

export interface Socket {
  local: string;
  peer: string;
  process: string;
}

/** Returns the command line that runs a program inside a namespace. Its mounts are private. */
export function inside(namespace: string, command: readonly string[]): string[] {
  return ['ip', 'netns', 'exec', namespace, ...command];
}

export async function makeSegmentNetwork(): Promise<SegmentNetwork> {
  const names = ['server', 'agent', 'target'].map((name) => `opsc-${process.pid}-${name}`);
  const [server = '', agent = '', target = ''] = names;
  const remove = async () => {
    for (const name of names) await run('ip', ['netns', 'del', name]).catch(() => {});
  };
  try {
    for (const name of names) {
      await run('ip', ['netns', 'add', name]);
      for (const setting of ['ipv4/ip_forward=0', 'ipv6/conf/all/disable_ipv6=1']) {
        const [path, value] = setting.split('=');
        await within(name, ['sh', '-c', `echo ${value} > /proc/sys/net/${path}`]);
      }
      await within(name, ['ip', 'link', 'set', 'lo', 'up']);
    }
    await join([server, 'up0', serverAddress], [agent, 'out0', agentAddress]);
    await join([agent, 'in0', '10.201.2.1'], [target, 'up0', targetAddress]);
    return {
      server,
      agent,
      target,
      allowOut: (port) => allowOut(agent, port),
      refusedOut: () => refusedOut(agent),
      sockets: listSockets,
      tryConnect,
      remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function within(namespace: string, command: readonly string[]): Promise<string> {
  const [file = '', ...args] = inside(namespace, command);
  return (await run(file, args)).stdout;
}

type End = [namespace: string, device: string, address: string];

async function join(a: End, b: End): Promise<void> {
  await run('ip', ['link', 'add', a[1], 'netns', a[0], 'type', 'veth', 'peer', 'name', b[1], 'netns', b[0]]);
  for (const [namespace, device, address] of [a, b]) {
    await within(namespace, ['ip', 'address', 'add', `${address}/24`, 'dev', device]);
    await within(namespace, ['ip', 'link', 'set', device, 'up']);
  }
}

async function allowOut(agent: string, port: number): Promise<void> {
  const rules = `
    table inet segment
    delete table inet segment
    table inet segment {
      chain input {
        type filter hook input priority filter; policy drop;
        iif lo accept
        ct state established,related accept
      }
      chain forward { type filter hook forward priority filter; policy drop; }
      chain output {
        type filter hook output priority filter; policy drop;
        oif lo accept
        ct state established,related accept
        ip daddr ${serverAddress} tcp dport ${port} accept
        oifname in0 ip daddr ${targetAddress} tcp dport 22 accept
        counter reject
      }
    }`;
  const file = `/run/${agent}.nft`;
  await writeFile(file, rules);
  await within(agent, ['nft', '-f', file]);
  await run('rm', [file]);
}

async function refusedOut(agent: string): Promise<number> {
  const text = await within(agent, ['nft', 'list', 'chain', 'inet', 'segment', 'output']);
  const packets = /counter packets (\d+) bytes/.exec(text)?.[1];
  if (packets === undefined) throw new Error(`no counter in:\n${text}`);
  return Number(packets);
}

async function listSockets(namespace: string, state: 'listening' | 'established'): Promise<Socket[]> {
  const text = await within(namespace, ['ss', '-Htnp', 'state', state]);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [, , local = '', peer = '', process = ''] = line.trim().split(/\s+/);
      return { local, peer, process };
    });
}

const connectScript = `
  const [address, port] = process.argv.slice(1);
  const socket = require('node:net').connect({ host: address, port: Number(port), timeout: 1500 });
  const say = (word) => { process.stdout.write(word); process.exit(0); };
  socket.once('connect', () => say('connected'));
  socket.once('timeout', () => say('ETIMEDOUT'));
  socket.once('error', (error) => say(error.code));`;

function tryConnect(namespace: string, address: string, port: number): Promise<string> {
  return within(namespace, [process.execPath, '-e', connectScript, address, String(port)]);
}
