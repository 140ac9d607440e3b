/** The server's certificate or key can't be used. The message is for the operator and names the file. */
export class TlsError extends Error {
  override readonly name = 'TlsError';
}
