/**
 * A server for the tests of programs that use handfast, with the faults that tests want.
 *
 * ```ts
 * import { test } from 'node:test';
 * import { testServer } from 'handfast/testing';
 *
 * test('the nightly job runs once', async (t) => {
 *   const server = await testServer(t);
 *   const hf = await server.connect();
 *   …
 * });
 * ```
 *
 * @packageDocumentation
 */

import { toBuffer, type Bytes } from './bytes.js';
import { connect, type Client, type ConnectOptions } from './client.js';
import { invalid, unwrap } from './errors.js';
import { started } from './lifecycle.js';
import type * as Native from './native.cjs';
import { native } from './native.js';

/** A server in this process whose address outlives its faults; made by {@link testServer}. */
export class TestServer implements AsyncDisposable {
  readonly #native: Native.NativeTestServer;
  readonly #clients: Client[] = [];
  /** Its address, such as `http://127.0.0.1:40123`; the same over restarts. */
  readonly endpoint: string;
  /** The folder of its data, which goes away with it. */
  readonly dataDir: string;

  /** @internal */
  constructor(running: Native.NativeTestServer) {
    this.#native = running;
    this.endpoint = running.endpoint;
    this.dataDir = running.dataDir;
  }

  /** Starts an empty server on a free port. */
  static async start(): Promise<TestServer> {
    const running = unwrap(await native.startTestServer());
    started(running);
    return new TestServer(running);
  }

  /** A client of this server, which is closed with it. */
  async connect(options: ConnectOptions = {}): Promise<Client> {
    const client = await connect(this.endpoint, options);
    this.#clients.push(client);
    return client;
  }

  /** Stops the server and refuses connections; its data stays. */
  async stop(): Promise<void> {
    unwrap(await this.#native.stop());
  }

  /** Stops the server if it runs, and starts it again with the same address and data. */
  async restart(): Promise<void> {
    unwrap(await this.#native.restart());
  }

  /** Lets connections stay, but nothing pass, as if the network or the server hung. */
  pause(): void {
    this.#native.pause();
  }

  /** Ends a pause: what waited passes. */
  resume(): void {
    this.#native.resume();
  }

  /** Breaks every connection; clients may connect again at once. */
  disconnect(): void {
    this.#native.disconnect();
  }

  /** Ends a lease as if its time had run out; whether there was one. */
  async expire(lease: string | { readonly lease: string }): Promise<boolean> {
    return unwrap(await this.#native.expire(typeof lease === 'string' ? lease : lease.lease));
  }

  /** Ends the leases of all sessions, so that everything held through them is lost; how many. */
  async expireSessions(): Promise<number> {
    return unwrap(await this.#native.expireSessions());
  }

  /** How many wait for the lock `name`, not counting who holds it. */
  async waiters(name: Bytes): Promise<number> {
    return unwrap(await this.#native.waiters(toBuffer(name, 'name')));
  }

  /** Closes the clients that {@link connect} made, stops the server and removes its data. */
  async close(): Promise<void> {
    // A client whose server is gone has nothing to give back.
    await Promise.allSettled(this.#clients.splice(0).map((client) => client.close()));
    unwrap(await this.#native.close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * A server of its own for one test of `node:test`, or of what has an `after` like it; elsewhere
 * {@link TestServer.start} makes one.
 * @throws {InvalidArgumentError} when `context` has no `after`.
 */
export async function testServer(context: { after(clean: () => Promise<void>): void }): Promise<TestServer> {
  // Before the server starts, which nobody would stop.
  if (typeof (context as Partial<typeof context> | undefined)?.after !== 'function') {
    throw invalid(
      'testServer takes the context that node:test hands to a test; without one, use ' +
        'TestServer.start() and its close()',
      'context',
    );
  }
  const server = await TestServer.start();
  context.after(() => server.close());
  return server;
}
