// A route declares who may call it, what it takes and what it answers. Validation, authorization and OpenAPI come from
// that.
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
  /** Adds their position in the YAML body to error details. Errors that the handler throws are located without it. */
  locate(details: readonly ErrorDetail[]): ErrorDetail[];
  /**
   * For an answer that goes on for long: returns what the caller may do now, or undefined once their session, API token
   * or right to call the route has ended.
   */
  authorityNow(): Promise<Authority | undefined>;
}

/** An answer besides the usual one. */
export interface OtherAnswer {
  status: 200 | 201 | 204 | 206 | 416;
  contentType?: string;
  /** Of an answer in JSON, which is the content type then. */
  schema?: TSchema;
}

/** Static type of the schema; an empty object if the part is missing. */
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
   * True if the handler's queries check where the permission holds (`principal.authority`). Otherwise the permission
   * must hold everywhere.
   */
  scoped?: boolean;
  /** One line for OpenAPI. */
  summary: string;
  description?: string;
  tag: string;
  params?: P;
  query?: Q;
  body?: B;
  /** Example of a body, for the description. */
  example?: unknown;
  /**
   * True if the handler checks the whole body, because more can be wrong with it than its schema can express, and all
   * problems are reported together. The handler gets the body as `unknown`.
   */
  checksBody?: boolean;
  /** True if the body may also be YAML; problems are then reported with line and column. */
  takesYaml?: boolean;
  /** True if the body is a file of JSON or YAML that is passed on unparsed. `body` then only documents it. */
  takesFile?: boolean;
  /** True if an Idempotency-Key keeps a repeated request from being carried out twice. */
  takesRequestKey?: boolean;
  /** True if If-Match may name the version that was changed. */
  takesIfMatch?: boolean;
  /** True if the body is bytes of any kind (application/octet-stream), passed on unparsed. */
  takesBytes?: boolean;
  /** In bytes; limits.maxRequestBodyBytes by default. */
  maxBodyBytes?: number;
  /** Status and schema of success; no schema for 204 and for streams. `example`: an answer for the description. */
  success: {
    status: 200 | 201 | 202 | 204;
    schema?: TSchema;
    contentType?: string;
    example?: unknown;
    /**
     * Possible answers instead of that one; without a content type, they have no body. If 206 is among them, the route
     * heeds Range.
     */
    others?: readonly OtherAnswer[];
  };
  /** Error codes besides those that any route of its kind may answer. */
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
