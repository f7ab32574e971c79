//! `slipway`: the client of a Slipway server, and `slipway up`, which is a whole server in one process.
//!
//! This file parses the command line, runs one command and turns its outcome into an exit code.

mod args;
mod client;
mod command;
mod data_dir;
mod exit;
mod request;
mod sse;
mod up;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Cli, Command};
use crate::exit::Exit;

/// Threads of the runtime; the work is waiting, and what blocks has threads of its own.
const RUNTIME_THREADS: usize = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Completion { shell } = cli.command {
        return command::completion::print(shell).into();
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(RUNTIME_THREADS).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let exit = runtime.block_on(run(cli));
            // What still blocks a thread now (a read of standard input, a name look-up) is not waited for.
            runtime.shutdown_background();
            exit.into()
        }
        Err(error) => {
            eprintln!("error: the runtime could not be started: {error}");
            Exit::Failed.into()
        }
    }
}

async fn run(cli: Cli) -> Exit {
    let outcome = match cli.command {
        Command::Up(up) => return up::run(up).await,
        Command::Completion { shell } => return command::completion::print(shell),
        Command::Client(client_command) => command::run(client_command, &cli.connection, cli.json).await,
    };
    match outcome {
        Ok(exit) => exit,
        Err(error) => view::error::print(&error, cli.json),
    }
}
