// What authenticates one connection, and seals what goes over it: NTLM and Kerberos look the same from outside.

export interface SecurityContext {
  /** Of the `Authorization` header. */
  readonly scheme: 'Negotiate' | 'Kerberos';
  /** Content type of what is sealed. */
  readonly sealedType: string;
  readonly complete: boolean;
  /**
   * The next token for the host, given its last one; undefined when there is none to send.
   *
   * @throws {WinrmError} where the host's token, or the credential, is no good; the signal's reason, without waiting
   * for who is asked meanwhile.
   */
  step(received?: Buffer, signal?: AbortSignal): Promise<Buffer | undefined>;
  seal(message: Buffer): { signature: Buffer; data: Buffer };
  /** @throws {WinrmError} of kind `protocol` for what the host has not sealed as its next message. */
  unseal(signature: Buffer, data: Buffer): Buffer;
  /** Frees what it holds. */
  dispose(): void;
}
