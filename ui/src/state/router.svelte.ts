// The location of the console: the URL as state.
import { matchRoute, meantPlace } from '../routes.ts';
import { linkWithin } from './link-within.ts';

class Router {
  #url = $state.raw(here());

  readonly route = $derived(matchRoute(this.#url.pathname));
  readonly path = $derived(this.#url.pathname);
  readonly query = $derived(this.#url.searchParams);
  readonly hash = $derived(this.#url.hash);
  /** Path, query and fragment, as in a link. */
  readonly place = $derived(this.#url.pathname + this.#url.search + this.#url.hash);

  /** Asked before a page is left. One that returns false asks the person, and navigates itself if they agree. */
  #guard: ((to: string) => boolean) | undefined;

  navigate(to: string): void {
    if (this.#guard?.(to) === false) return;
    history.pushState(null, '', to);
    this.#read();
  }

  /** Asks `mayLeave` before the page is left, by a link or the history. Returns the function that ends this. */
  guard(mayLeave: (to: string) => boolean): () => void {
    this.#guard = mayLeave;
    return () => {
      if (this.#guard === mayLeave) this.#guard = undefined;
    };
  }

  /** Changes the address without adding an entry to the history. */
  replace(to: string): void {
    history.replaceState(history.state, '', to);
    this.#read();
  }

  /** Returns an id from the query; undefined if there is none or it is invalid. */
  queryId(name: string): number | undefined {
    const value = this.query.get(name);
    return value !== null && /^[1-9][0-9]{0,14}$/.test(value) ? Number(value) : undefined;
  }

  /** Follows the history and links within the console. Returns the function that ends this. */
  listen(): () => void {
    const onPop = () => {
      const to = location.pathname + location.search + location.hash;
      const from = this.#url.pathname + this.#url.search + this.#url.hash;
      if (location.pathname === this.#url.pathname || this.#guard?.(to) !== false) this.#read();
      else history.pushState(null, '', from);
    };
    const onClick = (event: MouseEvent) => {
      const to = placeOf(event);
      if (to === undefined) return;
      event.preventDefault();
      this.navigate(to);
    };
    window.addEventListener('popstate', onPop);
    document.addEventListener('click', onClick);
    return () => {
      window.removeEventListener('popstate', onPop);
      document.removeEventListener('click', onClick);
    };
  }

  #read() {
    this.#url = here();
  }
}

/** Returns the address. One that is no page becomes that of the page that is meant, without an entry in the history. */
function here(): URL {
  const meant = meantPlace(new URL(location.href));
  if (meant !== undefined) history.replaceState(history.state, '', meant);
  return new URL(location.href);
}

/** Returns where a click leads if it is a plain click on a link within the console, else undefined. */
function placeOf(event: MouseEvent): string | undefined {
  if (event.defaultPrevented || event.button !== 0) return undefined;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return undefined;
  const url = linkWithin(event.target);
  return url === undefined ? undefined : url.pathname + url.search + url.hash;
}

export const router = new Router();
