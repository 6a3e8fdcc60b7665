//! The `handfast` binary: hands its arguments to the library and exits with the answer.

#![forbid(unsafe_code)]

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    std::process::exit(handfast_cli::cli_main(std::env::args_os().collect()));
}
