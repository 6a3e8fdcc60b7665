//! A terminal of our own, to run a command on and to look at what it draws.
//!
//! Owns the pseudo-terminal and the picture on it. It must not know what a test is about.

#![allow(dead_code, clippy::unwrap_used)]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::PATIENCE;

/// A command on a terminal, killed when the test is over.
pub(crate) struct Terminal {
    pub(crate) child: Child,
    keyboard: File,
    /// The command's side, kept open so that its modes can be looked at when it is gone.
    line: File,
    screen: Arc<Mutex<vt100::Parser>>,
    drawn: mpsc::Receiver<()>,
    closing: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts the command on a terminal of so many rows and columns, its own and not ours.
    pub(crate) fn start(command: &Command, rows: u16, columns: u16) -> Terminal {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let line = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let keyboard = File::from(master);
        tcsetwinsize(&keyboard, size(rows, columns)).unwrap();
        // Makes it the terminal that signals of new sizes and `/dev/tty` are about.
        let mut on_terminal = Command::new("setsid");
        on_terminal
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => on_terminal.env(name, value),
                None => on_terminal.env_remove(name),
            };
        }
        let child = on_terminal
            .env("TERM", "xterm-256color")
            .stdin(Stdio::from(line.try_clone().unwrap()))
            .stdout(Stdio::from(line.try_clone().unwrap()))
            .stderr(Stdio::from(line.try_clone().unwrap()))
            .spawn()
            .unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(some(rows), some(columns), 0)));
        let closing = Arc::new(AtomicBool::new(false));
        let output = keyboard.try_clone().unwrap();
        let (watcher, drawn) = watch(output, Arc::clone(&screen), Arc::clone(&closing));
        Terminal {
            child,
            keyboard,
            line,
            screen,
            drawn,
            closing,
            watcher: Some(watcher),
        }
    }

    /// Closes the terminal, as its window or a lost connection does.
    pub(crate) fn hang_up(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        if let Some(watcher) = self.watcher.take() {
            watcher.join().unwrap();
        }
        // The last ones of our side.
        self.line = File::open("/dev/null").unwrap();
        self.keyboard = File::open("/dev/null").unwrap();
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Makes the window larger or smaller.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        self.screen
            .lock()
            .unwrap()
            .screen_mut()
            .set_size(some(rows), some(columns));
        tcsetwinsize(&self.keyboard, size(rows, columns)).unwrap();
    }

    /// The lines on the screen.
    pub(crate) fn lines(&self) -> Vec<String> {
        let parser = self.screen.lock().unwrap();
        let (_, columns) = parser.screen().size();
        parser.screen().rows(0, columns.get()).collect()
    }

    /// Waits until the lines are as wanted.
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&[String]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.lines()) {
            assert!(Instant::now() < deadline, "not {what}: {:#?}", self.lines());
            let _ = self.drawn.recv_timeout(Duration::from_millis(100));
        }
    }

    /// Waits until a line has all of these texts.
    pub(crate) fn wait_for(&self, texts: &[&str]) {
        let has_all = |line: &String| texts.iter().all(|text| line.contains(text));
        self.wait_until(&format!("{texts:?}"), |lines| lines.iter().any(has_all));
    }

    /// Waits for the end of the command; its exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(
                Instant::now() < deadline,
                "it does not end: {:#?}",
                self.lines()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether a shell could go on here: what is typed is shown and comes line by line.
    pub(crate) fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.line).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON)
    }

    /// Whether the picture has taken the place of what was on the screen, or hides the cursor.
    pub(crate) fn is_taken_over(&self) -> bool {
        let parser = self.screen.lock().unwrap();
        parser.screen().alternate_screen() || parser.screen().hide_cursor()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Draws what arrives, and tells of it, until the terminal is closed from either side.
fn watch(
    mut output: File,
    screen: Arc<Mutex<vt100::Parser>>,
    closing: Arc<AtomicBool>,
) -> (JoinHandle<()>, mpsc::Receiver<()>) {
    const LOOK_AGAIN: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 50_000_000,
    };
    let (sender, drawn) = mpsc::channel();
    let watcher = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while !closing.load(Ordering::Relaxed) {
            let mut polled = [PollFd::new(&output, PollFlags::IN)];
            if matches!(poll(&mut polled, Some(&LOOK_AGAIN)), Ok(0) | Err(_)) {
                continue;
            }
            let Ok(count) = output.read(&mut bytes) else {
                return;
            };
            screen.lock().unwrap().process(&bytes[..count]);
            if count == 0 || sender.send(()).is_err() {
                return;
            }
        }
    });
    (watcher, drawn)
}

fn some(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap()
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
