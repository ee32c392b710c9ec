//! The `ibgraph` program: parses the command line, and turns what went wrong into an exit code.

use std::process::ExitCode;

use clap::Parser;
use ibgraph::cli::{Cli, run};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}
