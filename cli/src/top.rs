//! `handfast top`: locks, elections, queues, services and sessions as they change.
//!
//! Owns its options and the loop that brings changes, keys and time together. What is known is in
//! [`source`], what is shown in [`view`], how it is drawn in [`draw`].

mod draw;
mod source;
mod terminal;
mod view;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use crossterm::event::EventStream;
use futures::StreamExt;
use handfast_core::Client;
use handfast_core::session::{Clock, SystemClock};
use serde_json::json;
use tokio::task::JoinSet;

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::keys::bytes;
use crate::output::{Output, table};
use crate::overview::ttl::Leases;
use crate::overview::{Overview, Seen, json};
use crate::supervise::signals::Signals;
use source::Source;
use terminal::Screen;
use view::{Act, State, Tab, View};

/// How often ages are drawn anew when nothing else happens.
const TICK: Duration = Duration::from_secs(1);
/// How long changes are collected before they are drawn.
const CALM: Duration = Duration::from_millis(100);

const AFTER_HELP: &str = "\
Keys: Tab or 1 to 5 choose what is shown, arrows and Page Up/Down scroll, q leaves.

Examples:
  handfast top                   everything
  handfast top jobs/ img/        only what is below these prefixes
  handfast top --once            print it one time, for a script or a ticket
  handfast --json top            one JSON document per change, until stopped

It follows changes as they happen. Only the time that leases have left is asked for, every few
seconds, for there is no event when a lease is renewed. A store with very many keys is not read as
a whole: then only what handfast has records of is shown, unless prefixes are given.";

/// Options of `top`.
#[derive(Args, Debug, Clone)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct TopArgs {
    /// Only what is below these
    #[arg(value_name = "PREFIX")]
    prefixes: Vec<OsString>,
    /// Print it one time and stop
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(
    args: TopArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let client = connection.client()?;
    let prefixes = args.prefixes.into_iter().map(bytes).collect();
    if !args.once && !output.is_json() && !std::io::stdout().is_terminal() {
        let hint = "use --once or --json";
        return Err(Failure::Usage(format!("the output is no terminal: {hint}")));
    }
    let mut source = Source::open(&client, prefixes).await?;
    let overview = source.overview();
    let leases = Leases::ask(&client, overview.leases()).await?;
    match (args.once, output.is_json()) {
        (true, _) => print(&source, &overview, &leases, output)?,
        (false, true) => follow(&client, &mut source, output).await?,
        (false, false) => {
            let title = connection.endpoints().join(",");
            return show(&client, &mut source, leases, title).await;
        }
    }
    Ok(exit::OK)
}

fn seen<'a>(overview: &'a Overview, leases: &'a Leases) -> Seen<'a> {
    Seen {
        overview,
        leases,
        now: Instant::now(),
        unix: SystemClock.unix_time(),
    }
}

/// Prints the picture one time.
fn print(
    source: &Source,
    overview: &Overview,
    leases: &Leases,
    output: &mut Output,
) -> Result<(), Failure> {
    let seen = seen(overview, leases);
    if output.is_json() {
        let mut document = json::whole(seen);
        document["revision"] = json!(source.revision());
        output.json(&document)?;
        return output.flush();
    }
    for tab in Tab::ALL {
        let sheet = view::sheet(seen, tab);
        output.line(format!("{} ({})", tab.name(), sheet.count))?;
        if sheet.rows.is_empty() {
            output.line(format!("  {}", sheet.empty))?;
            continue;
        }
        let rows: Vec<Vec<String>> = sheet.rows.into_iter().map(|row| row.cells).collect();
        let lines = table(sheet.headings, &rows);
        lines
            .iter()
            .try_for_each(|line| output.line(format!("  {line}")))?;
    }
    if let Some(note) = source.note() {
        output.line(format!("note: {note}"))?;
    }
    output.flush()
}

/// Prints a document after every change, until a signal comes.
async fn follow(client: &Client, source: &mut Source, output: &mut Output) -> Result<(), Failure> {
    let mut signals = signals()?;
    loop {
        let overview = source.overview();
        let leases = Leases::ask(client, overview.leases()).await?;
        print(source, &overview, &leases, output)?;
        tokio::select! {
            biased;
            _ = signals.recv() => return Ok(()),
            () = source.changed() => {}
        }
        tokio::time::sleep(CALM).await;
    }
}

/// Draws on the terminal until the person leaves.
async fn show(
    client: &Client,
    source: &mut Source,
    mut leases: Leases,
    title: String,
) -> Result<i32, Failure> {
    let mut signals = signals()?;
    let mut screen = Screen::open()?;
    let mut events = EventStream::new();
    let mut tick = tokio::time::interval(TICK);
    let mut state = State::default();
    let mut overview = source.overview();
    let mut clock = Clocks::new(client, &leases);
    loop {
        let view = View {
            seen: seen(&overview, &leases),
            title: &title,
            revision: source.revision(),
            note: source.note(),
            trouble: source.trouble(),
        };
        screen.draw(|frame| draw::draw(frame, &view, &mut state))?;
        tokio::select! {
            biased;
            _ = signals.recv() => return Ok(exit::OK),
            event = events.next() => match event {
                Some(Ok(event)) => {
                    if state.act(&event) == Act::Leave {
                        return Ok(exit::OK);
                    }
                }
                // The terminal is gone.
                Some(Err(_)) | None => return Ok(exit::OK),
            },
            () = source.changed() => {
                tokio::time::sleep(CALM).await;
                overview = source.overview();
            }
            fresh = clock.next() => leases = fresh,
            _ = tick.tick() => clock.ask(overview.leases()),
        }
    }
}

/// Asks how long leases have left, again and again, without keeping anybody waiting.
struct Clocks {
    client: Client,
    asking: JoinSet<Result<Leases, handfast_core::Error>>,
    asked: Instant,
    pace: Duration,
}

impl Clocks {
    fn new(client: &Client, leases: &Leases) -> Clocks {
        Clocks {
            // An answer that comes later is of no use.
            client: client.with_timeout(2 * TICK),
            asking: JoinSet::new(),
            asked: Instant::now(),
            pace: leases.pace(),
        }
    }

    /// Asks for these, if it is time to.
    fn ask(&mut self, leases: BTreeSet<i64>) {
        if self.asking.is_empty() && self.asked.elapsed() >= self.pace {
            let client = self.client.clone();
            self.asking
                .spawn(async move { Leases::ask(&client, leases).await });
            self.asked = Instant::now();
        }
    }

    /// The next answers; when none come, those before go on counting down. Cancel safe.
    async fn next(&mut self) -> Leases {
        loop {
            match self.asking.join_next().await {
                Some(Ok(Ok(leases))) => {
                    self.pace = leases.pace();
                    return leases;
                }
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}

fn signals() -> Result<Signals, Failure> {
    Signals::new().map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))
}
