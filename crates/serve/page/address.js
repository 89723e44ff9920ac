// Addresses: everything that is on the page stands behind the #, so that a link shows the same and the server is told nothing.
//   #/prompt?text=…   #/feature/12?d=sae   #/search?q=…   #/steer?prompt=…&s=12:add=2x   #/compare   #/dictionaries

export function address() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [page, ...rest] = path.split('/').map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  return { page: page || 'prompt', rest, asked: new URLSearchParams(query || '') };
}

// The address of a page; what is null, undefined or empty is left out, and a list stands once for each entry.
export function href(path, asked = {}) {
  const all = new URLSearchParams();
  for (const [name, value] of Object.entries(asked)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== '' && one !== false) all.append(name, one === true ? '1' : String(one));
    }
  }
  const query = all.toString();
  return `#/${path}${query ? '?' + query : ''}`;
}

// Keeps what is shown in the address, without going anywhere.
export function keep(path, asked) {
  const next = href(path, asked);
  if (next !== location.hash) history.replaceState(null, '', next);
}

export function go(path, asked) {
  location.hash = href(path, asked);
}
