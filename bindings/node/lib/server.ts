// A server inside this process, for small programs and tools.

import { unwrap } from './errors.js';
import { started } from './lifecycle.js';
import type * as Native from './native.cjs';
import { native } from './native.js';

/** How a server is started. */
export interface ServerOptions {
  /** The folder of its data; without one its data goes away with it. */
  dataDir?: string | undefined;
  /** Where it listens (default: on a free port of this machine). */
  listen?: string | undefined;
  /** The member's name. */
  name?: string | undefined;
}

/** A server that runs in this process, on threads of its own; made by {@link Server.start}. */
export class Server implements AsyncDisposable {
  readonly #native: Native.NativeServer;
  /** Its address, such as `http://127.0.0.1:2379`. */
  readonly endpoint: string;
  /** The folder of its data. */
  readonly dataDir: string;

  /** @internal */
  constructor(running: Native.NativeServer) {
    this.#native = running;
    this.endpoint = running.endpoint;
    this.dataDir = running.dataDir;
  }

  /** Starts a server. When this resolves it serves. It does not keep the process open. */
  static async start(options: ServerOptions = {}): Promise<Server> {
    const { dataDir, listen = '127.0.0.1:0', name } = options;
    const running = unwrap(await native.startServer(dataDir, listen, name));
    started(running);
    return new Server(running);
  }

  /** Stops it in order; does nothing at the second time. */
  async close(): Promise<void> {
    unwrap(await this.#native.stop());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
