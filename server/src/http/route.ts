// A route says who may call it and what it takes and answers; validation, authorization and OpenAPI come from that.
import type { ErrorCode, ErrorDetail, Permission } from '@opsconductor/protocol';
import type { Context } from 'hono';
import type { Static, TSchema } from 'typebox';
import type { Authority } from '../auth/authority.ts';
import type { Principal } from '../auth/principal.ts';

export type { Principal };

export interface RouteRequest<P, Q, B> {
  params: P;
  query: Q;
  body: B;
  /** Present on every route whose permission is not `public`. */
  principal: Principal;
  requestId: string;
  /** Address of the peer, for rate limits and audit. */
  address: string;
  context: Context;
  /** Adds to details of a body of YAML where they stand in it; errors of the handler are located without it. */
  locate(details: readonly ErrorDetail[]): ErrorDetail[];
  /**
   * For an answer that goes on for long: what the caller may do by now; undefined once their session, API token or
   * right to call the route has ended.
   */
  authorityNow(): Promise<Authority | undefined>;
}

/** An answer beside the usual one. */
export interface OtherAnswer {
  status: 200 | 201 | 204 | 206 | 416;
  contentType?: string;
}

/** Schema or, for a missing part, undefined → an empty object. */
type Part<S> = S extends TSchema ? Static<S> : Record<string, never>;

export interface RouteSpec<
  P extends TSchema | undefined = TSchema | undefined,
  Q extends TSchema | undefined = TSchema | undefined,
  B extends TSchema | undefined = TSchema | undefined,
> {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** From the root, with Hono's parameters: `/api/v1/runs/:id`. */
  path: string;
  permission: Permission | 'public';
  /**
   * True where the handler asks in its queries where the permission holds (`principal.authority`). Without it the
   * permission must hold everywhere.
   */
  scoped?: boolean;
  /** One line for OpenAPI. */
  summary: string;
  description?: string;
  tag: string;
  params?: P;
  query?: Q;
  body?: B;
  /** A body as it may be sent, for the description. */
  example?: unknown;
  /**
   * True where the handler checks the body whole, because more can be wrong with it than its schema says and all of it
   * is told at once. To the handler the body is then unknown.
   */
  checksBody?: boolean;
  /** True where the body may also be YAML; what is wrong with it is then told with line and column. */
  takesYaml?: boolean;
  /** True where the body is a file of JSON or YAML that is handed on as its bytes. `body` then only describes it. */
  takesFile?: boolean;
  /** True where an Idempotency-Key keeps a request that is sent again from being done twice. */
  takesRequestKey?: boolean;
  /** True where If-Match may say which version was changed. */
  takesIfMatch?: boolean;
  /** True where the body is bytes of any kind (application/octet-stream), handed on as they are. */
  takesBytes?: boolean;
  /** Bytes; limits.maxRequestBodyBytes by default. */
  maxBodyBytes?: number;
  /** Success status and schema; no schema for 204 and for streams. `example`: as it may come, for the description. */
  success: {
    status: 200 | 201 | 202 | 204;
    schema?: TSchema;
    contentType?: string;
    example?: unknown;
    /** What it may answer in place of that: without a type no body. With 206 among them it heeds Range. */
    others?: readonly OtherAnswer[];
  };
  /** Error codes that it answers with beyond those that any route of its kind does. */
  errors?: readonly ErrorCode[];
  /** Returns the body as an object (sent as JSON with the success status), or a Response of its own. */
  handle(request: RouteRequest<Part<P>, Part<Q>, Part<B>>): Promise<unknown> | unknown;
}

/** Keeps the types of params, query and body for the handler. */
export function route<
  P extends TSchema | undefined = undefined,
  Q extends TSchema | undefined = undefined,
  B extends TSchema | undefined = undefined,
>(spec: RouteSpec<P, Q, B>): RouteSpec {
  return spec as unknown as RouteSpec;
}
