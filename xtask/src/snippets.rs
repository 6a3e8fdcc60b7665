//! Runs the code of README.md, of docs/cluster.md and of the book, so that pasting it works.
//!
//! A code block says in its fence how it is tested: `sh test=serve` starts the server of all
//! others (a page of the book that has none is given a server), `sh test` and `python test` are
//! run against it, and `rust test=FILE` must be what FILE holds after its header, which is then
//! run: as a program, or, below examples/book, as the part of `examples/book/main.rs` of that
//! name. A block `text output` is what the one before it must print, `…` standing for anything. A
//! block of these languages with no mark is an error; any other mark, such as `python kazoo`, says
//! what else it is. Python and TypeScript (`ts test`) are run if their packages are built.

mod typescript;

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{Result, metadata::cargo, provide, report::Counts, root};

/// The documents, and how many ports each names, from the default one on.
const DOCUMENTS: [(&str, u16); 2] = [("README.md", 1), ("docs/cluster.md", 8)];
/// The folder of the book's pages, which name the default port only.
const BOOK: &str = "docs/book/src";
/// The programs of the book's pages, which are parts of one.
const BOOK_PROGRAMS: &str = "examples/book/";
const DEFAULT_ADDRESS: &str = "127.0.0.1:2379";
const DEFAULT_PORT: u16 = 2379;
const START_LIMIT: Duration = Duration::from_secs(30);

/// A fenced block of code.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    language: String,
    mark: String,
    text: String,
    /// The line of its fence, from 1.
    line: usize,
}

/// Runs all blocks in their order.
///
/// # Errors
/// The first block that does not do what it should.
pub(crate) fn run() -> Result<Counts> {
    // What `cargo xtask test` has built already, so that this costs nothing there.
    let mut build = Command::new(cargo());
    build
        .args(["test", "--workspace", "--no-run", "--quiet"])
        .current_dir(root());
    provide::run(&mut build)?;
    let mut counts = Counts::default();
    let documents = DOCUMENTS.map(|(document, ports)| (document.to_owned(), ports));
    let pages = book_pages()?.into_iter().map(|page| (page, 1));
    for (document, ports) in documents.into_iter().chain(pages) {
        let passed = document_blocks(&document, ports)?;
        println!("{passed} blocks of {document} do what they say");
        counts.passed += passed;
    }
    Ok(counts)
}

/// The pages of the book, in a fixed order.
fn book_pages() -> Result<Vec<String>> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(root().join(BOOK))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            pages.push(format!("{BOOK}/{name}"));
        }
    }
    pages.sort();
    Ok(pages)
}

/// Runs the blocks of one document; how many there were.
fn document_blocks(document: &str, ports: u16) -> Result<u64> {
    let blocks = parse(&fs::read_to_string(root().join(document))?);
    let unmarked = blocks.iter().find(|block| {
        ["sh", "rust", "python", "ts"].contains(&block.language.as_str()) && block.mark.is_empty()
    });
    if let Some(block) = unmarked {
        return Err(format!("{document}:{}: a block that nothing tests", block.line).into());
    }
    let is_tested = |block: &Block| block.mark.split('=').next() == Some("test");
    if !blocks.iter().any(is_tested) {
        return Ok(0);
    }
    let mut place = Place::new(document, ports)?;
    let serves = blocks.iter().any(|block| block.mark == "test=serve");
    if document.starts_with(BOOK) && !serves {
        place.serve("handfast serve")?;
    }
    let mut passed = 0;
    for (index, block) in blocks.iter().enumerate() {
        let output = blocks.get(index + 1).filter(|next| next.mark == "output");
        let done = place.test(block, output.map(|output| output.text.as_str()));
        match done {
            Ok(true) => passed += 1,
            Ok(false) => {}
            Err(error) => return Err(format!("{document}:{}: {error}", block.line).into()),
        }
    }
    place.stop()?;
    Ok(passed)
}

/// Where the blocks are run.
struct Place {
    document: String,
    folder: PathBuf,
    address: String,
    /// In the place of the default port.
    port: u16,
    /// How many ports the document names.
    ports: u16,
    server: Option<Child>,
}

