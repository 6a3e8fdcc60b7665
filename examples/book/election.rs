//! The election page's program.

use handfast::{Error, Handfast, Tenure};

pub async fn index(hf: &Handfast) -> Result<(), Error> {
    let election = hf.election("indexer").value("n1");
    // Campaigns, calls the closure when elected, and resigns when its future is done. When the
    // leadership is lost the future is dropped at its next await.
    let documents = election.run(lead).await?;
    println!("indexed {documents} documents");
    Ok(())
}

async fn lead(term: Tenure) -> u64 {
    println!("leading, term {}", term.token());
    42
}
