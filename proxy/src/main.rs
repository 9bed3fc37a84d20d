//! The program `orchestra`.

use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;
use zeroizing_alloc::ZeroAlloc;

/// Many small allocations of many threads is what a proxy does. What is freed is wiped first: the
/// buffers of the libraries between the network and us hold cards, and nobody else would.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<Jemalloc> = ZeroAlloc(Jemalloc);

fn main() -> ExitCode {
    proxy::command::main()
}
