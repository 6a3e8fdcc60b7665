//! How `top` looks on a terminal.
//!
//! Owns the arrangement and the colours. It must not know where the view comes from.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::view::{self, Sheet, State, Tab, Tone, View};

const KEYS: &str = "Tab 1-5 choose   ↑↓ scroll   q leave";

/// Between two columns.
const SPACING: u16 = 2;

/// Draws the view; notes in `state` how much of it fits.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View<'_>, state: &mut State) {
    let [head, tabs, gap, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(title(view), head);
    frame.render_widget(tab_line(view, state.tab, tabs.width), tabs);
    // On a line of its own, for a narrow window to have it, too.
    let trouble = view.trouble.as_deref().unwrap_or_default();
    frame.render_widget(Paragraph::new(trouble).style(alarming()), gap);
    draw_sheet(frame, body, view::sheet(view.seen, state.tab), state);
    let foot_text = view.note.unwrap_or(KEYS);
    frame.render_widget(Paragraph::new(foot_text).style(faint()), foot);
}

fn title<'a>(view: &'a View<'_>) -> Paragraph<'a> {
    let spans = vec![
        Span::styled("handfast top", Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!("  {}  revision {}", view.title, view.revision)),
    ];
    Paragraph::new(Line::from(spans))
}

/// The tabs; in a narrow window the first ones make room for the chosen one.
fn tab_line(view: &View<'_>, chosen: Tab, width: u16) -> Paragraph<'static> {
    let mut spans = Vec::new();
    let mut chosen_end = 0;
    for (number, tab) in (1..).zip(Tab::ALL) {
        let style = match tab == chosen {
            true => Style::new().add_modifier(Modifier::REVERSED),
            false => Style::new(),
        };
        let text = format!(" {number} {} {} ", tab.name(), tab.count(view.seen));
        spans.push(Span::styled(text, style));
        if tab == chosen {
            chosen_end = spans.len();
        }
        spans.push(Span::raw(" "));
    }
    let mut first = 0;
    let needed = |first: usize| {
        spans[first..chosen_end]
            .iter()
            .map(Span::width)
            .sum::<usize>()
    };
    while first + 1 < chosen_end && needed(first) > usize::from(width) {
        first += 2;
    }
    Paragraph::new(Line::from(spans.split_off(first)))
}

fn draw_sheet(frame: &mut Frame<'_>, area: Rect, sheet: Sheet, state: &mut State) {
    if sheet.rows.is_empty() {
        state.fit(0, 0);
        frame.render_widget(Paragraph::new(sheet.empty).style(faint()), area);
        return;
    }
    // One line is the headings'.
    let height = usize::from(area.height.saturating_sub(1));
    state.fit(sheet.rows.len(), height);
    let widths = widths(&sheet, area.width);
    let shown = sheet.rows.into_iter().skip(state.top).take(height);
    let rows = shown.map(|row| {
        let cells = row.cells.into_iter().map(Cell::from);
        Row::new(cells).style(style(row.tone))
    });
    let headings = Row::new(sheet.headings.iter().copied()).style(faint());
    let table = Table::new(rows, widths)
        .header(headings)
        .column_spacing(SPACING);
    frame.render_widget(table, area);
}

/// As wide as the widest cell of all rows, so that scrolling does not move the columns. In a
/// narrow window the last ones are cut off, for half of a name is worth more than a tenth of all.
fn widths(sheet: &Sheet, area: u16) -> Vec<Constraint> {
    let mut left = usize::from(area);
    let mut widths = Vec::with_capacity(sheet.headings.len());
    for (column, heading) in sheet.headings.iter().enumerate() {
        if left == 0 {
            break;
        }
        let cells = sheet.rows.iter().filter_map(|row| row.cells.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        let is_last = column + 1 == sheet.headings.len();
        let width = match is_last {
            true => left,
            false => widest.max(heading.len()).min(left),
        };
        widths.push(Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX)));
        left = left.saturating_sub(width + usize::from(SPACING));
    }
    widths
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Below => faint(),
        Tone::Alarming => alarming(),
    }
}

fn faint() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn alarming() -> Style {
    Style::new().fg(Color::Yellow)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::top::view::tests::with_busy;

    /// The lines on a terminal of this size.
    fn screen(width: u16, height: u16, state: &mut State, trouble: Option<&str>) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        with_busy(|seen| {
            let view = View {
                seen,
                title: "127.0.0.1:2379",
                revision: 14,
                note: None,
                trouble: trouble.map(str::to_owned),
            };
            terminal.draw(|frame| draw(frame, &view, state)).unwrap();
        });
        let buffer = terminal.backend().buffer();
        let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        let lines = cells.chunks(usize::from(width));
        lines
            .map(|line| line.concat().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn locks_are_drawn() {
        let lines = screen(90, 8, &mut State::default(), None);
        assert_eq!(lines[0], "handfast top  127.0.0.1:2379  revision 14");
        assert_eq!(
            lines[1].trim(),
            "1 Locks 1   2 Elections 2   3 Queues 1   4 Services 1   5 Sessions 3"
        );
        assert!(
            lines[3].starts_with("NAME          PLACE  HOST"),
            "{lines:#?}"
        );
        assert!(
            lines[4].starts_with("jobs/nightly  holds  db-1  7    backup"),
            "{lines:#?}"
        );
        assert!(
            lines[5].starts_with("              2.     db-2"),
            "{lines:#?}"
        );
        assert!(lines[7].ends_with("q leave"), "{lines:#?}");
    }

    #[test]
    fn a_small_window_scrolls() {
        let mut state = State::default();
        let lines = screen(40, 6, &mut state, None);
        assert!(lines[4].starts_with("jobs/nightly"), "{lines:#?}");
        state.top = 5;
        let lines = screen(40, 6, &mut state, None);
        assert!(lines[4].contains("2."), "{lines:#?}");
        assert_eq!(state.top, 1);
        // Nothing fits, and nothing breaks.
        screen(3, 2, &mut state, None);
        screen(1, 1, &mut state, None);
    }

    #[test]
    fn a_lost_connection_is_told() {
        let mut state = State::default();
        for width in [90, 30] {
            let lines = screen(width, 8, &mut state, Some("out of touch for 3s"));
            assert_eq!(lines[2], "out of touch for 3s", "{lines:#?}");
        }
    }

    #[test]
    fn the_chosen_tab_is_seen_in_a_narrow_window() {
        for (number, tab) in (1..).zip(Tab::ALL) {
            let mut state = State {
                tab,
                ..State::default()
            };
            let lines = screen(30, 8, &mut state, None);
            let wanted = format!("{number} {}", tab.name());
            assert!(lines[1].contains(&wanted), "no {wanted} in {lines:#?}");
            screen(1, 1, &mut state, None);
        }
    }
}
