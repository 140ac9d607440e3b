declare module 'ssh2/lib/protocol/constants.js' {
  const constants: { SUPPORTED_SERVER_HOST_KEY: string[] };
  export default constants;
}

declare module 'ssh2/lib/protocol/handlers.js' {
  /** What is done with a message of each type. */
  const handlers: readonly unknown[];
  export default handlers;
}
