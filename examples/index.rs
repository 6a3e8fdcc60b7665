//! One machine builds the index, all use it; who builds is elected by coming first, and when the
//! builder fails or dies another one takes over.
//!
//! `cargo run -p handfast-examples --example index` plays it with a server of its own.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use handfast::{Handfast, OnceError, OnceResult, Tenure};
use handfast_server::Server;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A machine that needs the index of a text.
struct Node {
    name: &'static str,
    hf: Handfast,
    /// A place all machines can read, where large results go.
    shared: PathBuf,
    disk_is_full: bool,
}

impl Node {
    async fn join(
        name: &'static str,
        endpoint: &str,
        shared: &Path,
        disk_is_full: bool,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            name,
            hf: Handfast::connect(endpoint).await?,
            shared: shared.to_owned(),
            disk_is_full,
        }))
    }

    /// The place of the index of `text`; builds it if nobody did.
    async fn index(&self, text: &str) -> std::result::Result<OnceResult, OnceError<io::Error>> {
        // Of another text there is another index.
        let once = self.hf.once("index").input(text);
        once.get_or_run(async |leading| self.build(text, &leading).await)
            .await
    }

    /// What is kept is small: where the index is. The fencing token makes each builder's file its
    /// own, so that one that was thought dead cannot spoil the next one's.
    async fn build(&self, text: &str, leading: &Tenure) -> io::Result<String> {
        println!("{} builds the index", self.name);
        if self.disk_is_full {
            return Err(io::Error::other("no space left"));
        }
        let mut index: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, word) in text.split_whitespace().enumerate() {
            index.entry(word).or_default().push(place);
        }
        let path = self.shared.join(format!("index-{}", leading.token()));
        fs::write(&path, format!("{index:?}"))?;
        Ok(path.to_string_lossy().into_owned())
    }

    async fn tell(&self, text: &str) -> Result<String> {
        match self.index(text).await {
            Ok(result) => {
                let path = String::from_utf8(result.value.to_vec())?;
                let words = fs::read_to_string(&path)?.matches(':').count();
                println!("{} uses the index of {words} words", self.name);
                Ok(path)
            }
            Err(error) => {
                println!("{} has no index: {error}", self.name);
                Err(error.into())
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let shared = tempfile::tempdir()?;
    let server = Server::builder().ephemeral().start().await?;
    let endpoint = server.endpoint();
    let anna = Node::join("anna", &endpoint, shared.path(), true).await?;
    let bert = Node::join("bert", &endpoint, shared.path(), false).await?;
    let carl = Node::join("carl", &endpoint, shared.path(), false).await?;

    let text = "to be or not to be";
    // The failure is anna's, and nobody waits for her.
    if anna.tell(text).await.is_ok() {
        return Err("anna's disk is full".into());
    }
    let together =
        [bert, Arc::clone(&carl)].map(|node| tokio::spawn(async move { node.tell(text).await }));
    let mut places = Vec::new();
    for node in together {
        places.push(node.await??);
    }
    // Now she gets the others' work.
    places.push(anna.tell(text).await?);
    places.dedup();
    println!("there is {} index", places.len());

    carl.tell("to be or not").await?;
    server.shutdown().await?;
    Ok(())
}
