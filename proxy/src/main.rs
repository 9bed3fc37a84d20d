//! The program `orchestra`.

use std::process::ExitCode;

/// Many small allocations of many threads is what a proxy does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    proxy::command::main()
}
