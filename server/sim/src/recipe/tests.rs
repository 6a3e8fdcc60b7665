//! The same programs on a real server: Debian's etcd, killed, stopped and started again, behind the
//! simulated network, in real time.
//!
//! Owns the bridge from that network to a socket. Time is the machine's, so only what must never
//! happen is judged here, not how soon something does.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use handfast_checker::Recorder;
use handfast_checker::recipe::{Story, check};
use handfast_core::Client;
use handfast_kit::server::Server;
use handfast_proto::peer::{Request, Response};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::crowd::Crowd;
use super::stage::Stage;
use super::world::World;
use super::{count, epilogue, prey, seats, without_log};
use crate::dice::Dice;
use crate::keeper::Keeper;
use crate::net::{CLIENTS, Host, Net, Place, SimStream, Weather};
use crate::run::Outcome;
use crate::subject::Recipe;
use crate::trace::Trace;
use crate::workload::plain_client;

/// Where the server is on the network.
const PLACE: Place = 0;
/// Its address there.
const ADDRESS: &str = "server:2379";
/// Programs at a time.
const SEATS: usize = 3;
/// Times that something happens to the server.
const BLOWS: usize = 3;
/// Answers without which a run proves nothing, and how long they may take.
const ENOUGH: usize = 25;
const ENOUGH_WITHIN: Duration = Duration::from_secs(120);
/// How long sessions may take to end once nobody keeps them.
const SESSIONS_END: Duration = Duration::from_secs(60);

/// Leads connections on to the real server.
struct Bridge(std::net::SocketAddr);

impl Host for Bridge {
    fn call(&self, _: Request) -> BoxFuture<'static, Response> {
        Box::pin(std::future::ready(Response::default()))
    }

    fn replicate(&self, _: BoxStream<'static, Request>) -> BoxStream<'static, Response> {
        futures::stream::empty().boxed()
    }

    fn accept(&self, mut stream: SimStream) {
        let address = self.0;
        tokio::spawn(async move {
            // A server that is down closes the connection, which is what the program sees.
            if let Ok(mut socket) = TcpStream::connect(address).await {
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut socket).await;
            }
        });
    }
}

fn stage(dice: &Dice, server: &Server, problems: &Arc<Mutex<Vec<String>>>) -> Stage {
    let trace = Trace::new(false);
    let net = Net::new(dice.branch("net"), trace.clone());
    net.name(ADDRESS, PLACE);
    net.attach(PLACE, Arc::new(Bridge(server.address())));
    net.set_weather(Weather {
        lost_per_mille: 2,
        late_per_mille: 5,
        ..Weather::FAIR
    });
    let problems = Arc::clone(problems);
    Stage {
        net,
        trace,
        endpoints: vec![format!("http://{ADDRESS}")],
        servers: vec![PLACE],
        ttl: 3..6,
        // A machine that is busy with other tests looks like one whose clock is slow.
        expected_drift: 0.2,
        problem: Arc::new(move |problem| problems.lock().push(problem)),
    }
}

/// Kills, stops and starts the server.
fn strike(mut server: Server, mut dice: Dice) -> Server {
    for blow in 0..BLOWS {
        std::thread::sleep(dice.millis(800..3_000));
        match blow % 2 {
            0 => {
                server.kill();
                std::thread::sleep(dice.millis(0..1_500));
                server.start_again();
            }
            _ => {
                server.pause();
                std::thread::sleep(dice.millis(100..4_000));
                server.resume();
            }
        }
    }
    server
}

/// What the server says its revision is; 0 when it does not answer.
async fn revision(client: Client) -> i64 {
    let answer = client.range("none").count_only().await;
    answer.map_or(0, |answer| answer.header.revision)
}

