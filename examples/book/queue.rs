//! The queue page's program.

use handfast::{Control, Error, Handfast};

pub async fn thumbnails(hf: &Handfast) -> Result<(), Error> {
    let queue = hf.queue("img");
    // The id makes a repeated push harmless.
    queue.push("cat.jpg").id("cat").send().await?;
    queue
        .push("index")
        .id("index")
        .after(["cat"])
        .send()
        .await?;
    // Lets the worker below end when all is done.
    queue.control(Control::Drain).await?;

    let mut worker = queue.worker();
    while let Some(claim) = worker.next().await? {
        let name = String::from_utf8_lossy(claim.payload()).into_owned();
        println!("working on {name}, attempt {}", claim.attempt());
        // The item is done and the result is stored, both or neither.
        let key = format!("thumbs/{name}");
        claim.ack().put(key, "64x64").commit().await?;
    }
    queue.control(Control::Run).await
}
