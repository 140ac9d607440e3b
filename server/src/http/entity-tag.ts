/** Whether the client already has what carries this entity tag (If-None-Match, RFC 9110 section 13.1.2). */
export function isCurrent(request: Request, etag: string): boolean {
  const given = request.headers.get('if-none-match');
  if (given === null) return false;
  return given.trim() === '*' || given.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
}