async fn play(recipe: Recipe, seed: u64, server: Server) -> Result<Story, String> {
    let dice = Dice::new(seed).branch(&recipe.name());
    let problems: Arc<Mutex<Vec<String>>> = Arc::default();
    let stage = stage(&dice, &server, &problems);
    let helper = || plain_client(&stage.net, CLIENTS - 1, &stage.endpoints, seed);
    let (asking, reading, helper) = (helper()?, helper()?, helper()?);
    let world = World::new((stage, helper), &dice, None);
    let reached = Arc::new(AtomicI64::new(0));
    let highest = Arc::clone(&reached);
    let clock = tokio::spawn(Arc::clone(&world).keep_time(move || {
        let (asking, reached) = (asking.clone(), Arc::clone(&highest));
        async move {
            let revision = revision(asking).await;
            reached.fetch_max(revision, Ordering::Relaxed);
            revision
        }
    }));
    let keeper = Keeper::without_progress(reading, &Recorder::new());
    let crowd = Crowd::new(&world, &keeper, prey(recipe));
    let tasks = seats(&crowd, &world, SEATS, recipe);
    let troubles = tokio::spawn({
        let crowd = Arc::clone(&crowd);
        async move { crowd.trouble().await }
    });
    let blows = dice.branch("blows");
    let server = tokio::task::spawn_blocking(move || strike(server, blows));
    let server = server.await.map_err(|error| error.to_string())?;
    enough_done(&world).await;
    troubles.abort();
    crowd.heal().await;
    world.stage.net.heal();
    world.stop.cancel();
    crowd.finish(tasks).await?;
    epilogue(&world, recipe).await?;
    sessions_end(&world.helper).await?;
    let log = keeper.log(revision(world.helper.clone()).await).await?;
    // What is in the log must have a time.
    while reached.load(Ordering::Relaxed) < log.to {
        sleep(Duration::from_millis(20)).await;
    }
    clock.abort();
    drop(server);
    match &*std::mem::take(&mut *problems.lock()) {
        [] => {}
        problems => return Err(problems.join("\n")),
    }
    let now = world.now();
    Ok(world.write(|story| {
        let mut story = std::mem::take(story);
        (story.ended, story.log) = (now, log);
        (story.prompt, story.patience) = (now, now);
        story
    }))
}

fn answered(story: &Story) -> usize {
    let mut outcome = Outcome::default();
    count(story, &mut outcome);
    outcome.answered
}

/// A machine that is busy with other tests gets less done in the same time.
async fn enough_done(world: &World) {
    let begun = Instant::now();
    while begun.elapsed() < ENOUGH_WITHIN && world.write(|story| answered(story)) < ENOUGH {
        sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until nobody's session is left. The notes of instances that left have leases of their own,
/// which last longer than any session.
async fn sessions_end(client: &Client) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let records = client.range("_handfast/session/").prefix().await;
        match records {
            Ok(records) if records.kvs.is_empty() => return Ok(()),
            _ if begun.elapsed() < SESSIONS_END => sleep(Duration::from_millis(100)).await,
            left => return Err(format!("sessions that do not end: {left:?}")),
        }
    }
}

fn on_a_real_server(recipe: Recipe) {
    let Some(server) = Server::own() else {
        return;
    };
    let seed = u64::from(std::process::id());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let story = runtime.block_on(play(recipe, seed, server)).unwrap();
    let (broken, done) = (check(&story), answered(&story));
    assert!(done >= ENOUGH, "only {done} answers: that proves nothing");
    if !broken.is_empty() {
        let (log, words) = without_log(story);
        let log: Vec<String> = log.events.iter().map(ToString::to_string).collect();
        panic!("{broken:#?}\nseed {seed}\n{words}\n{}", log.join("\n"));
    }
}

#[test]
fn locks_keep_their_promises_on_a_real_server() {
    on_a_real_server(Recipe::Lock);
}

#[test]
fn elections_keep_their_promises_on_a_real_server() {
    on_a_real_server(Recipe::Election);
}

#[test]
fn multi_locks_keep_their_promises_on_a_real_server() {
    on_a_real_server(Recipe::Multi);
}

#[test]
fn once_keeps_its_promises_on_a_real_server() {
    on_a_real_server(Recipe::Once);
}

#[test]
fn queues_keep_their_promises_on_a_real_server() {
    on_a_real_server(Recipe::Queue);
}

#[test]
fn services_keep_their_promises_on_a_real_server() {
    on_a_real_server(Recipe::Service);
}

#[test]
fn configurations_keep_their_promises_on_a_real_server() {
    on_a_real_server(Recipe::Config);
}
