// The contract between the executor and a step type: a step type is given opened credentials, an output sink and an
// abort signal, and returns an outcome. It never throws because of something that a target does.
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

/** Takes a step's output, which is masked, chunked and spooled behind this interface. */
export interface OutputSink {
  /**
   * Always takes all the bytes, as a copy; `false` asks the producer to pause until `drained()` resolves.
   */
  write(stream: OutputStream, bytes: Buffer): boolean;
  drained(): Promise<void>;
  /** Told when a command begins, while nothing else is to be done: its output can be made room for. */
  expect?(): void;
  /** For output that its source keeps until the server has stored it; undefined if positions are not tracked. */
  readonly kept?: KeptOutput;
}

/** A position in each stream, in bytes as the command printed them (before masking). */
export interface StreamOffsets {
  stdout: number;
  stderr: number;
}

export interface KeptOutput {
  /** Called before the first output if a later process is to continue reading where this one stops. */
  follow(): void;
  /** What this process and earlier ones have written, so also the position of the next bytes to write. */
  written(): StreamOffsets;
  /** What the server has stored, so that nobody will ask for it again. */
  confirmed(): StreamOffsets;
}

/** A credential that the agent has already decrypted and checked against its bounds. */
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
      /** OpenSSH certificate for the key, as one line. */
      certificate?: string;
      /** Password for becoming another user on the target. */
      becomePassword?: string;
    }
  | WinrmCredential;

/** `user` is `DOMAIN\name`, `name@domain`, or the name of a local user of the host. */
export type WinrmCredential = { id: string; version: number; user: string } & (
  | { kind: 'winrm_password'; password: string }
  /** PEM. */
  | { kind: 'winrm_certificate'; certificate: string; privateKey: string; passphrase?: string }
  /** The keytab file, in base64. */
  | { kind: 'winrm_keytab'; keytab: string }
  /** The cache, as the agent's policy file names it. */
  | { kind: 'winrm_ticket_cache'; cache: string }
);

/** The Windows user that a scheduled task runs as; `id` and `version` name the credential it comes from. */
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
  /** Authorities whose host certificates are accepted. */
  hostAuthorities?: HostAuthority[];
  /** Fingerprints of keys that are refused even if something else accepts them. */
  revokedHostKeys?: string[];
  /** Time for one address to answer, if the server sets it. */
  connectTimeoutS?: number;
  /** Time between probes on a silent connection, if the server sets it. */
  keepaliveIntervalS?: number;
  /** SSH algorithms that are accepted; the default is current ones only. */
  algorithms?: SshAlgorithmPolicy;
  /** Limit on simultaneous SSH connections to the target; the default is the pool's own limit. */
  maxConnections?: number;
  /** Jump hosts on the way to the target, nearest to the agent first. */
  jumps?: JumpHost[];
  /** How it is reached, if it is a WinRM target. */
  winrm?: LeaseWinrm;
}

/** An SSH server on the way to a target, with its credential. */
export interface JumpHost {
  target: Omit<StepTarget, 'jumps' | 'winrm'>;
  credential: OpenedCredential;
  checkAddresses(addresses: readonly string[]): void | Promise<void>;
}

/** Takes what a step type that moves files reports about them. */
export interface TransferSink {
  /** Reports progress. May be called as often as the step type likes; calls in quick succession are skipped. */
  progress(progress: TransferProgress): void;
  /** Reports the result. Called once. */
  report(report: TransferReport): void;
}

export interface StepContext {
  /** Identifies the attempt on the target, `<installation>.<step>.<epoch>`: the value of OPSCONDUCTOR_ATTEMPT there. */
  marker: string;
  /** Name of the attempt's directory on the target, if it has one. */
  directoryName: string;
  /** When the attempt began, on the clock of `performance.now()`, if an earlier process began it. */
  begunAtMs?: number;
  /** How often the attempt has been taken over by another agent; left out if this agent began it. */
  collector?: number;
  target: StepTarget;
  credential: OpenedCredential;
  /** The user that the command runs as, if not the login user. Its processes are found and ended as that user, too. */
  become?: Become;
  /** The user that the command runs as on a Windows host, if not the login user. */
  runAs?: RunAs;
  /** Values that the configuration's rendered script refers to. */
  bindings?: readonly Binding[];
  output: OutputSink;
  transfers: TransferSink;
  /** Whether the command gets a file for its outputs; OPSCONDUCTOR_OUTPUT holds the file's path. */
  outputFile?: boolean;
  /**
   * Whether the command may survive its agent. False if the machine's policy forbids it, the server is too old to know
   * the outcomes of that, or part of the output is held back in this process.
   */
  maySurvive: boolean;
  /** Asks the server for files, and gives it artifacts. Rejects only with the signal's reason. */
  askServer: AskServer;
  /** Aborted to stop the attempt; its reason is a `StopRequest`. */
  signal: AbortSignal;
  /**
   * Called when the target of a command that goes on without a connection has stopped answering, with when it was last
   * heard on the monotonic clock; and with undefined when it answers again.
   */
  targetSilence?(heardAtMs: number | undefined): void;
  /**
   * Returns the markers of the attempts that are to follow this one on the same target, in their order, as far as their
   * leases are here already.
   *
   * @param most how many to return at most.
   */
  followedBy?(most: number): readonly string[];
  /**
   * Called just before the remote command starts, and again if the start was delayed; rejects if the lease forbids it.
   */
  beforeStart(how?: BeforeStart): Promise<void>;
  /**
   * Checks the addresses that the target's name resolved to against the machine's policy and the credential's bounds,
   * before any is dialed.
   * @throws SshError with the reason `policy_refused` or `credential_bounds`
   */
  checkAddresses(addresses: readonly string[]): void | Promise<void>;
}

export interface BeforeStart {
  /**
   * Set if the command survives this process: the part of the configuration that `reattach` will need. It is written to
   * the agent's disk.
   */
  survivesWith: unknown;
}

/**
 * Thrown when the target says that another agent now collects the command's output, so that this one has nothing more to
 * report. The target may lie.
 */
export class TakenOverElsewhere extends Error {
  override readonly name = 'TakenOverElsewhere';
}

export interface StopRequest {
  cause: 'cancelled' | 'timed_out' | 'output_limit';
  /** Time between TERM and KILL, in ms. */
  killGraceMs: number;
}

export interface StepType<Config> {
  readonly type: string;
  execute(config: Config, context: StepContext): Promise<StepOutcome>;
  /** Prepares for an attempt that may be leased next, without starting it. Best effort; the attempt may never come. */
  prepare?(coming: { targetId: number; marker: string }): void;
  /** Drops what was prepared for an attempt that will not begin. */
  forgo?(marker: string): void;
  /** Continues an attempt that an earlier process began, on this agent or another one. */
  reattach?(config: Config, context: StepContext): Promise<StepOutcome>;
  /** Returns the part of a configuration that `reattach` needs, to be written to this agent's disk. */
  toReattach?(config: Config): unknown;
  /** Returns what the command wrote to its output file, or the problem if that can't be read. Never rejects. */
  readOutputFile?(context: AttemptOnTarget): Promise<Buffer | { problem: string }>;
  /** Removes what the target keeps for the attempt. Called once the attempt's end is confirmed. */
  remove?(
    context: AttemptOnTarget,
    kept: { command: boolean; outputFile: boolean },
    config: unknown,
  ): Promise<void>;
}

/** What is needed to find an attempt on its target. */
export type AttemptOnTarget = Pick<
  StepContext,
  'marker' | 'directoryName' | 'target' | 'credential' | 'become' | 'checkAddresses'
>;
