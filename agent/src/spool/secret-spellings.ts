// Other ways to write the same text, for languages in which some letters mean something.

/** Returns spellings escaped for URLs, JSON and XML, both minimal and generous. */
export function escapedSpellings(text: string): string[] {
  const wellFormed = text.isWellFormed() ? text : text.toWellFormed();
  const uri = encodeURIComponent(wellFormed);
  const strictUri = uri.replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  const lowerCase = (escaped: string) => escaped.replace(/%[0-9A-F]{2}/g, (c) => c.toLowerCase());
  const json = JSON.stringify(text).slice(1, -1);
  const codeOf = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
  const upperCodeOf = (c: string) => codeOf(c).toUpperCase().replace('U', 'u');
  const asciiJson = json.replace(/[^\x20-\x7e]/g, codeOf);
  const xml = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  const xmlQuoted = xml.replaceAll('"', '&quot;');
  return [
    uri,
    strictUri,
    lowerCase(uri),
    lowerCase(strictUri),
    strictUri.replaceAll('%20', '+'),
    strictUri.replaceAll('%2F', '/'),
    encodeURI(wellFormed),
    json,
    json.replaceAll('/', '\\/'),
    asciiJson,
    asciiJson.replaceAll('/', '\\/'),
    // Go; Windows PowerShell; Gson of Java; .NET, which writes quotes like that, too.
    json.replace(/[<>&]/g, codeOf),
    json.replace(/[<>&']/g, codeOf),
    json.replace(/[<>&'=]/g, codeOf),
    json.replaceAll('\\"', '"').replace(/[<>&'"+`]|[^\x20-\x7e]/g, upperCodeOf),
    xml,
    xmlQuoted,
    xmlQuoted.replaceAll("'", '&apos;'),
    xmlQuoted.replaceAll("'", '&#39;'),
    xmlQuoted.replaceAll("'", '&#x27;'),
    xml.replaceAll('"', '&#34;').replaceAll("'", '&#x27;'),
    xml.replaceAll('"', '&#34;').replaceAll("'", '&#39;'),
  ];
}

/** Returns spellings as a word in quotes, or in place of one, in shells and other languages. */
export function quotedSpellings(text: string): string[] {
  const backslashed = (letters: RegExp) => text.replace(letters, '\\$&');
  return [
    // What bash prints with set -x, dash with set -x, PowerShell and SQL with ' and with ".
    text.replaceAll("'", "'\\''"),
    text.replaceAll("'", `'"'"'`),
    text.replaceAll("'", "''"),
    text.replaceAll('"', '""'),
    // export -p and declare -p of bash; printf %q; repr of Python, and $'…' of bash.
    backslashed(/[\\"$`]/g),
    backslashed(/[\s\\'"|&;()<>!{}*[\]?^$`,]|^[#~]/g),
    backslashed(/[\\']/g).replaceAll('\n', '\\n').replaceAll('\r', '\\r').replaceAll('\t', '\\t'),
    text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\r', '\\r').replaceAll('\t', '\\t'),
  ];
}
