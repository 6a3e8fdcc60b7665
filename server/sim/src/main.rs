//! `sim`: runs seeds, and replays one. Owns the exit code only.

/// A fifth of the time goes into small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    handfast_sim::main(&arguments)
}
