// Authenticates one connection, and seals what goes over it: NTLM and Kerberos look the same from outside.

export interface SecurityContext {
  /** Scheme of the `Authorization` header. */
  readonly scheme: 'Negotiate' | 'Kerberos';
  /** Content type of sealed messages. */
  readonly sealedType: string;
  readonly complete: boolean;
  /**
   * Returns the next token for the host, given its last one; undefined if there is none to send.
   *
   * @throws {WinrmError} if the host's token or the credential can not be used; the signal's reason, without waiting for
   * a KDC that is being asked.
   */
  step(received?: Buffer, signal?: AbortSignal): Promise<Buffer | undefined>;
  seal(message: Buffer): { signature: Buffer; data: Buffer };
  /** @throws {WinrmError} of kind `protocol` for anything that the host has not sealed as its next message. */
  unseal(signature: Buffer, data: Buffer): Buffer;
  /** Frees what it holds. */
  dispose(): void;
}