impl Place {
    fn new(document: &str, ports: u16) -> Result<Self> {
        let folder = root().join("target").join("snippets");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        // The ports that the text names, if they are free, so that nothing needs to be changed.
        let port = match all_free(DEFAULT_PORT, ports) {
            true => DEFAULT_PORT,
            false => free_ports(ports).ok_or("there are no free ports in a row")?,
        };
        Ok(Self {
            document: document.to_owned(),
            folder,
            address: format!("127.0.0.1:{port}"),
            port,
            ports,
            server: None,
        })
    }

    /// Tests one block; false when there is nothing to test.
    fn test(&mut self, block: &Block, output: Option<&str>) -> Result<bool> {
        let output = output.map(|text| self.local(text));
        let output = output.as_deref();
        let (language, mark) = (block.language.as_str(), block.mark.as_str());
        match (language, mark.split_once('=').unwrap_or((mark, ""))) {
            ("sh", ("test", "serve")) => self.serve(&block.text)?,
            ("sh", ("test", "")) => self.shell(&self.local(&block.text), output)?,
            ("rust", ("test", file)) => self.rust(&block.text, file, output)?,
            ("python", ("test", "")) => return self.python(&block.text, output),
            ("ts", ("test", "")) => return self.typescript(&block.text, output),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Starts the server that the text starts, with the program that is built already.
    fn serve(&mut self, text: &str) -> Result<()> {
        let mut line = self.local(text.trim());
        if self.address != DEFAULT_ADDRESS {
            line = match line.contains("cluster dev") {
                true => format!("{line} --base-port {}", self.port),
                false => format!("{line} --listen {}", self.address),
            };
        }
        let mut command = self.command("sh");
        command
            .args(["-c", &format!("exec {line}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let server = self.server.insert(command.spawn()?);
        let begun = Instant::now();
        while TcpStream::connect(&self.address).is_err() {
            if let Some(status) = server.try_wait()? {
                return Err(format!("{line}: {status}").into());
            }
            if begun.elapsed() > START_LIMIT {
                return Err(format!("{line}: nobody listens on {}", self.address).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn shell(&self, text: &str, output: Option<&str>) -> Result<()> {
        let mut command = self.command("sh");
        expect(command.args(["-euc", text]), output)
    }

    fn rust(&self, text: &str, file: &str, output: Option<&str>) -> Result<()> {
        let content = fs::read_to_string(root().join(file))?;
        if after_header(&content).trim() != text.trim() {
            return Err(format!("{file} holds something else").into());
        }
        let name = Path::new(file)
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let programs = root().join("target/debug/examples");
        if file.starts_with(BOOK_PROGRAMS) {
            let book = programs.join("book");
            return expect(self.command(&book.to_string_lossy()).arg(name), output);
        }
        if self.address != DEFAULT_ADDRESS {
            println!("{DEFAULT_ADDRESS} is in use: {file} is only compiled");
            return Ok(());
        }
        let program = programs.join(name);
        expect(&mut self.command(&program.to_string_lossy()), output)
    }

    fn python(&self, text: &str, output: Option<&str>) -> Result<bool> {
        let python = root().join("target/venv/bin/python");
        let mut check = Command::new(&python);
        let check = check
            .args(["-c", "import handfast"])
            .stderr(Stdio::null())
            .status();
        if !check.is_ok_and(|status| status.success()) {
            println!("the Python bindings are not in target/venv: their block is not run");
            return Ok(false);
        }
        let mut command = self.command(&python.to_string_lossy());
        expect(command.args(["-c", &self.local(text)]), output)?;
        Ok(true)
    }

    fn typescript(&self, text: &str, output: Option<&str>) -> Result<bool> {
        let Some(program) = typescript::compile(&self.folder, &self.local(text))? else {
            println!("the package for Node is not built: its block is not run");
            return Ok(false);
        };
        expect(self.command("node").arg(program), output)?;
        Ok(true)
    }

    /// The text as it has to be here: the debug build, and perhaps another port.
    fn local(&self, text: &str) -> String {
        let mut text = text.replace("cargo run --release --", "handfast");
        if self.port != DEFAULT_PORT {
            for place in 0..self.ports {
                let written = format!("127.0.0.1:{}", DEFAULT_PORT + place);
                text = text.replace(&written, &format!("127.0.0.1:{}", self.port + place));
            }
        }
        text
    }

    fn command(&self, program: &str) -> Command {
        let built = root().join("target").join("debug");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command.current_dir(&self.folder).stdin(Stdio::null());
        command.env("PATH", format!("{}:{path}", built.display()));
        command.env("HANDFAST_ENDPOINTS", &self.address);
        command.env("ETCDCTL_ENDPOINTS", &self.address);
        command
    }

    /// Ends the server as Ctrl-C does; it must end well.
    fn stop(&mut self) -> Result<()> {
        let Some(mut server) = self.server.take() else {
            return Err(format!("{} starts no server", self.document).into());
        };
        provide::run(Command::new("kill").args(["-INT", &server.id().to_string()]))?;
        let status = server.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("the server ended: {status}").into())
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// The first of some free ports in a row.
fn free_ports(count: u16) -> Option<u16> {
    let tries = (0..100).filter_map(|_| TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok());
    tries
        .map(|address| address.port())
        .find(|port| all_free(*port, count))
}

fn all_free(first: u16, count: u16) -> bool {
    let mut ports = first..first.saturating_add(count);
    ports.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
}

fn expect(command: &mut Command, expected: Option<&str>) -> Result<()> {
    let output = command.output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}\n{printed}{complaint}", output.status).into());
    }
    match expected {
        Some(expected) if !agrees(&printed, expected) => {
            Err(format!("prints\n{printed}instead of\n{expected}").into())
        }
        _ => Ok(()),
    }
}

/// Whether the lines are as expected, with `…` for anything.
fn agrees(printed: &str, expected: &str) -> bool {
    let (printed, expected): (Vec<_>, Vec<_>) = (
        printed.trim().lines().collect(),
        expected.trim().lines().collect(),
    );
    printed.len() == expected.len()
        && printed
            .iter()
            .zip(&expected)
            .all(|(printed, expected)| fits(printed, expected))
}

fn fits(printed: &str, expected: &str) -> bool {
    let mut rest = printed;
    let mut parts = expected.split('…').peekable();
    let first = parts.next().unwrap_or_default();
    let Some(after) = rest.strip_prefix(first) else {
        return false;
    };
    rest = after;
    let is_open = parts.peek().is_some();
    let mut last = first;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        last = part;
    }
    rest.is_empty() || (is_open && last.is_empty())
}

/// A program without its `//!` lines.
fn after_header(text: &str) -> String {
    let lines = text.lines().skip_while(|line| line.starts_with("//!"));
    lines.collect::<Vec<_>>().join("\n")
}

fn parse(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, Some(fence)) => {
                let (language, mark) = fence.split_once(' ').unwrap_or((fence, ""));
                open = Some(Block {
                    language: language.to_owned(),
                    mark: mark.trim().to_owned(),
                    text: String::new(),
                    line: index + 1,
                });
            }
            (None, None) => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_with_their_marks() {
        let blocks = parse("a\n```sh test=serve\nx\ny\n```\nb\n```text output\nz\n```\n");
        assert_eq!(blocks.len(), 2);
        assert_eq!(
            (blocks[0].language.as_str(), blocks[0].mark.as_str()),
            ("sh", "test=serve")
        );
        assert_eq!((blocks[0].text.as_str(), blocks[0].line), ("x\ny\n", 2));
        assert_eq!(blocks[1].mark, "output");
    }

    #[test]
    fn output_must_be_as_written_but_for_dots() {
        assert!(agrees(
            "OK\nkey a/12 here\n",
            "OK\nkey …  here".replace("  ", " ").as_str()
        ));
        assert!(agrees("token 7", "token …"));
        assert!(!agrees("token 7 of", "token … at"));
        assert!(!agrees("OK\nmore", "OK"));
        assert!(!agrees("OKAY", "OK"));
    }

    #[test]
    fn the_header_of_a_program_is_left_out() {
        assert_eq!(after_header("//! A.\n//! B.\n\nuse x;\n").trim(), "use x;");
    }
}
