//! The command line: one file a subcommand. Only this room prints, reads the environment, or decides exit codes.

mod bench;
mod check;
mod emit;
mod exit;
mod explain;
mod export;
mod graft;
mod init;
mod inspect;
mod interrupt;
mod loss_args;
mod losses;
mod model;
mod numbers;
mod ops;
mod output;
mod progress;
mod report;
mod runtime;
mod source;
mod state;
mod train;

use clap::{Parser, Subcommand};

pub use exit::{Exit, Failure};

/// Loss-graph compiler and benchmark harness for ONNX.
#[derive(Debug, Parser)]
#[command(name = "ibgraph", version, about, long_about = LONG_ABOUT, after_help = EXIT_CODES, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "\
Builds the Influence-Balanced loss (Park et al., ICCV 2021) and its family, forward and backward, as ONNX graphs \
in standard operators, and checks them against a float64 reference.";

const EXIT_CODES: &str = "\
Exit codes: 0 good; 1 a check failed, numbers are off, a cell regressed, an arm fails that had times, or training \
diverged; 2 wrong use, broken input, or output that cannot be written; 3 the asked-for engine or provider is not there; 4 a \
comparison is inconclusive; 130 interrupted with Ctrl-C.";

#[derive(Debug, Subcommand)]
enum Command {
    Emit(Box<emit::Args>),
    Graft(Box<graft::Args>),
    Inspect(inspect::Args),
    Init(init::Args),
    Train(Box<train::Args>),
    Export(export::Args),
    Check(check::Args),
    Bench(bench::Args),
    Report(report::Args),
    Losses(losses::Args),
    Explain(explain::Args),
    Ops(ops::Args),
    Runtime(runtime::Args),
}

/// Runs a parsed command line.
///
/// # Errors
/// What went wrong, with its exit code.
pub fn run(cli: Cli) -> Result<Exit, Failure> {
    let exit = match cli.command {
        Command::Emit(args) => emit::run(*args),
        Command::Graft(args) => graft::run(*args),
        Command::Inspect(args) => inspect::run(args),
        Command::Init(args) => init::run(args),
        Command::Train(args) => train::run(*args),
        Command::Export(args) => export::run(args),
        Command::Check(args) => check::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Report(args) => report::run(args),
        Command::Losses(args) => losses::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Ops(args) => ops::run(args),
        Command::Runtime(args) => runtime::run(args),
    }?;
    output::all_said()?;
    Ok(exit)
}
