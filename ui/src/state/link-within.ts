/** Returns where the link around the element leads, if that is a page of the console. */
export function linkWithin(element: EventTarget | null): URL | undefined {
  const link = element instanceof Element ? element.closest('a') : null;
  if (link === null || link.target !== '' || link.hasAttribute('download')) return undefined;
  const url = new URL(link.href, location.href);
  return url.origin === location.origin && !url.pathname.startsWith('/api/') ? url : undefined;
}
