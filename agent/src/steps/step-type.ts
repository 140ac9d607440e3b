// The contract between the executor and a step type: a step type gets opened credentials, an output sink and
// an abort signal, and answers with an outcome. It never throws for what a target does.
import type {
  Binding,
  HostAuthority,
  LeaseWinrm,
  SshAlgorithmPolicy,
  StepOutcome,
  TransferProgress,
  TransferReport,
} from '@opsconductor/protocol';
import type { AskServer } from '../contents/content-link.ts';
import type { Become } from '../ssh/become/become.ts';

export type OutputStream = 'stdout' | 'stderr';

/** Where a step's output goes: masked, chunked and spooled behind this interface. */
export interface OutputSink {
  /** Takes the bytes at once; false asks the producer to pause until `drained()`. */
  write(stream: OutputStream, bytes: Buffer): boolean;
  drained(): Promise<void>;
  /** For output that is kept where it comes from until it is stored for good; undefined where that is not followed. */
  readonly kept?: KeptOutput;
}

/** Bytes of each stream, as the command printed them. */
export interface StreamOffsets {
  stdout: number;
  stderr: number;
}

export interface KeptOutput {
  /** Called before the first output, when the rest of it is to be read on by whoever comes after this process. */
  follow(): void;
  /** What was written here, or by an earlier process: the next bytes to write. */
  written(): StreamOffsets;
  /** Up to here the server has it, so that nobody will ask for it again. */
  confirmed(): StreamOffsets;
}

/** What opens a target, already opened and checked against its bounds by the agent. */
export type OpenedCredential =
  | {
      kind: 'ssh_password';
      id: string;
      version: number;
      user: string;
      password: string;
      becomePassword?: string;
    }
  | {
      kind: 'ssh_private_key';
      id: string;
      version: number;
      user: string;
      /** OpenSSH or PEM text. */
      privateKey: string;
      passphrase?: string;
      /** OpenSSH certificate of the key, as one line. */
      certificate?: string;
      /** For becoming another user there. */
      becomePassword?: string;
    }
  | WinrmCredential;

/** `user`: `DOMAIN\name`, `name@domain`, or the name of a user of the host. */
export type WinrmCredential = { id: string; version: number; user: string } & (
  | { kind: 'winrm_password'; password: string }
  /** PEM. */
  | { kind: 'winrm_certificate'; certificate: string; privateKey: string; passphrase?: string }
  /** The file in base64. */
  | { kind: 'winrm_keytab'; keytab: string }
  /** As the agent's policy file names it. */
  | { kind: 'winrm_ticket_cache'; cache: string }
);

/** A user of a Windows host, as whom a scheduled task runs there; of the credential that is named by `id`. */
export interface RunAs {
  id: string;
  version: number;
  user: string;
  password: string;
}

export interface StepTarget {
  id: number;
  name: string;
  host: string;
  port: number;
  /** Accepted host keys: OpenSSH public key lines (`ssh-ed25519 AAAA…`), or `SHA256:…` of a key not seen yet. */
  hostKeys: string[];
  /** Whose host certificates are accepted. */
  hostAuthorities?: HostAuthority[];
  /** Fingerprints that are refused whatever else says. */
  revokedHostKeys?: string[];
  /** Where the server says; for one address to answer. */
  connectTimeoutS?: number;
  /** Where the server says; between probes on a silent connection. */
  keepaliveIntervalS?: number;
  /** Which algorithms of SSH are taken; current ones unless told. */
  algorithms?: SshAlgorithmPolicy;
  /** SSH connections to it at the same time; the pool's own bound unless told. */
  maxConnections?: number;
  /** What the way leads through, the first one first. */
  jumps?: JumpHost[];
  /** How it is reached where it speaks WinRM. */
  winrm?: LeaseWinrm;
}

/** An SSH server on the way to a target, with what opens it. */
export interface JumpHost {
  target: Omit<StepTarget, 'jumps' | 'winrm'>;
  credential: OpenedCredential;
  checkAddresses(addresses: readonly string[]): void | Promise<void>;
}

/** Where a step type that moves files tells of them. */
export interface TransferSink {
  /** How far it is. As often as it likes; what follows too fast is passed over. */
  progress(progress: TransferProgress): void;
  /** What it has come to, once. */
  report(report: TransferReport): void;
}

export interface StepContext {
  /** Names the attempt on the target, `<installation>.<step>.<epoch>`; also the value of OPSCONDUCTOR_ATTEMPT there. */
  marker: string;
  /** Names the attempt's directory on the target, where it has one. */
  directoryName: string;
  /** When an earlier process began it. */
  begunAt?: Date;
  /** How often agents have taken it up from one another; left out where this one began it. */
  collector?: number;
  target: StepTarget;
  credential: OpenedCredential;
  /** Whom the command runs as where not as who logs in; what is looked for and ended on the target is, too. */
  become?: Become;
  /** Whom the command runs as on a Windows host where not as who logs in. */
  runAs?: RunAs;
  /** Values that the rendered script of the configuration refers to. */
  bindings?: readonly Binding[];
  output: OutputSink;
  transfers: TransferSink;
  /** The command is given a file to hand values on by, in OPSCONDUCTOR_OUTPUT. */
  outputFile?: boolean;
  /** Whether a command may go on without its agent: the server must know how that may end. */
  maySurvive: boolean;
  /** Asks the server for files, and hands artifacts over. Rejects with the signal's reason alone. */
  askServer: AskServer;
  /** Aborted to stop the attempt; its reason is a `StopRequest`. */
  signal: AbortSignal;
  /** Called just before the remote command starts, again if that was put off; rejects when the lease allows no start. */
  beforeStart(how?: BeforeStart): Promise<void>;
  /**
   * Checks the addresses that the target's name resolved to against the credential's bounds, before any is dialled.
   * Throws an `SshError` of reason `credential_bounds`.
   */
  checkAddresses(addresses: readonly string[]): void | Promise<void>;
}

export interface BeforeStart {
  /**
   * Set where the command goes on without this process: what of the configuration `reattach` will need. It is written
   * to the agent's disk.
   */
  survivesWith: unknown;
}

/** Another agent collects what the command prints: this one has nothing to tell of it any more. */
export class TakenOverElsewhere extends Error {
  override readonly name = 'TakenOverElsewhere';
}

export interface StopRequest {
  cause: 'cancelled' | 'timed_out' | 'output_limit';
  /** Between TERM and KILL, in ms. */
  killGraceMs: number;
}

export interface StepType<Config> {
  readonly type: string;
  execute(config: Config, context: StepContext): Promise<StepOutcome>;
  /** Takes up an attempt that an earlier process, here or elsewhere, has begun. */
  reattach?(config: Config, context: StepContext): Promise<StepOutcome>;
  /** What of a configuration `reattach` needs, to be written to this agent's disk. */
  toReattach?(config: Config): unknown;
  /** What the command has written to the file that it was given; its problem where that can't be read. Never rejects. */
  readOutputFile?(context: AttemptOnTarget): Promise<Buffer | { problem: string }>;
  /** The attempt's end is confirmed: removes what is kept of it on the target. */
  remove?(
    context: AttemptOnTarget,
    kept: { command: boolean; outputFile: boolean },
    config: unknown,
  ): Promise<void>;
}

/** What finding an attempt on its target takes. */
export type AttemptOnTarget = Pick<
  StepContext,
  'marker' | 'directoryName' | 'target' | 'credential' | 'become' | 'checkAddresses'
>;
