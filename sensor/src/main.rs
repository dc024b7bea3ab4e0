//! `dcom-sensor`: see `dcom-sensor --help`.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    dcom_sensor::cli::run(&dcom_sensor::cli::Arguments::parse())
}
