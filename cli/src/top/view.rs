//! What `top` shows: tables of text made of a picture, and where in them the person is.
//!
//! Owns both, as plain data. It must not know how a terminal works.

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use handfast::Kind;
use handfast_core::session::lease_hex;

use crate::output::{printable, span};
use crate::overview::{Holding, Instance, Line, Queue, Seen, Service, Session};

const UNKNOWN: &str = "-";

/// Everything that is drawn.
pub(super) struct View<'a> {
    pub(super) seen: Seen<'a>,
    /// Which servers it is about.
    pub(super) title: &'a str,
    pub(super) revision: i64,
    pub(super) note: Option<&'a str>,
    /// Why what is shown may be old.
    pub(super) trouble: Option<String>,
}

/// One of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tab {
    #[default]
    Locks,
    Elections,
    Queues,
    Services,
    Sessions,
}

impl Tab {
    pub(super) const ALL: [Tab; 5] = [
        Tab::Locks,
        Tab::Elections,
        Tab::Queues,
        Tab::Services,
        Tab::Sessions,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Tab::Locks => "Locks",
            Tab::Elections => "Elections",
            Tab::Queues => "Queues",
            Tab::Services => "Services",
            Tab::Sessions => "Sessions",
        }
    }

    /// How many there are of what the table is about.
    pub(super) fn count(self, seen: Seen<'_>) -> usize {
        let overview = seen.overview;
        match self {
            Tab::Locks | Tab::Elections => lines(seen, self).count(),
            Tab::Queues => overview.queues.len(),
            Tab::Services => overview.services.len(),
            Tab::Sessions => overview.sessions.len(),
        }
    }
}

/// A table.
pub(super) struct Sheet {
    pub(super) headings: &'static [&'static str],
    pub(super) rows: Vec<Row>,
    /// What is said when there are no rows.
    pub(super) empty: &'static str,
    /// How many things the rows are about.
    pub(super) count: usize,
}

/// A row of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    pub(super) tone: Tone,
}

/// How a row stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// It belongs to the row above.
    Below,
    /// Something is out of the ordinary.
    Alarming,
}

/// The table of a tab.
pub(super) fn sheet(seen: Seen<'_>, tab: Tab) -> Sheet {
    const LINE: &[&str] = &[
        "NAME", "PLACE", "HOST", "PID", "PROGRAM", "AGE", "TTL LEFT", "TOKEN", "WAITING", "VALUE",
    ];
    const QUEUE: &[&str] = &[
        "NAME",
        "STATE",
        "WAITS FOR",
        "WAITING",
        "CLAIMED",
        "WORKERS",
        "DEAD",
        "DONE",
        "WORKER",
        "TTL LEFT",
    ];
    const SERVICE: &[&str] = &[
        "NAME", "INSTANCE", "ADDRESS", "STATUS", "HOST", "PID", "AGE", "TTL LEFT",
    ];
    const SESSION: &[&str] = &[
        "SESSION",
        "HOST",
        "PID",
        "PROGRAM",
        "AGE",
        "TTL LEFT",
        "WHAT IT HAS",
    ];
    let overview = seen.overview;
    let (headings, empty) = match tab {
        // Locks have no value.
        Tab::Locks => (&LINE[..LINE.len() - 1], "nobody holds a lock"),
        Tab::Elections => (LINE, "nobody stands for election"),
        Tab::Queues => (QUEUE, "no queues"),
        Tab::Services => (SERVICE, "no services"),
        Tab::Sessions => (SESSION, "no sessions"),
    };
    let mut rows: Vec<Row> = match tab {
        Tab::Locks | Tab::Elections => lines(seen, tab)
            .flat_map(|line| line_rows(seen, line))
            .collect(),
        Tab::Queues => overview
            .queues
            .iter()
            .flat_map(|it| queue_rows(seen, it))
            .collect(),
        Tab::Services => overview
            .services
            .iter()
            .flat_map(|it| service_rows(seen, it))
            .collect(),
        Tab::Sessions => overview
            .sessions
            .iter()
            .map(|it| session_row(seen, it))
            .collect(),
    };
    for row in &mut rows {
        row.cells.truncate(headings.len());
    }
    Sheet {
        headings,
        rows,
        empty,
        count: tab.count(seen),
    }
}

fn lines(seen: Seen<'_>, tab: Tab) -> impl Iterator<Item = &Line> {
    let elections = tab == Tab::Elections;
    let lines = seen.overview.lines.iter();
    lines.filter(move |line| (line.kind == Kind::Election) == elections)
}

fn line_rows(seen: Seen<'_>, line: &Line) -> Vec<Row> {
    let name = printable(&line.name);
    if line.places.is_empty() {
        let mut cells = vec![UNKNOWN.to_owned(); 10];
        cells[0] = name;
        cells[1] = "its holder died".to_owned();
        let tone = Tone::Alarming;
        return vec![Row { cells, tone }];
    }
    let mut rows = Vec::with_capacity(line.places.len());
    for (position, place) in (1..).zip(&line.places) {
        let is_first = position == 1;
        let ttl = seen.ttl(place.lease);
        let [host, pid, app, session_age] = who(seen, place.lease);
        let since = seen.since(line.since_unix_ms).filter(|_| is_first);
        rows.push(Row {
            cells: vec![
                if is_first {
                    name.clone()
                } else {
                    String::new()
                },
                match (is_first, line.kind) {
                    (true, Kind::Election) => "leads".to_owned(),
                    (true, _) => "holds".to_owned(),
                    (false, _) => format!("{position}."),
                },
                host,
                pid,
                app,
                since.map_or(session_age, span),
                if place.immortal {
                    "for ever".to_owned()
                } else {
                    ttl.text()
                },
                place.token.to_string(),
                if is_first {
                    (line.places.len() - 1).to_string()
                } else {
                    String::new()
                },
                printable(&place.value),
            ],
            tone: match (place.immortal || ttl.is_overdue(), is_first) {
                (true, _) => Tone::Alarming,
                (false, true) => Tone::Plain,
                (false, false) => Tone::Below,
            },
        });
    }
    rows
}

