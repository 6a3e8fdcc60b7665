//! The service page's program.

use handfast::{Error, Handfast, Pick};

pub async fn call(hf: &Handfast) -> Result<(), Error> {
    // Where the service runs: listed from here on, also after the servers were gone.
    let me = hf
        .service("api")
        .instance("n1", "10.0.0.5:80")
        .weight(3)
        .register()
        .await?;

    // Where it is called: picks cost no round trip.
    let api = hf.discover("api").open().await?;
    let picked = api.pick(Pick::P2c)?;
    println!("calling {}", picked.addr());
    // How it went makes the next picks better.
    picked.done(true);

    me.unregister().await;
    Ok(())
}
