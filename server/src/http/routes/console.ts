// Serves the built console, which is read completely when the server starts. A request only looks up a name, so no path
// can lead out of the folder.
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join, sep } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { isCurrent } from '../answers/entity-tag.ts';
import { answerHeldBytes } from '../answers/held-bytes.ts';

export interface Console {
  /**
   * Returns the file at the request's path, or the console's page for any other GET; undefined if there is nothing to
   * serve.
   */
  answer(request: Request): Promise<Response> | undefined;
}

interface Asset {
  body: Uint8Array<ArrayBuffer>;
  /** Undefined for types that compression would not make smaller. */
  gzip: (() => Promise<Uint8Array<ArrayBuffer>>) | undefined;
  headers: Record<string, string>;
}

const contentTypes: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
  '.webmanifest': 'application/manifest+json',
};
const minGzipBytes = 1024;
const notBuilt =
  '<!doctype html><html lang="en"><title>OpsConductor</title><h1>The console is not built</h1>' +
  '<p>Stop the server, and start it with <code>npm start</code>, which builds it. The API works: <a href="/api/docs">its documentation</a>.</p></html>';

/** Reads the folder that the console was built into. If there is none, a page says so. */
export async function loadConsole(folder: string): Promise<Console> {
  const assets = await readAssets(folder);
  const index = assets.get('/index.html') ?? makeAsset('/index.html', Buffer.from(notBuilt));
  return {
    answer(request) {
      if (request.method !== 'GET' && request.method !== 'HEAD') return undefined;
      const { pathname } = new URL(request.url);
      const asset = assets.get(pathname);
      if (asset !== undefined) return send(request, asset);
      // A missing script answered with an HTML page would cause a puzzling error in the browser.
      return pathname.startsWith('/assets/') ? undefined : send(request, index);
    },
  };
}

async function readAssets(folder: string): Promise<Map<string, Asset>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    },
  );
  const assets = new Map<string, Asset>();
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(join(folder, sep).length).split(sep).join('/');
    assets.set(`/${name}`, makeAsset(`/${name}`, await readFile(path)));
  }
  return assets;
}

function makeAsset(name: string, content: Buffer): Asset {
  const body = new Uint8Array(content);
  const type = contentTypes[extname(name)] ?? 'application/octet-stream';
  const isText = /^text|json|svg|javascript/.test(type);
  const isWorthGzip = isText && body.length >= minGzipBytes;
  const isHashed = /^\/assets\/.*-[\w-]{8,}\.\w+$/.test(name);
  return {
    body,
    gzip: isWorthGzip ? compressOnce(body) : undefined,
    headers: {
      'Content-Type': type,
      ETag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`,
      'Cache-Control': isHashed ? 'public, max-age=31536000, immutable' : 'no-cache',
      ...(isWorthGzip ? { Vary: 'Accept-Encoding' } : {}),
    },
  };
}

/** On first use, because compressing all files would take longer than the rest of a server's start. */
function compressOnce(body: Uint8Array): () => Promise<Uint8Array<ArrayBuffer>> {
  let compressed: Promise<Uint8Array<ArrayBuffer>> | undefined;
  return () => {
    compressed ??= promisify(gzip)(body, { level: 9 }).then((bytes) => new Uint8Array(bytes));
    return compressed;
  };
}

async function send(request: Request, asset: Asset): Promise<Response> {
  if (isCurrent(request, asset.headers.ETag ?? ''))
    return new Response(null, { status: 304, headers: asset.headers });
  const takesGzip = /\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))/.test(
    request.headers.get('accept-encoding') ?? '',
  );
  if (asset.gzip === undefined || !takesGzip) return answerHeldBytes(asset.body, asset.headers);
  return answerHeldBytes(await asset.gzip(), { ...asset.headers, 'Content-Encoding': 'gzip' });
}