fn queue_rows(seen: Seen<'_>, queue: &Queue) -> Vec<Row> {
    let number = |count: usize| count.to_string();
    let state = queue.control.as_deref().unwrap_or("run");
    let summary = Row {
        cells: vec![
            printable(&queue.name),
            state.to_owned(),
            queue.condition.clone().unwrap_or_default(),
            number(queue.waiting()),
            number(queue.claims.len()),
            number(queue.workers.len()),
            number(queue.dead),
            number(queue.done),
            String::new(),
            String::new(),
        ],
        tone: match state {
            "run" => Tone::Plain,
            _ => Tone::Alarming,
        },
    };
    let claims = queue.claims.iter().map(|claim| {
        let mut cells = vec![String::new(); 10];
        cells[0] = format!("  {}", printable(&claim.item));
        let [host, pid, app, _] = who(seen, claim.lease);
        cells[8] = match app == UNKNOWN {
            true => lease_hex(claim.lease),
            false => format!("{app} (pid {pid} on {host})"),
        };
        let ttl = seen.ttl(claim.lease);
        cells[9] = ttl.text();
        let tone = if ttl.is_overdue() {
            Tone::Alarming
        } else {
            Tone::Below
        };
        Row { cells, tone }
    });
    std::iter::once(summary).chain(claims).collect()
}

fn service_rows(seen: Seen<'_>, service: &Service) -> Vec<Row> {
    let instances = service.instances.iter().enumerate();
    let row = |(index, instance): (usize, &Instance)| {
        let ttl = seen.ttl(instance.lease);
        let [host, pid, _, age] = who(seen, instance.lease);
        Row {
            cells: vec![
                if index == 0 {
                    printable(&service.name)
                } else {
                    String::new()
                },
                printable(&instance.id),
                instance.address.clone(),
                instance.status.clone(),
                host,
                pid,
                age,
                if instance.lease == 0 {
                    "for ever".to_owned()
                } else {
                    ttl.text()
                },
            ],
            tone: match (ttl.is_overdue(), index) {
                (true, _) => Tone::Alarming,
                (false, 0) => Tone::Plain,
                (false, _) => Tone::Below,
            },
        }
    };
    instances.map(row).collect()
}

fn session_row(seen: Seen<'_>, session: &Session) -> Row {
    let ttl = seen.ttl(session.lease);
    let [host, pid, app, age] = who(seen, session.lease);
    let has: Vec<String> = session.holdings.iter().map(Holding::text).collect();
    Row {
        cells: vec![
            lease_hex(session.lease),
            host,
            pid,
            app,
            age,
            ttl.text(),
            has.join(", "),
        ],
        tone: if ttl.is_overdue() {
            Tone::Alarming
        } else {
            Tone::Plain
        },
    }
}

/// Host, process, program and age of a session.
fn who(seen: Seen<'_>, lease: i64) -> [String; 4] {
    let Some(record) = seen.overview.session(lease) else {
        return std::array::from_fn(|_| UNKNOWN.to_owned());
    };
    let age = seen.since(record.since_unix_ms);
    [
        record.host.clone(),
        record.pid.to_string(),
        record.app.clone(),
        age.map_or_else(|| UNKNOWN.to_owned(), span),
    ]
}

/// Where the person is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) tab: Tab,
    /// The first row that is shown.
    pub(super) top: usize,
    /// How many rows fit, as drawn last.
    pub(super) height: usize,
}

/// What is to be done after a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    Draw,
    Leave,
}

impl State {
    /// Takes in what the terminal reports.
    pub(super) fn act(&mut self, event: &Event) -> Act {
        let Event::Key(key) = event else {
            // A new size: draw.
            return Act::Draw;
        };
        if key.kind == KeyEventKind::Release {
            return Act::Draw;
        }
        let page = self.height.saturating_sub(1).max(1);
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Act::Leave,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Act::Leave;
            }
            KeyCode::Tab | KeyCode::Right => self.go(1),
            KeyCode::BackTab | KeyCode::Left => self.go(Tab::ALL.len() - 1),
            KeyCode::Char(digit @ '1'..='5') => {
                let index = digit as usize - '1' as usize;
                self.choose(Tab::ALL[index]);
            }
            KeyCode::Down | KeyCode::Char('j') => self.top = self.top.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.top = self.top.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.top = self.top.saturating_add(page),
            KeyCode::PageUp => self.top = self.top.saturating_sub(page),
            KeyCode::Home => self.top = 0,
            KeyCode::End => self.top = usize::MAX,
            _ => {}
        }
        Act::Draw
    }

    /// Takes in how many rows there are and how many fit; the last page is the end.
    pub(super) fn fit(&mut self, rows: usize, height: usize) {
        self.height = height;
        self.top = self.top.min(rows.saturating_sub(height));
    }

    fn go(&mut self, by: usize) {
        let at = Tab::ALL
            .iter()
            .position(|tab| *tab == self.tab)
            .unwrap_or(0);
        self.choose(Tab::ALL[(at + by) % Tab::ALL.len()]);
    }

    fn choose(&mut self, tab: Tab) {
        if self.tab != tab {
            self.tab = tab;
            self.top = 0;
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
