// The demo's target: an SSH server on the loopback interface that accepts a single key and runs commands as a user
// without rights. For trying the product out on one machine; real targets run OpenSSH.
import { timingSafeEqual } from 'node:crypto';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import ssh2, { type AuthContext, type Connection, type ParsedKey, type ServerChannel } from 'ssh2';
import { type DemoAccount, demoAccount } from './ssh-server-account.ts';
import { DemoSession } from './ssh-server-session.ts';

export interface DemoSshServerOptions {
  /** From `generateDemoKeys()`; the caller keeps it, so that the host key stays the same. */
  hostKey: string;
  /** Public key line of the only key that may log in. */
  authorizedKey: string;
  /** The name to log in with; `demo` by default. It need not exist on the system: commands run as `account`. */
  user?: string;
  /** The system user that commands run as if this process is root; `nobody` by default. */
  account?: string;
  /** Any free port by default. */
  port?: number;
  limits?: Partial<DemoSshLimits>;
}

export interface DemoSshLimits {
  connections: number;
  /** Sessions on one connection; the default of OpenSSH's MaxSessions is 10, too. */
  sessions: number;
  /** Time for a connection to authenticate, in ms. */
  authenticationMs: number;
  authenticationTries: number;
}

export interface DemoSshServer {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** The line that a target accepts as its host key. */
  readonly hostKeyLine: string;
  /** The system user that commands run as. */
  readonly account: string;
  /** Ends every command with SIGKILL, and closes every connection. */
  close(): Promise<void>;
}

const defaultLimits: DemoSshLimits = {
  connections: 32,
  sessions: 10,
  authenticationMs: 10_000,
  authenticationTries: 6,
};

/** Starts the server. Rejects if commands would run as root. */
export async function startDemoSshServer(options: DemoSshServerOptions): Promise<DemoSshServer> {
  const authorized = parseKey(options.authorizedKey);
  const hostKey = parseKey(options.hostKey);
  const account = await demoAccount(options.account ?? 'nobody');
  const server = new Server(authorized, options.user ?? 'demo', account, {
    ...defaultLimits,
    ...options.limits,
  });
  try {
    const port = await server.listen(options.hostKey, options.port ?? 0);
    return {
      host: '127.0.0.1',
      port,
      user: options.user ?? 'demo',
      hostKeyLine: `${hostKey.type} ${hostKey.getPublicSSH().toString('base64')}`,
      account: account.name,
      close: () => server.close(),
    };
  } catch (error) {
    await account.remove();
    throw error;
  }
}

class Server {
  readonly #authorized: ParsedKey;
  readonly #user: string;
  readonly #account: DemoAccount;
  readonly #limits: DemoSshLimits;
  readonly #sessions = new Set<DemoSession>();
  /** By the client's port, by which ssh2 identifies a connection. */
  readonly #sockets = new Map<number, { socket: Socket; late: NodeJS.Timeout }>();
  // Nagle's algorithm costs each command 40 ms, and ssh2's own listener leaves it on.
  readonly #listener = createServer({ noDelay: true });

  constructor(authorized: ParsedKey, user: string, account: DemoAccount, limits: DemoSshLimits) {
    this.#authorized = authorized;
    this.#user = user;
    this.#account = account;
    this.#limits = limits;
  }

  listen(hostKey: string, port: number): Promise<number> {
    const server = new ssh2.Server({ hostKeys: [hostKey] }, (client, { port: from }) =>
      this.#connected(client, this.#sockets.get(from)?.late),
    );
    this.#listener.maxConnections = this.#limits.connections;
    this.#listener.on('connection', (socket) => {
      const port = socket.remotePort ?? 0;
      // From the first byte on, because ssh2 reports a connection only once the client has identified itself.
      const late = setTimeout(() => socket.destroy(), this.#limits.authenticationMs);
      this.#sockets.set(port, { socket, late });
      socket.once('close', () => {
        clearTimeout(late);
        this.#sockets.delete(port);
      });
      server.injectSocket(socket);
    });
    return new Promise((resolve, reject) => {
      this.#listener.once('error', reject);
      // The address is not an option: this server must not be reachable from another machine.
      this.#listener.listen(port, '127.0.0.1', () => resolve((this.#listener.address() as AddressInfo).port));
    });
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#listener.close(resolve));
    await Promise.all([...this.#sessions].map((session) => session.kill()));
    for (const { socket } of this.#sockets.values()) socket.destroy();
    await closed;
    await this.#account.remove();
  }

  #connected(client: Connection, late: NodeJS.Timeout | undefined): void {
    let tries = 0;
    // A peer that breaks off or sends garbage ends only its own connection.
    client.on('error', () => client.end());
    client.on('authentication', (context) => {
      // The first request is usually `none`, to learn which methods are allowed.
      if (context.method !== 'none') tries += 1;
      if (tries > this.#limits.authenticationTries) client.end();
      else if (this.#allowed(context)) context.accept();
      else context.reject(['publickey']);
    });
    client.on('ready', () => {
      clearTimeout(late);
      this.#serve(client);
    });
  }

  #allowed(context: AuthContext): boolean {
    if (context.method !== 'publickey' || context.username !== this.#user) return false;
    const known = this.#authorized.getPublicSSH();
    const { data } = context.key;
    if (data.length !== known.length || !timingSafeEqual(data, known)) return false;
    // Without a signature the client only asks whether the key would be accepted.
    if (!context.signature) return true;
    return this.#authorized.verify(context.blob ?? '', context.signature, context.hashAlgo) === true;
  }

  #serve(client: Connection): void {
    let open = 0;
    client.on('session', (accept, reject) => {
      if (open >= this.#limits.sessions) {
        reject();
        return;
      }
      open += 1;
      const session = accept();
      session.once('close', () => {
        open -= 1;
      });
      // Terminals, shells, subsystems and forwarding have no listener, so ssh2 refuses them.
      session.once('exec', (acceptExec, _reject, { command }) => {
        const channel: ServerChannel = acceptExec();
        const running = new DemoSession(command, channel, this.#account);
        this.#sessions.add(running);
        session.on('signal', (_accept, _refuse, { name }) => running.signal(name));
        running.ended.then(() => this.#sessions.delete(running));
      });
    });
  }
}

function parseKey(text: string): ParsedKey {
  const parsed = ssh2.utils.parseKey(text);
  const key = Array.isArray(parsed) ? parsed[0] : parsed;
  if (!key || key instanceof Error) throw new Error(`not an SSH key: ${key?.message ?? 'empty'}`);
  return key;
}
