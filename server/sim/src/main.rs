//! `sim`: runs seeds, and replays one. Owns the exit code only.

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    handfast_sim::main(&arguments)
}
