//! The page about fencing tokens: its program.

use handfast::{Error, Handfast};

/// A resource outside the store that remembers the highest token it has seen.
#[derive(Default)]
struct Disk {
    highest: i64,
}

impl Disk {
    fn write(&mut self, token: i64, text: &str) -> Result<(), String> {
        if token < self.highest {
            return Err(format!("token {token} is old, {} was here", self.highest));
        }
        self.highest = token;
        println!("wrote {text}");
        Ok(())
    }
}

pub async fn report(hf: &Handfast) -> Result<(), Error> {
    let mut disk = Disk::default();
    let first = hf.lock("disk").acquire().await?;
    let old = first.token();
    first.release().await?;

    let second = hf.lock("disk").acquire().await?;
    assert!(disk.write(second.token(), "the second one's").is_ok());
    // The first one was asleep all the time and does not know that it lost the lock.
    assert!(disk.write(old, "the first one's").is_err());
    second.release().await
}
