//! The program of the queue page that goes from one item to the next.

use handfast::{Control, Error, Handfast};

pub async fn frames(hf: &Handfast) -> Result<(), Error> {
    let queue = hf.queue("frames");
    for number in 1..=3 {
        queue.push(format!("frame {number}")).send().await?;
    }
    queue.control(Control::Drain).await?;

    let mut worker = queue.worker();
    let mut held = worker.next().await?;
    while let Some(claim) = held {
        println!("working on {}", String::from_utf8_lossy(claim.payload()));
        let ack = claim.ack().put("frames/last", "done");
        let (_, next) = ack.commit_and_next(&mut worker).await?;
        held = match next {
            Some(next) => Some(next),
            // Nothing was there for the taking: wait.
            None => worker.next().await?,
        };
    }
    queue.control(Control::Run).await
}
