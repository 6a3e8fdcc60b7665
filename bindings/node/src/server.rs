//! Servers inside Node's process: one to use, and one for tests with its faults.
//!
//! Owns the handles that stop them. Knows nothing of what a server does.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use handfast_bindings::{Failure, runtime, runtime::Local, testing::TestServer};
use handfast_server::Server;
use napi::{
    Env,
    bindgen_prelude::{Buffer, Either, PromiseRaw},
};
use napi_derive::napi;

use crate::{
    crossing::{no_threads, promise},
    errors::NativeError,
    options::{bytes, lease},
};

/// A running server.
#[napi]
pub struct NativeServer {
    endpoint: String,
    data_dir: String,
    running: Local<Mutex<Option<Server>>>,
}

impl NativeServer {
    fn take(&self) -> napi::Result<Option<Server>> {
        let running = self.running.get().map_err(no_threads)?;
        Ok(running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take())
    }
}

/// Starts a server; without a folder its data goes away with it.
#[napi]
pub fn start_server<'env>(
    env: &'env Env,
    data_dir: Option<String>,
    listen: String,
    name: Option<String>,
) -> napi::Result<PromiseRaw<'env, Either<NativeServer, NativeError>>> {
    let mut builder = Server::builder();
    builder = match data_dir {
        Some(data_dir) => builder.data_dir(data_dir),
        None => builder.ephemeral(),
    };
    builder = builder.listen(listen);
    if let Some(name) = name {
        builder = builder.name(name);
    }
    promise(env, async move {
        let server = builder.start().await.map_err(Failure::from)?;
        Ok(NativeServer {
            endpoint: server.endpoint(),
            data_dir: server.data_dir().to_string_lossy().into_owned(),
            running: Local::new(Mutex::new(Some(server))),
        })
    })
}

#[napi]
impl NativeServer {
    #[napi(getter)]
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    #[napi(getter)]
    pub fn data_dir(&self) -> String {
        self.data_dir.clone()
    }

    /// Stops it in order; does nothing at the second time.
    #[napi]
    pub fn stop<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<PromiseRaw<'env, Either<(), NativeError>>> {
        let running = self.take()?;
        promise(env, async move {
            match running {
                Some(server) => Ok(server.shutdown().await?),
                None => Ok(()),
            }
        })
    }

    /// As `stop`, for the end of the process: waits here, for at most `limit_ms`.
    #[napi]
    pub fn close_now(&self, limit_ms: u32) -> napi::Result<()> {
        if let Some(server) = self.take()? {
            wait(limit_ms, server.shutdown())?;
        }
        Ok(())
    }
}

/// A server whose address outlives its faults.
#[napi]
pub struct NativeTestServer(Local<TestServer>);

impl NativeTestServer {
    fn server(&self) -> napi::Result<TestServer> {
        Ok(self.0.get().map_err(no_threads)?.clone())
    }
}

/// Starts an empty server for tests.
#[napi]
pub fn start_test_server<'env>(
    env: &'env Env,
) -> napi::Result<PromiseRaw<'env, Either<NativeTestServer, NativeError>>> {
    promise(env, async {
        Ok(NativeTestServer(Local::new(TestServer::start().await?)))
    })
}

#[napi]
impl NativeTestServer {
    #[napi(getter)]
    pub fn endpoint(&self) -> napi::Result<String> {
        Ok(self.server()?.endpoint().to_owned())
    }

    #[napi(getter)]
    pub fn data_dir(&self) -> napi::Result<String> {
        Ok(self.server()?.data_dir().to_string_lossy().into_owned())
    }

    #[napi]
    pub fn stop<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<PromiseRaw<'env, Either<(), NativeError>>> {
        let server = self.server()?;
        promise(env, async move { server.stop().await })
    }

    #[napi]
    pub fn restart<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<PromiseRaw<'env, Either<(), NativeError>>> {
        let server = self.server()?;
        promise(env, async move { server.restart().await })
    }

    #[napi]
    pub fn close<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<PromiseRaw<'env, Either<(), NativeError>>> {
        let server = self.server()?;
        promise(env, async move { server.close().await })
    }

    /// As `close`, for the end of the process: waits here, for at most `limit_ms`.
    #[napi]
    pub fn close_now(&self, limit_ms: u32) -> napi::Result<()> {
        let server = self.server()?;
        wait(limit_ms, async move { server.close().await })
    }

    #[napi]
    pub fn pause(&self) -> napi::Result<()> {
        self.server()?.pause();
        Ok(())
    }

    #[napi]
    pub fn resume(&self) -> napi::Result<()> {
        self.server()?.resume();
        Ok(())
    }

    #[napi]
    pub fn disconnect(&self) -> napi::Result<()> {
        self.server()?.disconnect();
        Ok(())
    }

    #[napi]
    pub fn expire<'env>(
        &self,
        env: &'env Env,
        id: String,
    ) -> napi::Result<PromiseRaw<'env, Either<bool, NativeError>>> {
        let server = self.server()?;
        promise(env, async move { server.expire(lease(&id)?).await })
    }

    #[napi]
    pub fn expire_sessions<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<PromiseRaw<'env, Either<u32, NativeError>>> {
        let server = self.server()?;
        promise(env, async move { server.expire_sessions().await })
    }

    #[napi]
    pub fn waiters<'env>(
        &self,
        env: &'env Env,
        name: Buffer,
    ) -> napi::Result<PromiseRaw<'env, Either<u32, NativeError>>> {
        let (server, name) = (self.server()?, bytes(&name));
        promise(env, async move { server.waiters(&name).await })
    }
}

fn wait<T, E>(limit_ms: u32, work: impl Future<Output = Result<T, E>>) -> napi::Result<()> {
    let limit = Duration::from_millis(limit_ms.into());
    let runtime = runtime::handle().map_err(no_threads)?;
    // Nobody is left to tell.
    let _ = runtime.block_on(async move { tokio::time::timeout(limit, work).await });
    Ok(())
}
