// The end of the process: what is still open is closed, so that what it holds is free at once.

import process from 'node:process';

/** How long the end of the process may be held up by one client or server. */
const LIMIT_MS = 2000;

interface ClosesNow {
  closeNow(limitMs: number): void;
}

const clients = new Set<WeakRef<ClosesNow>>();
const servers = new Set<WeakRef<ClosesNow>>();
const collected = new FinalizationRegistry<WeakRef<ClosesNow>>((reference) => {
  clients.delete(reference);
  servers.delete(reference);
});

function remember(set: Set<WeakRef<ClosesNow>>, native: ClosesNow): void {
  const reference = new WeakRef(native);
  set.add(reference);
  collected.register(native, reference);
}

/** @internal */
export function opened(client: ClosesNow): void {
  remember(clients, client);
}

/** @internal */
export function started(server: ClosesNow): void {
  remember(servers, server);
}

process.on('exit', () => {
  for (const reference of [...clients, ...servers]) {
    try {
      reference.deref()?.closeNow(LIMIT_MS);
    } catch {
      // Nobody is left to tell.
    }
  }
});
